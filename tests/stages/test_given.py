"""A pivot that was trained elsewhere: declared, checked, evaluated, kept as if trained."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from orc_repro.cells import load_study
from orc_repro.data.manifest import load_manifest
from orc_repro.data.prepared import load_split
from orc_repro.fingerprint import file_digest
from orc_repro.models import build
from orc_repro.plan import plan
from orc_repro.report.results import History
from orc_repro.stages.prepare import prepare
from orc_repro.stages.pretrain import pretrain
from orc_repro.validation import read_json
from orc_repro.yaml_files import read_yaml
from tests.project import copy_project
from tests.reliability.machine import small
from tests.stages.commands import orc_repro

TRAINED = "digits-resnet14-digits-s0"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a trained pivot, whose weights are then somebody's file."""
    project = tmp_path_factory.mktemp("given") / "made"
    copy_project(project, small(), {"groups": ["small"], "seeds": [0]})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        for name in ("DVC_ROOT", "ORC_SCRATCH"):
            patch.delenv(name, raising=False)
        plan()
        study = load_study()
        prepare(study.params, "digits")
        pretrain(study, TRAINED, "cpu")
        state = load_file(f"weights/pivots/{TRAINED}.safetensors")
        torch.save(state, "theirs.pth")
        torch.manual_seed(0)
        torch.save(build("resnet14", num_classes=10, in_channels=1).state_dict(), "random.pth")
        torch.save(build("resnet14", num_classes=9, in_channels=1).state_dict(), "nine.pth")
    return project


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    for name in ("DVC_ROOT", "DVC_STAGE", "ORC_SCRATCH", "ORC_RUN_PID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "project"


def declare(capsys: pytest.CaptureFixture[str], **weights: Any) -> str:
    """Give the default study's pivot weights; returns its key."""
    path = Path("studies/default/study.yaml")
    study = read_yaml(path)
    study["rows"][0]["pivot"]["weights"] = weights
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    code, said = orc_repro(capsys, "plan")
    assert code == 0, said
    (key,) = load_study().cells.pivots
    return key


def file(capsys: pytest.CaptureFixture[str], name: str, min_top1: float) -> str:
    digest = file_digest(Path(name))
    return declare(capsys, source="file", path=name, sha256=digest, min_top1=min_top1)


def accuracy(state: dict[str, Tensor]) -> float:
    """Percent of the validation images that a state dict has right, by hand."""
    network = build("resnet14", num_classes=10, in_channels=1)
    network.load_state_dict(state)
    images, labels = load_split(Path("data/prepared/digits"), "validation")
    floats = torch.from_numpy(images).float() / 255
    manifest = load_manifest(Path("data/prepared/digits"))
    with torch.no_grad():
        logits = network.eval()((floats - manifest.mean[0]) / manifest.std[0])
    return 100 * float((logits.argmax(1) == torch.from_numpy(labels)).float().mean())


def test_a_good_enough_file_becomes_the_pivot_of_its_cells(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = torch.load("theirs.pth", weights_only=True)
    reached = accuracy(theirs)
    key = file(capsys, "theirs.pth", reached - 0.01)
    assert key == f"digits-resnet14-file-{file_digest(Path('theirs.pth'))[:8]}"
    assert orc_repro(capsys, "pretrain", key) == (0, "")
    kept = load_file(f"weights/pivots/{key}.safetensors")
    assert kept.keys() == theirs.keys()
    assert all(torch.equal(kept[name], tensor) for name, tensor in theirs.items())
    history = read_json(History, Path(f"results/default/trained/{key}.json"))
    assert history.epochs == () and list(history.best) == ["resnet14"]
    assert history.best["resnet14"].validation_top1 == pytest.approx(reached)
    cell = "digits-small-kd-s0"
    assert load_study().cell(cell).starts_from == f"weights/pivots/{key}.safetensors"
    assert orc_repro(capsys, "train", cell)[0] == 0
    assert orc_repro(capsys, "evaluate", cell)[0] == 0


def test_what_was_kept_before_is_not_evaluated_again_unless_told_to_or_damaged(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = file(capsys, "theirs.pth", 1.0)
    orc_repro(capsys, "pretrain", key)
    weights = Path(f"weights/pivots/{key}.safetensors")
    summary = Path(f"results/default/trained/{key}.json")
    before, stamp = weights.read_bytes(), weights.stat().st_mtime_ns
    code, said = orc_repro(capsys, "pretrain", key)
    assert (code, said) == (0, f"{key} is there already; --restart makes it again\n")
    assert weights.stat().st_mtime_ns == stamp
    assert orc_repro(capsys, "pretrain", key, "--restart") == (0, "")
    assert weights.stat().st_mtime_ns != stamp and weights.read_bytes() == before
    for spoil in (lambda: weights.write_bytes(before[:-1]), summary.unlink, weights.unlink):
        spoil()
        assert orc_repro(capsys, "pretrain", key) == (0, "")
        assert weights.read_bytes() == before and summary.exists()


def test_too_low_an_accuracy_is_refused_and_leaves_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reached = accuracy(torch.load("random.pth", weights_only=True))
    key = file(capsys, "random.pth", 50.0)
    code, said = orc_repro(capsys, "pretrain", key)
    assert code == 2 and said.count("\n") == 1
    assert f"random.pth reach {reached:.2f} % on the validation images of digits, less" in said
    assert "than min_top1 50" in said
    assert not Path(f"weights/pivots/{key}.safetensors").exists()
    assert not Path(f"results/default/trained/{key}.json").exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [("nine.pth", "is float32 [9, 64], not float32 [10, 64]"), ("cut.pth", "are damaged")],
)
def test_a_file_that_cannot_be_it_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str], name: str, reason: str
) -> None:
    Path("cut.pth").write_bytes(Path("theirs.pth").read_bytes()[:-500])
    key = file(capsys, name, 1.0)
    code, said = orc_repro(capsys, "pretrain", key)
    assert code == 2 and reason in said and said.count("\n") == 1


def test_the_file_may_lie_elsewhere_but_has_to_be_the_declared_one(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = file(capsys, "theirs.pth", 1.0)
    Path("theirs.pth").rename("moved.pth")
    code, said = orc_repro(capsys, "pretrain", key)
    assert code == 2 and "theirs.pth cannot be read" in said
    code, said = orc_repro(capsys, "pretrain", key, "--weights", "random.pth")
    assert code == 2 and "random.pth are not those that are declared: their SHA-256 is" in said
    assert orc_repro(capsys, "pretrain", key, "--weights", "moved.pth") == (0, "")


def test_torchvisions_weights_need_its_networks_and_its_file(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = declare(capsys, source="torchvision", name="IMAGENET1K_V1", min_top1=70.0)
    assert key == "digits-resnet14-torchvision-imagenet1k-v1"
    code, said = orc_repro(capsys, "pretrain", key, "--weights", "theirs.pth")
    assert code == 2 and "torchvision has no weights for resnet14" in said


def test_a_pivot_that_is_trained_takes_no_file(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = orc_repro(capsys, "pretrain", TRAINED, "--weights", "theirs.pth")
    assert code == 2 and f"{TRAINED} is declared to be trained" in said


@pytest.mark.parametrize(
    ("weights", "named"),
    [
        ({"source": "hub", "name": "x", "min_top1": 1.0}, "pivot.weights has source 'hub'"),
        ({"source": "torchvision", "name": "x"}, "pivot.weights.min_top1 is missing"),
        ({"source": "file", "path": "x", "sha256": "ab", "min_top1": 1.0}, "sha256 is 'ab'"),
        ({"source": "torchvision", "name": "x", "min_top1": 101.0}, "min_top1 is 101.0"),
    ],
)
def test_a_wrong_declaration_is_a_sentence(
    project: Path, capsys: pytest.CaptureFixture[str], weights: dict[str, Any], named: str
) -> None:
    path = Path("studies/default/study.yaml")
    study = read_yaml(path)
    study["rows"][0]["pivot"]["weights"] = weights
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    code, said = orc_repro(capsys, "plan")
    assert code == 2 and named in said, said
