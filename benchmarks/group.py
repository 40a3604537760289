"""A group of real networks on random images, to be trained by the steps of a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from orc_repro.config import AnyMethod, Group, Params, architecture_of, load_params
from orc_repro.distill import METHODS, Method, StepResult, build_method
from orc_repro.models import build
from orc_repro.rehearsal import Rehearsal, noise_images

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
BATCHES = 12


def networks(
    names: Sequence[str], classes: int = 10, channels: int = 3, fast: bool = True
) -> dict[str, nn.Module]:
    """Networks with the same weights whenever they are asked for; ``fast``: channels last."""
    torch.manual_seed(0)
    built = {
        name: build(architecture_of(name), num_classes=classes, in_channels=channels).to(DEVICE)
        for name in names
    }
    if fast:
        for network in built.values():
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return built


class Steps:
    """A method and enough batches; call it to make some steps.

    Args:
        group: a group of ``params.yaml``, or one that is not there.
        method: a method of ``params.yaml``.
        shape: of an image.
        fast: whether weights are channels last.
        computed: fields of a recipe: ``precision``, ``compile``.
    """

    def __init__(
        self,
        group: str | Group = "r20-r8",
        method: str = "orc",
        shape: tuple[int, int, int] = (3, 32, 32),
        batch_size: int = 64,
        fast: bool = True,
        computed: Mapping[str, str] | None = None,
    ) -> None:
        params: Params = load_params()
        self.group = params.groups[group] if isinstance(group, str) else group
        self.config: AnyMethod = params.methods[method]
        self.names = METHODS[self.config.kind].networks_of(self.group, self.config)
        self.method: Method = build_method(
            self.config,
            self.group,
            networks(self.names, channels=shape[0], fast=fast),
            params.recipes["cifar10-brief"].model_copy(update=computed or {}),
        )
        self.method.train()
        images = noise_images(BATCHES * batch_size, shape, 10, DEVICE)
        self._steps = Rehearsal(self.method, images, batch_size)

    def __call__(self, count: int = 1) -> StepResult:
        """Make ``count`` steps; returns the last one's result."""
        for _ in range(count - 1):
            self._steps()
        return self._steps()
