"""Batch norm over the parts of two processes, beside torch's own over the whole."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from orc_repro.distill.method import as_teacher
from orc_repro.processes.batch_norm import over_whole_batches
from orc_repro.processes.group import Processes
from tests.processes.together import expect, together

BATCH, CHANNELS = 6, 3


def network() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(2, CHANNELS, 3), nn.Sequential(nn.BatchNorm2d(CHANNELS)))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter))
    return made


def batch() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    # Parts with different means and spreads, or their own statistics would do.
    scale = torch.arange(1.0, BATCH + 1).view(-1, 1, 1, 1)
    images = scale + scale * torch.randn(BATCH, 2, 5, 5, generator=draw)
    return images, torch.randn(BATCH, CHANNELS, 3, 3, generator=draw)


def learn(made: nn.Module, images: Tensor, weights: Tensor, share: int) -> dict[str, Any]:
    """One step's gradients, statistics and outputs, and what a teacher then says."""
    images = images.clone().requires_grad_()
    answer = made(images)
    (answer.square() * weights).sum().div(share).backward()
    with as_teacher(made, "batch"):
        asked = made(images)
    with as_teacher(made, "running"):
        evaluated = made(images)
    return {
        "answer": answer.detach(),
        "asked": asked,
        "evaluated": evaluated,
        "image gradients": images.grad,
        "gradients": [p.grad for p in made.parameters()],
        "state": dict(made.state_dict()),
    }


def learn_a_part(processes: Processes) -> dict[str, Any]:
    made = network()
    over_whole_batches([made], torch.device("cpu"))
    images, weights = (tensor[processes.part_of(BATCH)] for tensor in batch())
    found = learn(made, images, weights, BATCH // processes.count)
    processes.average(found["gradients"])
    return found


def test_the_parts_are_normalised_and_learn_as_the_whole() -> None:
    parts = expect(together(2, learn_a_part))
    whole = learn(network(), *batch(), share=BATCH)
    for what in ("answer", "asked", "evaluated"):
        torch.testing.assert_close(torch.cat([part[what] for part in parts]), whole[what])
    # Each process's loss is a mean over half the images.
    image_gradients = torch.cat([part["image gradients"] for part in parts]) / 2
    torch.testing.assert_close(image_gradients, whole["image gradients"], atol=1e-5, rtol=1e-4)
    for part in parts:
        torch.testing.assert_close(part["gradients"], whole["gradients"], atol=1e-5, rtol=1e-4)
        assert list(part["state"]) == list(whole["state"])
        torch.testing.assert_close(part["state"], whole["state"])
