"""Runs a command of the project whose memory does not suffice: ``<steps> <words>``."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import torch

from orc_repro.cli import main
from orc_repro.data.batches import ResidentImages

if __name__ == "__main__":
    _, steps, *words = sys.argv
    calls, augmented = itertools.count(1), ResidentImages.augmented

    def hungry(*arguments: Any) -> Any:
        if next(calls) == int(steps):
            torch.empty(2**50, dtype=torch.float32)  # torch's own error, as it comes
        return augmented(*arguments)

    setattr(ResidentImages, "augmented", hungry)  # noqa: B010
    sys.argv = ["orc-repro", *words]
    main()
