"""What the tests of the online methods share."""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from orc_repro.distill import Method
from tests.helpers import tiny_batch


def ready(method: Method, steps: int = 4) -> Method:
    method.set_learning_rate(1.0)
    method.train()
    method.draw_epoch(steps, 8, torch.Generator().manual_seed(0))
    return method


def weights(method: Method) -> dict[str, dict[str, Tensor]]:
    return {n: copy.deepcopy(net.state_dict()) for n, net in method.networks.items()}


def same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL by its definition, over probabilities."""
    p, q = (teacher / temperature).softmax(1), (student / temperature).softmax(1)
    return temperature**2 * (p * (p / q).log()).sum(1).mean()


def answers(networks: Mapping[str, nn.Module], images: Tensor) -> dict[str, Tensor]:
    """What networks in training mode say, without touching them."""
    return {name: copy.deepcopy(net)(images).detach() for name, net in networks.items()}


def assert_resumes(make_one: type, undisturbed: Method, resumed: Method, at: int) -> None:
    """A method stopped in the middle of its second epoch goes on to the same bits."""
    steps = 4
    ready(undisturbed, steps)
    for i in range(2 * steps):
        if i % steps == 0:
            undisturbed.draw_epoch(steps, 8, torch.Generator().manual_seed(i))
        if i == at:
            saved = io.BytesIO()
            torch.save(undisturbed.state_dict(), saved)
        undisturbed.step(*tiny_batch(i), {})
    saved.seek(0)
    resumed.load_state_dict(torch.load(saved, weights_only=True))
    ready(resumed, steps)
    for i in range(at, 2 * steps):
        if i != at and i % steps == 0:
            resumed.draw_epoch(steps, 8, torch.Generator().manual_seed(i))
        resumed.step(*tiny_batch(i), {})
    assert isinstance(resumed, make_one)
    for name, found in weights(resumed).items():
        assert same(found, undisturbed.networks[name].state_dict())
