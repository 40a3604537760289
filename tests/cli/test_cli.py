"""What a user can get wrong: each one sentence and exit code 2."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from orc_repro import __version__
from orc_repro.cli import app, main
from tests.project import ROOT, copy_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy_project(tmp_path, lambda params: None, {})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORC_SCRATCH", str(tmp_path / ".orc"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The sentence a failing command prints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["orc-repro", *words])
        with pytest.raises(SystemExit) as caught:
            main()
    shown = capsys.readouterr().err
    assert caught.value.code == 2
    *notes, sentence = shown.splitlines()
    assert sentence.startswith("orc-repro: ") and all(line.startswith("note: ") for line in notes)
    return sentence.removeprefix("orc-repro: ").strip()


def edit(project: Path, old: str, new: str) -> None:
    path = project / "params.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("  enabled: true", "  enabledd: true", "unknown key tracking.enabledd"),
        ("margin: 0.0", "margin: wide", "methods.orc.promotion.margin is 'wide'"),
        ("temperature: 4.0", "temperature: 0", "temperature is 0; it must be at least 0.01"),
        ("top_k: 1", "top_k: 9", "top_k is 9; group"),
        ("pivot: resnet20", "pivot: resnet21", "unknown network 'resnet21'"),
    ],
)
def test_a_mistake_in_params(
    project: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, named: str
) -> None:
    edit(project, old, new)
    assert named in run(capsys, "prepare", "digits")


def test_an_unknown_dataset_cell_and_pivot(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "data has no 'mnist'" in run(capsys, "prepare", "mnist")
    assert "has no cell 'nope'" in run(capsys, "train", "nope")
    assert "has no pivot 'nope'" in run(capsys, "pretrain", "nope")


def test_a_missing_data_folder(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sentence = run(capsys, "prepare", "cifar10-small")
    assert "data/raw/cifar10-small" in sentence
    assert not (project / "data/prepared/cifar10-small").exists()


def test_a_truncated_png(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            folder = project / "data/raw/cifar10-small" / split / name
            folder.mkdir(parents=True)
            for i in range(3):
                pixels = noise.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    damaged = project / "data/raw/cifar10-small/train/dog/1.png"
    damaged.write_bytes(damaged.read_bytes()[:-40])
    assert "train/dog/1.png" in run(capsys, "prepare", "cifar10-small")
    assert not (project / "data/prepared/cifar10-small").exists()


def test_a_stage_before_the_one_it_needs(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = next(key for key in _keys() if "-kd-" in key)
    assert "prepare" in run(capsys, "train", cell)
    assert "reports/table.md does not exist" in run(capsys, "table")


def test_an_unreachable_tracking_store(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr(sys, "argv", ["orc-repro", "prepare", "digits"])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 0
    capsys.readouterr()
    cell = next(key for key in _keys() if "-ce-" in key)
    assert "http://127.0.0.1:9 does not answer" in run(capsys, "train", cell)


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("MLFLOW_TRACKING_URI", "foo://me:geheim@bar", "MLFLOW_TRACKING_URI is foo://bar"),
        ("MLFLOW_TRACKING_URI", "localhost:5000", "MLFLOW_TRACKING_URI is localhost:5000"),
        ("MLFLOW_TRACKING_URI", "http://[::1", "http://[::1 does not answer"),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "soon", "MLFLOW_HTTP_REQUEST_TIMEOUT"),
        ("ORC_SCRATCH", "params.yaml", "ORC_SCRATCH is 'params.yaml'"),
        ("ORC_SCRATCH", "x" * 300, "ORC_SCRATCH is 'xxx"),
        ("ORC_RUN_PID", "me", "ORC_RUN_PID is 'me'"),
        ("ORC_RUN_PID", "1,²", "ORC_RUN_PID is '1,²'"),
        ("ORC_RUN_PID", "9" * 30, "ORC_RUN_PID is '999"),
        ("ORC_DEVICE", "toaster", "the device is 'toaster'"),
    ],
)
def test_junk_in_a_variable_of_the_environment(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    named: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["orc-repro", "prepare", "digits"])
    with pytest.raises(SystemExit):
        main()
    capsys.readouterr()
    cell = next(key for key in _keys() if "-ce-" in key)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv(variable, value)
    sentence = run(capsys, "train", cell)
    assert named in sentence and "geheim" not in sentence


def test_a_gpu_that_is_not_there(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = next(key for key in _keys() if "-ce-" in key)
    assert "cuda:99" in run(capsys, "train", cell, "--device", "cuda:99")
    assert "must be auto, cpu, cuda or cuda:N" in run(capsys, "train", cell, "--device", "tpu9")


def test_a_folder_without_a_project(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "params.yaml does not exist" in run(capsys, "train", "x")


def _keys() -> list[str]:
    from orc_repro.cells import load_study

    return list(load_study(ROOT / "studies/default", ROOT / "params.yaml").cells.cells)


def test_the_version_names_what_it_stands_on() -> None:
    shown = CliRunner().invoke(app, ["--version"])
    assert shown.exit_code == 0
    assert shown.stdout.startswith(f"orc-repro {__version__}: Python {platform.python_version()}, ")
    for name in ("torch", "mlflow", "dvc", "optuna"):
        assert f"{name} {version(name)}" in shown.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("train", "a\nb"),
        ("train", "a\r\nb", "--study", "default"),
        ("search", "nowhere\n\x1b[2Jx"),
        ("prepare", "x\ny"),
        ("import", "nowhere\nx"),
        ("roles", "a\u2028b"),
        ("register", "no\nstudy"),
        ("train", "CELL", "--device", "cuda:\n9"),
    ],
)
def test_an_argument_with_a_line_break_makes_no_second_line(
    words: tuple[str, ...], project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = next(key for key in _keys() if "-ce-" in key)
    sentence = run(capsys, *(word.replace("CELL", cell) for word in words))
    assert "\x1b" not in sentence and "\u2028" not in sentence
