"""How much of it this machine has: what cannot fit is refused before it is tried."""

from __future__ import annotations

import psutil


def fits_into_memory(size_bytes: int) -> bool:
    """Whether this machine could ever hold so much."""
    return size_bytes <= int(psutil.virtual_memory().total)
