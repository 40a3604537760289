"""What a model card says, done."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from orc_repro.stages.publish import CARD, WEIGHTS_FILE


def classes_by_the_card(folder: Path, images: torch.Tensor) -> torch.Tensor:
    """Run the code of a card, in its folder: uint8 [N, C, H, W] -> int64 [N]."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / CARD).read_text(), re.DOTALL)
    code = code.replace(f'"{WEIGHTS_FILE}"', repr(str(folder / WEIGHTS_FILE)))
    names: dict[str, Any] = {"images": images}
    exec(code, names)
    found: torch.Tensor = names["logits"].argmax(dim=1)
    return found


def top1(found: torch.Tensor, labels: torch.Tensor) -> float:
    """In percent."""
    return 100 * int((found == labels).sum()) / len(labels)
