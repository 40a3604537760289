"""The networks of the distillation literature by name."""

from __future__ import annotations

from orc_repro.models.zoo import build, check_name, names

__all__ = ["build", "check_name", "names"]
