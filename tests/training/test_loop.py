"""The loop: the same bits again, across an interruption, and what it records."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from orc_repro.config import AugmentationConfig, Recipe, Sgd, StepSchedule
from orc_repro.data.batches import Augmentation, ResidentImages
from orc_repro.distill import Ce, Kd, Method, Orc
from orc_repro.errors import Interrupted, UserError
from orc_repro.interruption import Interruption
from orc_repro.progress import Progress
from orc_repro.tracking.records import role_table
from orc_repro.tracking.runlog import RunLog
from orc_repro.training.checkpoints import Checkpoints, read_state, saved
from orc_repro.training.loop import TrainingData, fit
from orc_repro.training.state import Progressed, State
from tests.helpers import CLASSES, KD, SGD, group_of, orc_config, tiny_networks

GROUP = group_of("resnet14", "resnet8", "resnet8.b")
EPOCHS, BATCH = 4, 8


def recipe(learning_rate: float = 0.1, batch_size: int = BATCH) -> Recipe:
    return Recipe(
        epochs=EPOCHS,
        batch_size=batch_size,
        optimizer=SGD.model_copy(update={"learning_rate": learning_rate}),
        schedule=StepSchedule(milestones_epochs=(3,), factor=0.1),
        augmentation=AugmentationConfig(crop_padding=1, flip=True),
        precision="fp32",
        network_precisions={},
        compile="off",
        batch_norm="process",
        pieces=1,
        deterministic=True,
        cpu_threads=None,
    )


def images(count: int, seed: int) -> ResidentImages:
    draw = np.random.default_rng(seed)
    return ResidentImages(
        draw.integers(0, 256, (count, 1, 4, 4), dtype=np.uint8),
        draw.integers(0, CLASSES, count),
        mean=[0.5],
        std=[0.25],
        augmentation=Augmentation(1, True),
        device=torch.device("cpu"),
    )


DATA = TrainingData(train=images(61, 1), validation=images(20, 2), num_classes=CLASSES)


def orc(optimizer: Sgd = SGD, **changes: Any) -> Orc:
    return Orc(orc_config(**changes), GROUP, tiny_networks(GROUP), optimizer)


class Spy(Method):
    """Passes everything on to a method and writes down who taught in each iteration."""

    def __init__(self, inner: Method) -> None:
        self.inner, self.networks, self.optimizers = inner, inner.networks, inner.optimizers
        self.roles, self.execution = inner.roles, inner.execution
        self.teachers: list[tuple[str, ...]] = []
        self.modes: list[dict[str, bool]] = []

    networks_of = Orc.networks_of

    def iterate(self, *args: Any) -> Any:
        self.modes.append({name: net.training for name, net in self.networks.items()})
        result = self.inner.step(*args)
        if result.roles is not None:
            self.teachers.append(result.roles.temporary_teachers)
        return result

    def draw_epoch(self, *args: Any) -> Any:
        return self.inner.draw_epoch(*args)

    def set_learning_rate(self, factor: float) -> None:
        self.inner.set_learning_rate(factor)

    def train(self) -> None:
        self.inner.train()

    def state_dict(self) -> Any:
        return self.inner.state_dict()


def run(
    method: Method,
    folder: Path,
    epochs: int = EPOCHS,
    how: Recipe | None = None,
    *,
    target: str = GROUP.target,
    seed: int = 3,
    every_seconds: float = 1e9,
    stop: Interruption | None = None,
) -> Progressed:
    progress = Progress("test", epochs, 7)
    with closing(RunLog(folder)) as log:
        return fit(
            method,
            DATA,
            (how or recipe()).model_copy(update={"epochs": epochs}),
            target=target,
            seed=seed,
            log=log,
            checkpoints=Checkpoints(folder, "f", {}, {}, every_seconds, progress),
            progress=progress,
            stop=stop or Interruption(),
        )


class StopAt(Interruption):
    """Asked to stop when it is looked at for the n-th time."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks

    @property
    def requested(self) -> signal.Signals | None:
        self._looks -= 1
        if self._looks <= 0:
            self._signal = signal.SIGTERM
        return self._signal


def weights(method: Method) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": value.clone()
        for name, network in method.networks.items()
        for key, value in network.state_dict().items()
    }


def assert_same_bits(ours: Method, theirs: Method) -> None:
    a, b = weights(ours), weights(theirs)
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_the_same_seed_gives_the_same_bits(tmp_path: Path) -> None:
    one, other = orc(), orc()
    first, second = run(one, tmp_path / "1"), run(other, tmp_path / "2")
    assert_same_bits(one, other)
    assert first.history == second.history
    pd.testing.assert_frame_equal(
        role_table(tmp_path / "1", GROUP.students), role_table(tmp_path / "2", GROUP.students)
    )


def test_another_seed_gives_another_run(tmp_path: Path) -> None:
    one, other = orc(), orc()
    run(one, tmp_path / "1")
    run(other, tmp_path / "2", seed=4)
    assert any(not torch.equal(a, b) for a, b in zip(
        weights(one).values(), weights(other).values(), strict=True))  # fmt: skip


@pytest.mark.parametrize("stop", [1, 3])
def test_a_run_resumed_between_epochs_is_the_undisturbed_run(tmp_path: Path, stop: int) -> None:
    whole = orc(ranking__smoothing=0.5)
    undisturbed = run(whole, tmp_path / "whole")
    run(orc(ranking__smoothing=0.5), tmp_path / "cut", epochs=stop)
    with (tmp_path / "cut/roles.jsonl").open("a") as file:  # what a kill leaves behind
        file.write('{"epoch": 9, "step": 999, "left": [], "came": [], "teachers": [], "sco')
    rest = orc(ranking__smoothing=0.5)
    resumed = run(rest, tmp_path / "cut")
    assert_same_bits(rest, whole)
    assert resumed.history == undisturbed.history
    assert resumed.elected == undisturbed.elected
    assert {n: b.epoch for n, b in resumed.best.items()} == {
        n: b.epoch for n, b in undisturbed.best.items()
    }
    pd.testing.assert_frame_equal(
        role_table(tmp_path / "cut", GROUP.students), role_table(tmp_path / "whole", GROUP.students)
    )


def same_run(one: Progressed, other: Progressed) -> bool:
    """All that is remembered but the weights and the time it took."""

    def remembered(done: Progressed) -> dict[str, Any]:
        best = {name: (b.epoch, b.top1) for name, b in done.best.items()}
        return done.model_dump(exclude={"seconds", "best"}) | {"best": best}

    return remembered(one) == remembered(other)


@pytest.mark.parametrize("method", ["orc", "kd", "ce"])
def test_a_run_that_is_stopped_again_and_again_anywhere_is_the_undisturbed_run(
    tmp_path: Path, method: str
) -> None:
    def build() -> Method:
        if method == "orc":
            return orc(ranking__smoothing=0.5, intensive__pivot_lr_scale=0.5)
        if method == "kd":
            return Kd(KD, GROUP, tiny_networks(GROUP), SGD)
        return Ce(None, GROUP, {GROUP.target: tiny_networks(GROUP)[GROUP.target]}, SGD)  # type: ignore[arg-type]

    whole = build()
    undisturbed = run(whole, tmp_path / "whole")
    stops = 0
    while True:
        part = build()
        try:
            # Another distance each time, so that cuts fall within epochs, at their last step, and
            # between the validations of two networks.
            resumed = run(part, tmp_path / "cut", stop=StopAt(1 + stops % 5))
            break
        except Interrupted as stopped:
            stops += 1
            assert stopped.exit_code == 143
    assert stops > 10
    assert_same_bits(part, whole)
    assert same_run(resumed, undisturbed)
    for name, best in undisturbed.best.items():
        for key, tensor in best.weights.items():
            assert torch.equal(resumed.best[name].weights[key], tensor)
    pd.testing.assert_frame_equal(
        role_table(tmp_path / "cut", GROUP.students), role_table(tmp_path / "whole", GROUP.students)
    )


def test_a_layer_that_draws_from_torchs_own_generator_resumes_to_the_same_bits(
    tmp_path: Path,
) -> None:
    def build() -> Method:
        network = nn.Sequential(nn.Dropout(0.5), tiny_networks(GROUP)[GROUP.target])
        return Ce(None, GROUP, {GROUP.target: network}, SGD)  # type: ignore[arg-type]

    whole = build()
    run(whole, tmp_path / "whole")
    with pytest.raises(Interrupted, match=r"stopped by SIGTERM after step 4 of 7 in epoch 2"):
        run(build(), tmp_path / "cut", stop=StopAt(13))  # 7 steps, 1 validation, 1 epoch, 4 steps
    torch.rand(5)  # another process has another past
    rest = build()
    run(rest, tmp_path / "cut")
    assert_same_bits(rest, whole)


SPOIL: dict[str, Callable[[State], object]] = {
    "another network": lambda state: state.method["networks"].update(resnet8=None),
    "a network less": lambda state: state.method["networks"].pop("resnet14"),
    "another shape": lambda state: state.method["networks"]["resnet8"].update(
        {"4.weight": torch.zeros(1)}
    ),
    "no optimizers": lambda state: state.method.pop("optimizers"),
    "another optimizer": lambda state: state.method["optimizers"]["resnet8"].update(
        param_groups=[]
    ),
    "no roles": lambda state: state.method.pop("temporary_teachers"),
    "sums that are no tensors": lambda state: state.own[0].meter.update(sums={"a/loss": "x"}),
    "a count less": lambda state: state.own[0].meter.update(steps=[1]),
    "no generator": lambda state: state.own[0].generators.clear(),
    "a generator too short": lambda state: state.own[0].generators.update(cpu=torch.zeros(3)),
}


@pytest.mark.parametrize("what", SPOIL)
def test_a_state_of_the_right_form_that_is_not_this_methods_is_one_sentence(
    tmp_path: Path, what: str
) -> None:
    with pytest.raises(Interrupted):
        run(orc(), tmp_path, stop=StopAt(2))
    (path,) = saved(tmp_path)
    state = read_state(path)
    SPOIL[what](state)
    keeper = Checkpoints(tmp_path, "f", {}, {}, 0, Progress("test", 1, 1))
    keeper.save(state)
    with pytest.raises(UserError, match="is not of this method and these networks; `--restart`"):
        run(orc(), tmp_path)


def test_no_memory_for_a_state_is_not_taken_for_a_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Interrupted):
        run(orc(), tmp_path, stop=StopAt(2))
    for place in ("orc_repro.training.loop.restore", "torch.load"):
        with monkeypatch.context() as full:
            full.setattr(place, lambda *_, **__: torch.empty(2**50))
            with pytest.raises(RuntimeError, match="allocate memory"):
                run(orc(), tmp_path)
    assert len(saved(tmp_path)) == 1


def test_checkpoints_are_written_by_the_clock_and_change_nothing(tmp_path: Path) -> None:
    often, rarely = orc(), orc()
    assert same_run(run(often, tmp_path / "1", every_seconds=0), run(rarely, tmp_path / "2"))
    assert_same_bits(often, rarely)
    assert [p.name for p in sorted((tmp_path / "1").glob("*.pt"))] == [
        "checkpoint-000003-000000007.pt",
        "checkpoint-000004-000000000.pt",
    ]


def test_every_change_of_role_is_a_row_and_every_election_is_counted(tmp_path: Path) -> None:
    spy = Spy(orc())
    done = run(spy, tmp_path)
    assert len(spy.teachers) == EPOCHS * (61 // BATCH)
    before: tuple[str, ...] = ()
    changes = 0
    for teachers in spy.teachers:
        changes += teachers != before
        before = teachers
    table = role_table(tmp_path, GROUP.students)
    assert len(table) == done.role_changes == changes > 1
    assert table["teachers"].tolist()[-1] == spy.teachers[-1][0]
    for name in GROUP.students:
        assert done.elected.get(name, 0) == sum(name in t for t in spy.teachers)
    for row in table.to_dict("records"):  # who came has the lowest score of all candidates
        assert min(GROUP.students, key=lambda name: row[f"score/{name}"]) == row["came"]
    shares = done.history[0]
    assert sum(shares[f"role/share_{n}"] for n in GROUP.students) == pytest.approx(1)


def test_every_epoch_begins_in_training_mode_and_the_frozen_pivot_stays_out_of_it(
    tmp_path: Path,
) -> None:
    group = group_of("resnet8")
    spy = Spy(Kd(KD, group, tiny_networks(group), SGD))
    run(spy, tmp_path, target="resnet8")
    assert spy.modes == [{"resnet20": False, "resnet8": True}] * EPOCHS * (61 // BATCH)


def test_kd_leaves_its_pivot_alone(tmp_path: Path) -> None:
    group = group_of("resnet8.b")
    networks = tiny_networks(group)
    before = {k: v.clone() for k, v in networks["resnet20"].state_dict().items()}
    run(Kd(KD, GROUP, networks, SGD), tmp_path)
    after = networks["resnet20"].state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_history_has_the_targets_figures_under_common_names(tmp_path: Path) -> None:
    method = Ce(None, GROUP, {"resnet8.b": tiny_networks(GROUP)["resnet8.b"]}, SGD)  # type: ignore[arg-type]
    last = run(method, tmp_path).history[-1]
    assert last["val/top1"] == last["resnet8.b/val_top1"]
    assert last["train/loss"] == last["resnet8.b/loss"]
    assert last["role/changes"] == 0
    assert last["learning_rate"] == pytest.approx(0.01)


def test_the_best_epoch_is_the_first_with_the_highest_validation_accuracy(tmp_path: Path) -> None:
    done = run(orc(), tmp_path)
    for name, best in done.best.items():
        curve = [epoch[f"{name}/val_top1"] for epoch in done.history]
        assert (best.epoch, best.top1) == (int(np.argmax(curve)), max(curve))


def test_a_target_whose_loss_is_not_finite_stops_the_run_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the loss of \S+ is not finite since epoch 0, step \d+"):
        run(orc(SGD.model_copy(update={"learning_rate": 1e30})), tmp_path)


def test_another_student_that_goes_nan_is_named_and_the_run_goes_on(tmp_path: Path) -> None:
    method = orc()
    with torch.no_grad():
        method.networks["resnet14"][4].bias.fill_(torch.nan)  # type: ignore[index]
    done = run(method, tmp_path)
    assert [(b.network, b.epoch, b.step) for b in done.not_finite] == [("resnet14", 0, 0)]
    assert "resnet14" not in done.elected
    assert len(done.history) == EPOCHS


def test_fewer_images_than_a_batch_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"64 .* 61"):
        run(orc(), tmp_path, how=recipe(batch_size=64))
