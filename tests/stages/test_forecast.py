"""What a cell will take, on one device and on many."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from orc_repro.cells import load_study
from orc_repro.cost import StepCost
from orc_repro.data.manifest import load_manifest
from orc_repro.models import build
from orc_repro.plan import plan
from orc_repro.scaling import measuring
from orc_repro.scaling.arithmetic import Constants
from orc_repro.scaling.assumptions import assumed
from orc_repro.stages import forecast as forecast_module
from orc_repro.stages.forecast import Forecast, Timed, forecast_of
from orc_repro.stages.forecast_constants import Stated
from orc_repro.stages.forecast_devices import Wishes, lines_of, plan_lines
from orc_repro.stages.prepare import prepare
from orc_repro.stages.run import open_split
from orc_repro.yaml_files import read_yaml
from tests.project import copy_project
from tests.reliability.machine import cell_of, small
from tests.stages.commands import orc_repro
from tests.test_rehearsal import Counting

ORC = cell_of("orc")
NETWORK = ("network_gbytes_per_s=1", "latency_us=100")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("forecast") / "made"
    copy_project(project, small(), {"groups": ["small"], "seeds": [0]})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        plan()
        prepare(load_study().params, "digits")
    return project


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.delenv("ORC_SCRATCH", raising=False)
    monkeypatch.setattr(forecast_module, "_PROBE_SECONDS", 0.3)
    monkeypatch.setattr(measuring, "LOADER_SECONDS", 0.1)
    return tmp_path / "project"


def parameters(name: str) -> int:
    return sum(p.numel() for p in build(name, num_classes=10, in_channels=1).parameters())


def test_one_device_takes_what_its_counts_say(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(project.rglob("*"))
    code, said = orc_repro(capsys, "train", ORC, "--plan", "--device", "cpu")
    assert code == 0
    pivot, student = parameters("resnet14"), parameters("resnet8")
    words = f"resnet14 {pivot:,}, resnet8.a {student:,}, resnet8 {student:,}"
    assert f"parameters   {pivot + 2 * student:,}: {words}" in said
    images = load_manifest(Path("data/prepared/digits")).count("train")
    batch = load_study().params.recipes["digits"].batch_size
    assert f"an epoch of {images // batch:,} with validation" in said
    assert "minutes for 3 epochs" in said and "devices" not in said
    assert sorted(project.rglob("*")) == before


def test_a_batch_in_three_pieces_is_planned_too(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = read_yaml(Path("params.yaml"))
    params["recipes"]["digits"] |= {"pieces": 3, "batch_size": 48}
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    code, said = orc_repro(capsys, "train", ORC, "--plan", "--device", "cpu")
    assert code == 0 and "an iteration of 48 images" in said


def test_many_devices_by_the_command(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", ORC, "--plan", "--devices", "1,4,512", "--device", "cpu"]
    for word in (*NETWORK, "jitter=0.1", "tflops=1"):
        words += ["--assume", word]
    code, said = orc_repro(capsys, *words)
    assert code == 0, said
    assert "(1,000.0 GFLOP/s), assumed" in said and "jitter       0.100, assumed" in said
    assert "network      1.00 GB/s, assumed; 100 µs a message, assumed" in said
    assert "loader       none: the images lie on each device" in said
    rows = [line.split() for line in said.splitlines() if line.strip().startswith(("1 ", "4 "))]
    assert [row[:3] for row in rows] == [["1", "32", "32"], ["4", "32", "8"]]
    assert rows[0][6] == "1.000" and float(rows[1][6]) > 1.0
    assert "a batch of 32 is less than one image for each of 512 devices; --batch" in said
    gradients = 4 * (parameters("resnet14") + 2 * parameters("resnet8"))
    averaged = f"averages {(gradients + 16) / 1e6:,.1f} MB in 4 all-reduces, 16 bytes of it an"
    assert averaged in said and "meeting 4 times in an iteration instead of once, 4 devices" in said


def test_what_belongs_to_a_plan_needs_one(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--devices", "8"], ["--plan", "--images", "9"], ["--assume", "cores=2"]):
        code, said = orc_repro(capsys, "train", ORC, *words)
        assert (
            code == 2 and "--devices needs --plan; what else is said of a plan needs both" in said
        )
    code, said = orc_repro(capsys, "train", ORC, "--plan", "--devices", "some")
    assert code == 2 and "--devices is 'some'; it must be numbers" in said


def test_streamed_images_hold_nothing_on_the_device_and_have_a_loader(project: Path) -> None:
    study, manifest = load_study(), load_manifest(Path("data/prepared/digits"))
    recipe = study.params.recipes["digits"]
    kept = open_split(study.params, "digits", "train", manifest, recipe, torch.device("cpu"))
    alike = replace(manifest, image_shape=(3, 8, 8), mean=(0.5,) * 3, std=(0.5,) * 3)
    streamed = Counting(256)
    cell = cell_of("ce")
    found = forecast_of(study, cell, alike, streamed, Counting(64))
    assert (found.data_bytes, found.train_images, found.validation_images) == (0, 256, 64)
    assert found.updates == (4 * found.parameters["resnet8"],) and found.ballot == 0
    on_device = forecast_of(study, cell, manifest, kept, kept)
    padded = (8 + 2 * recipe.augmentation.crop_padding) ** 2
    count = manifest.count("train") + manifest.count("validation")
    assert on_device.data_bytes == count * (padded + 8)
    text = "\n".join(lines_of(found, streamed, Wishes((1, 8), assumed=assumed(NETWORK))))
    assert "images/s a core, measured by processor time" in text and "of which no data" in text
    assert "in 1 all-reduces; each of 8 devices" in text and "meeting" not in text


FOUND = Forecast(
    parameters={"a": 25},
    cost=StepCost(flop_per_image=1e9, fixed_bytes=100, step_fixed_bytes=0.0, bytes_per_image=1.0),
    updates=(400, 200),
    ballot=16,
    data_bytes=0,
    batch_size=256,
    train_images=1000,
    validation_images=100,
    small=Timed(2, (0.3, 0.2)),
    large=Timed(10, (1.1, 1.0, 1.2)),
    validation_image_seconds=0.01,
    epochs=2,
    device="cpu",
)


def test_a_batch_that_was_not_timed_is_reckoned_from_two_that_were() -> None:
    assert FOUND.line == pytest.approx((0.0, 0.1))
    slow = Forecast(**vars(FOUND) | {"small": Timed(2, (0.6,))})
    assert slow.line == pytest.approx((0.5, 0.05))
    assert slow.step_seconds == pytest.approx(0.5 + 256 * 0.05)
    assert slow.epoch_seconds == pytest.approx(3 * slow.step_seconds + 1.0)
    assert "(reckoned from batches of 10)" in "\n".join(slow.lines())


def test_a_plan_by_hand() -> None:
    constants = Constants(
        fixed_s=0.0,
        image_s=0.01,
        validation_image_s=0.0,
        loader_per_core=None,
        cores=1,
        disk=math.inf,
        network=1e30,
        latency_s=0.0,
    )
    wishes = Wishes((1, 8, 64), batch_per_device=2, images=100_000)
    lines = plan_lines(FOUND, Stated(constants, 0.0, []), wishes)
    rows = [line.split() for line in lines[1:4]]
    # Two images of a hundredth of a second each, on every device; nobody waits.
    assert [(r[0], r[1], r[2], r[3], r[7]) for r in rows] == [
        ("1", "2", "2", "100", "100"),
        ("8", "16", "2", "800", "800"),
        ("64", "128", "2", "6,400", "6,400"),
    ]
    hours = 2 * (100_000 // 128) * 0.02 / 3600
    assert rows[2][9] == f"{hours:.3g}"
    assert any(line.startswith("with batches of 2, 16, 128 instead of 256") for line in lines)
    assert any("16 bytes of it an election" in line and "64 devices" in line for line in lines)
