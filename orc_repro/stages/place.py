"""Where a stage computes, and how exactly: settled before it computes anything."""

from __future__ import annotations

import torch

from orc_repro.config import Recipe
from orc_repro.errors import say
from orc_repro.instructions import is_portable, use_portable
from orc_repro.memory import refuse_more_than_bearable
from orc_repro.training.device import pick_device, set_up


def take_place(device: str, recipe: Recipe) -> torch.device:
    """Pick the device, and set threads, determinism and instructions as the recipe has them.

    Raises:
        UserError: see ``pick_device``; also if the recipe has far more threads than processors.
    """
    refuse_more_than_bearable(recipe.cpu_threads, "the recipe's cpu_threads")
    place = pick_device(device)
    if is_portable(recipe) and not use_portable():
        say(
            "warning",
            "this process has computed with AVX-512 before, and goes on so; on processors"
            " without, last bits differ",
        )
    set_up(recipe)
    return place
