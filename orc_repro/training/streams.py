"""Named streams of random numbers: adding a network or a draw shifts nobody else's."""

from __future__ import annotations

import zlib

import numpy as np
import torch


def stream_seed(seed: int, *names: str | int) -> int:
    """A 64-bit seed for one purpose of a run, such as ``(seed, "init", "resnet8")``."""
    key = [n if isinstance(n, int) else zlib.crc32(n.encode()) for n in names]
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)[0])


def generator(seed: int, *names: str | int) -> torch.Generator:
    """A CPU generator at the start of a named stream; the same numbers on every device."""
    return torch.Generator().manual_seed(stream_seed(seed, *names))
