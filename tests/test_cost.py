"""Counting what work costs, and what an iteration of ORC costs by count."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from benchmarks.group import Steps
from orc_repro.config import Group
from orc_repro.cost import StepCost, count, step_cost
from orc_repro.data.batches import Augmentation, draw_epoch
from orc_repro.distill.host_read import HostRead
from orc_repro.rehearsal import held_bytes

BATCH = 4


def test_a_product_is_two_operations_an_element_and_its_result_is_what_it_holds() -> None:
    a, b = torch.ones(3, 5), torch.ones(5, 7)
    counted = count(lambda: a @ b)
    assert (counted.flop, counted.peak_bytes) == (2 * 3 * 5 * 7, 3 * 7 * 4)
    assert (counted.operations, counted.host_reads) == (1, 0)


def test_memory_is_what_is_held_at_once_not_what_was_ever_made() -> None:
    given = torch.ones(1000)

    def one_after_another() -> None:
        for _ in range(5):
            torch.exp(given)

    def all_at_once() -> list[Tensor]:
        return [torch.exp(given) for _ in range(5)]

    assert count(one_after_another).peak_bytes <= 2 * 4000
    assert count(all_at_once).peak_bytes == 5 * 4000


def test_a_view_and_a_change_in_place_hold_nothing_new() -> None:
    given = torch.ones(1000)
    counted = count(lambda: given.view(10, 100).add_(1))
    assert (counted.peak_bytes, counted.operations) == (0, 2)


def test_numbers_that_the_host_asks_for_are_counted() -> None:
    given = torch.ones(3)
    assert count(lambda: [float(given[0]), given[1].item(), bool(given.sum() > 0)]).host_reads == 3


def test_a_convolutions_backward_costs_twice_its_forward() -> None:
    convolution = nn.Conv2d(2, 3, 3, padding=1, bias=False)
    image = torch.ones(1, 2, 8, 8, requires_grad=True)
    forward = 2 * 3 * 8 * 8 * (2 * 3 * 3)
    counted = count(lambda: convolution(image))
    assert counted.flop == forward
    assert counted.traffic_bytes == 4 * (2 * 8 * 8 + 3 * 8 * 8 + 3 * 2 * 3 * 3)
    learned = count(lambda: torch.autograd.backward(convolution(image).sum()))
    assert learned.flop == 3 * forward


def test_any_batchs_memory_is_told_from_two_small_ones() -> None:
    cost = step_cost(lambda size: lambda: torch.ones(size, 100).exp(), fixed_bytes=7)
    assert cost.bytes_per_image == 2 * 400 and cost.flop_per_image == 0
    assert cost.peak_bytes(1000) == 7 + 1000 * 800
    steps = Steps("r20-r8", "orc", batch_size=32)
    steps(2)

    def small(size: int) -> Callable[[], object]:
        made = Steps("r20-r8", "orc", batch_size=size)
        made()
        return made

    told = step_cost(small, fixed_bytes=0).peak_bytes(32)
    assert count(steps).peak_bytes == pytest.approx(told, rel=0.05)


def test_what_is_held_is_weights_statistics_and_momentum() -> None:
    alone = Steps(Group(pivot=None, students=("resnet8",), target="resnet8"), "ce")
    learned = sum(p.numel() for p in alone.method.networks["resnet8"].parameters())
    norms = sum(
        2 * 4 * m.num_features + 8  # mean and variance in float32, the count of batches in int64
        for m in alone.method.networks["resnet8"].modules()
        if isinstance(m, nn.BatchNorm2d)
    )
    assert held_bytes(alone.method) == 2 * 4 * learned + norms


def test_an_iteration_of_orc_asks_nobody_twice() -> None:
    """Three S for each student, four P, and one more T for whoever was promoted."""
    steps = Steps("r20-r8", "orc", batch_size=BATCH)
    steps()
    images, labels = torch.randn(BATCH, 3, 32, 32), torch.arange(BATCH)

    def forward(name: str) -> int:
        network = copy.deepcopy(steps.method.networks[name])
        with torch.no_grad():
            return count(lambda: network(images)).flop

    def learn(name: str) -> int:
        network = copy.deepcopy(steps.method.networks[name])
        return count(
            lambda: torch.autograd.backward(nn.functional.cross_entropy(network(images), labels))
        ).flop

    def forwards(network: nn.Module, calls: list[str], name: str) -> None:
        network.register_forward_hook(lambda *_: calls.append(name))

    calls: list[str] = []
    for name, network in steps.method.networks.items():
        forwards(network, calls, name)
    counted, made = count(steps), Counter(calls)
    assert steps.method.roles is not None
    (promoted,) = steps.method.roles.temporary_teachers
    expected = sum(learn(name) for name in steps.names)
    expected += forward("resnet20") + forward(promoted)
    assert counted.flop == expected
    wanted = {"resnet20": 2, "resnet14": 1, "resnet8": 1}
    wanted[promoted] += 1
    assert made == wanted


def test_an_iteration_of_orc_waits_for_one_number_of_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[HostRead] = []
    wait = HostRead.wait

    def counting(read: HostRead) -> list[list[float]]:
        waits.append(read)
        return wait(read)

    monkeypatch.setattr(HostRead, "wait", counting)
    steps = Steps("r20-r8", "orc", batch_size=BATCH)
    steps()
    waits.clear()
    counted = count(steps)
    assert (counted.host_reads, len(waits)) == (0, 1)


@pytest.mark.parametrize("method", ["ce", "kd", "takd", "dgkd", "dml", "kdcl-naive", "one"])
def test_no_other_method_waits_for_the_device(method: str) -> None:
    steps = Steps("r20-r8", method, batch_size=BATCH)
    steps()
    assert count(steps).host_reads == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("method", ["ce", "kd", "dml", "kdcl-naive", "one", "orc"])
def test_on_a_gpu_no_step_synchronises(method: str) -> None:
    steps = Steps("r20-r8", method, batch_size=BATCH)
    steps(3)
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert torch.cuda.get_sync_debug_mode() == 2  # or a wait would pass unseen
        steps(2)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_operations_of_an_iteration_do_not_grow_unseen() -> None:
    """Each costs a GPU's host some microseconds: 26/20/14/8 had 1,542 when this was written."""
    steps = Steps("r26-r8", "orc", batch_size=BATCH)
    steps()
    assert count(steps).operations <= 1_600


def test_an_epochs_draws_are_small() -> None:
    count_of_images = 50_000
    draws = draw_epoch(count_of_images, 128, Augmentation(4, True), torch.Generator())
    method = Steps("r20-r8", "orc", batch_size=BATCH).method
    own = method.draw_epoch(len(draws.order), 128, torch.Generator())
    held = [draws.order, draws.dy, draws.dx, draws.flip, *own.values()]
    assert sum(tensor.nbytes for tensor in held) <= 30 * count_of_images


def test_a_prediction_adds_up() -> None:
    cost = StepCost(flop_per_image=1.0, fixed_bytes=100, step_fixed_bytes=10.0, bytes_per_image=2.0)
    assert cost.peak_bytes(5) == 120.0
