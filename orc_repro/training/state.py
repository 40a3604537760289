"""Everything a run needs to go on, in one file of tensors and plain types."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from orc_repro.errors import UserError


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write a state atomically: a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"the checkpoint {path} cannot be written: {error}") from None


def load_state(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The state in a file, or None if there is no file. Runs no code from it.

    Raises:
        UserError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception:  # torch raises many kinds for a damaged archive
        raise UserError(f"the checkpoint {path} is damaged; delete it to start over") from None
    return state
