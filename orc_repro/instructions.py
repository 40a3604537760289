"""Which of a processor's instructions arithmetic uses: all, or those that others have, too."""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch

from orc_repro.config import Recipe

PORTABLE = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
"""By variable, what keeps torch and the two libraries it computes with from using AVX-512."""


def is_portable(recipe: Recipe) -> bool:
    """Whether a recipe's results are to have the same bits on processors with AVX-512 and without.

    bfloat16 is left out: without AVX-512 it is emulated, many times slower.
    """
    precisions = {recipe.precision, *recipe.network_precisions.values()}
    return recipe.deterministic and precisions == {"fp32"}


def use_portable_for(recipes: Iterable[Recipe]) -> None:
    """Before the first of many pieces of work in one process, which has one width for all of them:
    the portable one, if any recipe is to have it.
    """
    if any(map(is_portable, recipes)):
        use_portable()


def use_portable() -> bool:
    """Compute in this process, and in those it starts, as a processor without AVX-512 does.

    Registers of another width split sums otherwise: the last bits differ, and a few epochs later
    whole points of accuracy. Torch looks at these variables once, when it computes for the first
    time. Where one is set already, somebody has decided.

    Returns:
        False if this process has computed with AVX-512 before, unasked; it goes on so.
    """
    if not torch.cpu._is_avx512_supported() or any(name in os.environ for name in PORTABLE):
        return True
    os.environ.update(PORTABLE)
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return True
    for name in PORTABLE:  # half of it would be a third kind of bits
        del os.environ[name]
    return False
