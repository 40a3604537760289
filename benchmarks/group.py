"""A group of real networks on random images, to be trained by the steps of a method."""

from __future__ import annotations

import numpy as np
import torch

from orc_repro.config import Params, load_params
from orc_repro.data.batches import Augmentation, ResidentImages, draw_epoch
from orc_repro.distill import METHODS, Method, build_method
from orc_repro.models import build
from orc_repro.training.streams import generator


class Steps:
    """A method and enough batches; call it to make some steps.

    Args:
        group: a group of ``params.yaml``.
        method: a method of ``params.yaml``.
        shape: of an image.
    """

    def __init__(
        self,
        group: str = "r20-r8",
        method: str = "orc",
        shape: tuple[int, int, int] = (3, 32, 32),
        batch_size: int = 64,
    ) -> None:
        params: Params = load_params()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.group, config = params.groups[group], params.methods[method]
        names = METHODS[config.kind].networks_of(self.group, config)
        torch.manual_seed(0)
        networks = {
            name: build(name, num_classes=10, in_channels=shape[0])
            .to(self.device)
            .to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            for name in names
        }
        recipe = params.recipes["cifar10-brief"]
        self.method: Method = build_method(config, self.group, networks, recipe.optimizer)
        self.method.train()
        count = 40 * batch_size
        draw = np.random.default_rng(0)
        self._images = ResidentImages(
            draw.integers(0, 256, (count, *shape), dtype=np.uint8),
            draw.integers(0, 10, count),
            mean=[0.5] * shape[0],
            std=[0.25] * shape[0],
            augmentation=Augmentation(4, True),
            device=self.device,
        )
        self._batches = draw_epoch(
            count, batch_size, self._images.augmentation, generator(0, "batches", 0)
        ).to(self.device)
        draws = self.method.draw_epoch(40, batch_size, generator(0, "method", 0))
        self._draws = {name: tensor.to(self.device) for name, tensor in draws.items()}
        self._next = 0

    def __call__(self, count: int) -> None:
        """Make ``count`` steps."""
        for _ in range(count):
            i = self._next = (self._next + 1) % 40
            batch = self._images.augmented(
                self._batches.order[i], self._batches.dy[i], self._batches.dx[i],
                self._batches.flip[i],
            )  # fmt: skip
            self.method.step(*batch, {name: draw[i] for name, draw in self._draws.items()})
