"""One run by several processes: the run of one process, to rounding, and on all of them alike."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import torch.distributed as dist

from orc_repro.config import (
    AnyMethod,
    AugmentationConfig,
    Group,
    Recipe,
    StepSchedule,
    load_params,
)
from orc_repro.data.batches import Augmentation, ResidentImages
from orc_repro.distill import METHODS, Method, build_method
from orc_repro.errors import Interrupted, UserError
from orc_repro.interruption import Interruption
from orc_repro.models import build
from orc_repro.processes.batch_norm import over_whole_batches
from orc_repro.processes.group import ALONE, Processes
from orc_repro.progress import Progress
from orc_repro.tracking.records import roles_log
from orc_repro.tracking.runlog import Log, RunLog, Unwritten
from orc_repro.training.checkpoints import Checkpoints
from orc_repro.training.loop import TrainingData, fit
from orc_repro.training.state import Progressed
from tests.helpers import SGD, orc_config
from tests.processes.together import expect, together
from tests.project import REAL, ROOT

CLASSES, BATCH = 100, 16
GROUP = Group(pivot="resnet14", students=("resnet8.a", "resnet8"), target="resnet8")
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Task:
    """A run: what it trains, on which images, and where its folder is.

    ``exact``: in float64, so that rounding, which training makes ever larger, stays out.
    """

    arrays: dict[str, Any]
    folder: str
    method: AnyMethod
    batch_norm: Literal["process", "batch"] = "process"
    epochs: int = 1
    every_seconds: float = 1e9
    stop_after: int | None = None
    exact: bool = False


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A slice of real CIFAR-100 if it is there, noise of its form if not."""
    if not (REAL / "unpack.py").exists():
        draw = np.random.default_rng(0)
        return {
            f"{kind}_{split}": array
            for split, count in (("train", 200), ("test", 100))
            for kind, array in (
                ("x", draw.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)),
                ("y", draw.integers(0, CLASSES, count)),
            )
        }
    path = tmp_path_factory.mktemp("slice") / "cifar100.npz"
    command = [sys.executable, str(REAL / "unpack.py"), "cifar100", "--to", str(path)]
    subprocess.run(
        [*command, "--train-per-class", "2", "--test-per-class", "1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return dict(np.load(path))


def first(count: int, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """So many training images, of all classes, and fewer to validate."""
    draw = np.random.default_rng(0).permutation(len(arrays["x_train"]))[:count]
    train = {name: arrays[name][draw] for name in ("x_train", "y_train")}
    return train | {name: arrays[name][:20] for name in ("x_test", "y_test")}


def recipe(task: Task) -> Recipe:
    return Recipe(
        epochs=task.epochs,
        batch_size=BATCH,
        optimizer=SGD.model_copy(update={"learning_rate": 0.02}),
        schedule=StepSchedule(milestones_epochs=(1,), factor=0.1),
        augmentation=AugmentationConfig(crop_padding=4, flip=True),
        precision="fp32",
        network_precisions={},
        compile="off",
        batch_norm=task.batch_norm,
        pieces=1,
        deterministic=True,
        cpu_threads=1,
    )


class StopAfter(Interruption):
    """Asked to stop once a method has made so many steps."""

    def __init__(self, made: list[Any], steps: int | None) -> None:
        super().__init__()
        self._made, self._steps = made, steps

    @property
    def requested(self) -> Any:
        enough = self._steps is not None and len(self._made) >= self._steps
        return signal.SIGTERM if enough else None


class Exact(ResidentImages):
    """Images in float64."""

    def _normalised(self, images: torch.Tensor) -> torch.Tensor:
        return super()._normalised(images).double()


def split(task: Task, name: str) -> ResidentImages:
    images, labels = task.arrays[f"x_{name}"], task.arrays[f"y_{name}"]
    return (Exact if task.exact else ResidentImages)(
        np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels,
        mean=[0.5] * 3, std=[0.25] * 3, augmentation=Augmentation(4, True), device=CPU,
    )  # fmt: skip


def built(task: Task, processes: Processes) -> Method:
    networks = {}
    for i, name in enumerate(METHODS[task.method.kind].networks_of(GROUP, task.method)):
        torch.manual_seed(i)
        networks[name] = build(name.split(".")[0], num_classes=CLASSES)
        if task.exact:
            networks[name].double()
    if task.batch_norm == "batch" and processes.count > 1:
        over_whole_batches(networks.values(), CPU)
    return build_method(task.method, GROUP, networks, recipe(task), processes)


def train(processes: Processes, task: Task) -> dict[str, Any]:
    """The weights at the end, who taught in each step, the metrics, and calls of all_reduce."""
    torch.set_num_threads(1)
    method, taught, calls = built(task, processes), [], []
    step, reduce = method.step, dist.all_reduce

    def noted_step(*given: Any) -> Any:
        result = step(*given)
        taught.append(result.roles.temporary_teachers if result.roles else ())
        return result

    def noted_reduce(tensor: Any, *given: Any, **named: Any) -> Any:
        if named.get("group") is None:
            calls.append(tensor.numel())
        return reduce(tensor, *given, **named)

    method.step = noted_step  # type: ignore[method-assign, assignment]
    dist.all_reduce = noted_reduce
    folder, progress = Path(task.folder), Progress("test", 1, 1, speaks=False)
    log: Log = RunLog(folder) if processes.leads else Unwritten(folder)
    stopped = ""
    done = Progressed()
    with closing(log):
        try:
            done = fit(
                method,
                TrainingData(split(task, "train"), split(task, "test"), CLASSES),
                recipe(task),
                target=GROUP.target,
                seed=5,
                log=log,
                checkpoints=Checkpoints(folder, "f", {}, {}, task.every_seconds, progress),
                progress=progress,
                stop=StopAfter(taught, task.stop_after),
                processes=processes,
            )
        except Interrupted as error:
            stopped = str(error)
        finally:
            dist.all_reduce = reduce
    return {
        "weights": {n: dict(net.state_dict()) for n, net in method.networks.items()},
        "beside": {
            name: dict(module.state_dict())
            for name, module in method.modules.items()
            if name not in method.networks
        },
        "optimizers": {n: opt.state_dict() for n, opt in method.optimizers.items()},
        "taught": taught,
        "history": done.history,
        "processes": done.processes,
        "stopped": stopped,
        "calls": calls,
    }


def assert_equal_everywhere(found: list[dict[str, Any]]) -> None:
    """To the bit: what processes must have alike."""
    for other in found[1:]:
        assert other["taught"] == found[0]["taught"]
        for what in ("weights", "beside", "optimizers"):
            torch.testing.assert_close(other[what], found[0][what], rtol=0, atol=0)
        for ours, theirs in zip(found[0]["history"], other["history"], strict=True):
            assert {k: v for k, v in ours.items() if v == v} == {
                k: v for k, v in theirs.items() if v == v
            }


def parameters_of(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{name}/{key}": value
        for name, weights in found["weights"].items()
        for key, value in weights.items()
        if "running" not in key and "tracked" not in key
    }


@pytest.mark.parametrize("count", [2, 4])
def test_orc_by_several_processes_is_orc_by_one(
    arrays: dict[str, Any], tmp_path: Path, count: int
) -> None:
    config, few = orc_config(feedback__across="batch"), first(96, arrays)
    task = Task(few, str(tmp_path / "one"), config, exact=True)
    one = train(ALONE, task)
    several = Task(few, str(tmp_path / "several"), config, batch_norm="batch", exact=True)
    found = expect(together(count, train, several, debug=True))
    assert_equal_everywhere(found)
    assert len(one["taught"]) == 6
    assert found[0]["taught"] == one["taught"]
    torch.testing.assert_close(parameters_of(found[0]), parameters_of(one), rtol=0, atol=1e-9)
    for ours, theirs in zip(found[0]["history"], one["history"], strict=True):
        assert {k: pytest.approx(v, abs=1e-5) for k, v in theirs.items()} == ours
    assert [r.step for r in roles_log(Path(several.folder)).all()] == [
        r.step for r in roles_log(Path(task.folder)).all()
    ]


def test_an_iteration_of_orc_has_four_collectives(arrays: dict[str, Any], tmp_path: Path) -> None:
    """The ballot, and the gradients of the pivot, the temporary teacher and the rest."""
    first, _ = expect(together(2, train, Task(arrays, str(tmp_path), orc_config())))
    sizes = {
        name: sum(weights[key].numel() for key in weights if "running" not in key)
        for name, weights in first["weights"].items()
    }
    counted = [weights for weights in sizes.values()]
    per_step = first["calls"][: 4 * len(first["taught"])]
    for i, (teacher,) in enumerate(first["taught"]):
        ballot, pivot, promoted, rest = per_step[4 * i : 4 * i + 4]
        assert ballot == 2 * len(GROUP.students)
        assert promoted + rest + pivot <= sum(counted)
        assert pivot > promoted
        assert teacher in GROUP.students


KINDS = {
    name: method
    for name, method in load_params(ROOT / "params.yaml").methods.items()
    if name
    in ("ce", "kd", "takd", "dgkd-drop", "dml", "kdcl-naive", "kdcl-general", "kdcl-linear", "one")
    or name in ("orc", "fitnet", "vid", "orc-random", "orc-simultaneous")
}


def train_each(processes: Processes, tasks: Mapping[str, Task]) -> dict[str, Any]:
    return {name: train(processes, task) for name, task in tasks.items()}


def test_every_kind_of_method_stays_one_run(arrays: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("torchdistill")
    assert {method.kind for method in KINDS.values()} == set(METHODS)
    few = first(48, arrays)
    tasks = {name: Task(few, str(tmp_path / name), m) for name, m in KINDS.items()}
    found = expect(together(2, train_each, tasks, debug=True))
    for name in KINDS:
        assert_equal_everywhere([each[name] for each in found])
        assert found[0][name]["processes"] == [2]


def elect_alone(processes: Processes, task: Task) -> dict[str, Any]:
    """Each process counts its own ballot only: what must never happen."""

    class Deaf(Processes):
        def mean_of(self, values: torch.Tensor) -> torch.Tensor:
            return values

    return train(Deaf(processes.rank, processes.count, processes.host, processes.debug), task)


def test_an_election_by_each_process_is_caught(arrays: dict[str, Any], tmp_path: Path) -> None:
    """Networks of one size are the dangerous case: their gradients would be mixed in silence."""
    found = together(2, elect_alone, Task(arrays, str(tmp_path), orc_config()), debug=True)
    assert all(said.startswith("Disagreement: the election of process 1") for said in found)
    silent = expect(together(2, elect_alone, Task(arrays, str(tmp_path / "not"), orc_config())))
    assert silent[0]["taught"] != silent[1]["taught"]


@pytest.mark.parametrize("stop_after", [2, 4, 6])
def test_two_that_are_stopped_go_on_to_the_same_bits(
    arrays: dict[str, Any], tmp_path: Path, stop_after: int
) -> None:
    few = first(64, arrays)
    whole = expect(together(2, train, Task(few, str(tmp_path / "w"), orc_config(), epochs=2)))
    cut = Task(few, str(tmp_path / "c"), orc_config(), epochs=2, stop_after=stop_after)
    for stopped in expect(together(2, train, cut)):
        assert stopped["stopped"].startswith("stopped by SIGTERM")
    rest = Task(few, str(tmp_path / "c"), orc_config(), epochs=2)
    found = expect(together(2, train, rest))
    assert_equal_everywhere(found)
    for what in ("weights", "optimizers"):
        torch.testing.assert_close(found[0][what], whole[0][what], rtol=0, atol=0)
    assert without_times(found[0]["history"]) == without_times(whole[0]["history"])


def without_times(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{k: v for k, v in epoch.items() if not k.startswith("cost/")} for epoch in history]


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (2, 4)])
def test_another_number_of_processes_goes_on_at_the_same_step(
    arrays: dict[str, Any], tmp_path: Path, before: int, after: int
) -> None:
    def run(count: int, task: Task) -> list[dict[str, Any]]:
        return [train(ALONE, task)] if count == 1 else expect(together(count, train, task))

    config = orc_config(feedback__across="batch")
    given: dict[str, Any] = {"batch_norm": "batch", "epochs": 2, "exact": True}
    few = first(48, arrays)
    whole = train(ALONE, Task(few, str(tmp_path / "w"), config, **given))
    run(before, Task(few, str(tmp_path / "c"), config, **given, stop_after=2))
    found = run(after, Task(few, str(tmp_path / "c"), config, **given))
    assert_equal_everywhere(found)
    assert found[0]["processes"] == [before, after]
    # What does not depend on the parts is the run of one process, so nothing was lost or doubled.
    torch.testing.assert_close(parameters_of(found[0]), parameters_of(whole), rtol=0, atol=1e-9)
    for ours, theirs in zip(found[0]["history"], whole["history"], strict=True):
        for name in ("train/loss", "train/top1", "resnet14/loss", "feedback/wrong_by_anyone"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-6)


def test_a_batch_that_cannot_be_divided_stops_at_once(
    arrays: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="a batch of 16 images cannot be divided among 3"):
        train(Processes(0, 3), Task(arrays, str(tmp_path), orc_config()))
