"""How much of it this machine has: what cannot fit is refused before it is tried."""

from __future__ import annotations

import psutil


def fits_into_memory(size_bytes: int) -> bool:
    """Whether this machine could ever hold so much."""
    return size_bytes <= int(psutil.virtual_memory().total)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that there is no memory left, here or on a GPU."""
    if isinstance(error, MemoryError):
        return True
    # torch's own class for a GPU is a RuntimeError; for the CPU it has none, only these words.
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in ("allocate memory", "out of memory")
    )
