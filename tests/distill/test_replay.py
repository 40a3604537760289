"""A step recorded once and replayed does what the step does; memory stands in for a GPU's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from orc_repro.config import CeConfig, DmlConfig, KdclConfig
from orc_repro.distill import Ce, Dml, Kd, Kdcl, Method, Orc, StepResult
from orc_repro.distill.replay import WARM_UP_STEPS, Replay
from orc_repro.errors import UserError
from tests.distill.tape import Tapes
from tests.helpers import KD, SGD, group_of, orc_config, tiny_batch, tiny_networks

GROUP = group_of("resnet14", "resnet8", "resnet8.b")
BINARY = SGD.model_copy(update={"learning_rate": 0.125})  # the same in any number format
STEPS = WARM_UP_STEPS + 9


def orc(**changes: Any) -> Orc:
    batch = {"teaching__pivot_batch_norm": "batch", "teaching__temporary_batch_norm": "batch"}
    return Orc(orc_config(**(batch | changes)), GROUP, tiny_networks(GROUP), BINARY)


MADE: dict[str, Callable[[], Method]] = {
    "ce": lambda: Ce(CeConfig(kind="ce"), GROUP, _some("resnet8.b"), BINARY),
    "kd": lambda: Kd(KD, GROUP, _some("resnet20", "resnet8.b"), BINARY),
    "dml": lambda: Dml(
        DmlConfig(kind="dml", members="group", temperature=1.0, weight=1.0, order="sequential"),
        GROUP, tiny_networks(GROUP), BINARY,
    ),
    "kdcl": lambda: Kdcl(
        KdclConfig(kind="kdcl", members="group", ensemble="linear", temperature=4.0, weight=1.0),
        GROUP, tiny_networks(GROUP), BINARY,
    ),
    "orc": orc,
    "orc in running statistics": lambda: orc(
        teaching__pivot_batch_norm="running", teaching__temporary_batch_norm="running"
    ),
    "orc at once": lambda: orc(teaching__order="simultaneous"),
    "orc, two promoted": lambda: orc(promotion__top_k=2),
    "orc by lot": lambda: orc(promotion__rule="random"),
    "orc ranked in evaluation mode": lambda: orc(ranking__batch_norm="eval"),
}  # fmt: skip


def _some(*names: str) -> dict[str, torch.nn.Module]:
    every = tiny_networks(GROUP)
    return {name: every[name] for name in names}


def train(method: Method, first: int = 0, last: int = STEPS) -> list[dict[str, float]]:
    """Some steps, the learning rate falling twice; what each step said, as numbers."""
    drawn = method.draw_epoch(STEPS, 8, torch.Generator().manual_seed(7))
    said = []
    for i in range(first, last):
        method.set_learning_rate(0.5 ** (i // 6))
        method.train()
        result = method.step(*tiny_batch(i), {name: values[i] for name, values in drawn.items()})
        said.append(_numbers(result))
    return said


def _numbers(result: StepResult) -> dict[str, float]:
    tensors = result.losses | result.measures | result.correct
    promoted = result.roles.temporary_teachers if result.roles else ()
    return (
        {name: float(value) for name, value in tensors.items()}
        | {f"score of {name}": score for name, score in result.scores.items()}
        | {f"{name} is promoted": 1.0 for name in promoted}
    )


def bits(method: Method) -> dict[str, Tensor]:
    state = {
        f"{n}.{k}": v for n, net in method.networks.items() for k, v in net.state_dict().items()
    }
    for name, optimizer in method.optimizers.items():
        for i, values in optimizer.state_dict()["state"].items():
            state[f"{name}.momentum.{i}"] = values["momentum_buffer"]
    return state


def replayed(method: Method) -> tuple[Method, Tapes]:
    tapes = Tapes()
    method.execution.replay = Replay(tapes)
    return method, tapes


@pytest.mark.parametrize("name", MADE)
def test_replayed_steps_are_the_steps_to_the_last_bit(name: str) -> None:
    written, (method, tapes) = MADE[name](), replayed(MADE[name]())
    assert train(method) == train(written)
    ours, theirs = bits(method), bits(written)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs) and len(ours) == len(theirs)
    assert tapes.replayed == (STEPS - WARM_UP_STEPS) * (3 if method.host_decides else 1)


def test_a_phase_is_recorded_for_each_choice_of_the_host_and_replayed_for_the_others() -> None:
    method, tapes = replayed(orc(promotion__rule="random"))
    train(method)
    promoted = {name for said in train(orc(promotion__rule="random")) for name in said
                if name.endswith("promoted")}  # fmt: skip
    assert len(promoted) == 3
    assert tapes.recorded == 2 + len(promoted)


def test_a_replayed_run_goes_on_from_another_runs_state() -> None:
    whole, _ = replayed(orc())
    train(whole)
    first, _ = replayed(orc())
    train(first, last=7)
    second, _ = replayed(orc())
    second.load_state_dict(first.state_dict())
    train(second, first=7)
    ours, theirs = bits(second), bits(whole)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_batch_of_another_size_is_refused() -> None:
    method, _ = replayed(MADE["ce"]())
    method.train()
    method.step(*tiny_batch(0, size=8), {})
    with pytest.raises(ValueError, match="one shape"):
        method.step(*tiny_batch(0, size=6), {})


def test_a_phase_is_not_replayed_for_other_tensors() -> None:
    replay = Replay(Tapes())
    for _ in range(WARM_UP_STEPS + 1):
        given = replay.inputs(torch.ones(2))
        replay.phase("double", lambda x: 2 * x, given)
    assert replay.phase("double", lambda x: 2 * x, given).tolist() == [2, 2]
    with pytest.raises(ValueError, match="other tensors"):
        replay.phase("double", lambda x: 2 * x, torch.ones(2))


def test_a_step_that_asks_the_device_for_a_number_cannot_be_recorded() -> None:
    replay = Replay(Tapes())
    with pytest.raises(UserError, match=r"cannot be recorded .* `compile: off`"):
        for _ in range(WARM_UP_STEPS + 1):
            replay.phase("look", lambda x: x * x.sum().item(), replay.inputs(torch.ones(2)))
    assert not replay.recording


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", MADE)
def test_cuda_graphs_are_the_steps_to_the_last_bit(name: str) -> None:
    from orc_repro.distill.replay import CudaGraphs

    device = torch.device("cuda")
    made = []
    for graphs in (False, True):
        method = MADE[name]()
        for network in method.networks.values():
            network.to(device)
        method.execution.device = device
        if graphs:
            method.execution.replay = Replay(CudaGraphs(device))
        drawn = method.draw_epoch(STEPS, 8, torch.Generator().manual_seed(7))
        for i in range(STEPS):
            method.set_learning_rate(0.5 ** (i // 6))
            method.train()
            images, labels = tiny_batch(i)
            draws = {key: values[i].to(device) for key, values in drawn.items()}
            method.step(images.to(device), labels.to(device), draws)
        made.append(bits(method))
    assert all(torch.equal(made[0][key], made[1][key]) for key in made[0])
