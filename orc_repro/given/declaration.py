"""Where a pivot's weights come from, if it is not trained here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from orc_repro.ranges import LeastPercent
from orc_repro.validation import Name, Strict


class TorchvisionWeights(Strict):
    """What torchvision publishes of the pivot's architecture under a name of its weight enum.

    ``min_top1``: a pivot below this accuracy on the validation split, in percent, is refused.
    """

    source: Literal["torchvision"]
    name: Name
    min_top1: LeastPercent

    @property
    def label(self) -> str:
        """What tells a pivot with these weights from others, in its key."""
        return self.name


class FileWeights(Strict):
    """A file of safetensors, or of a state dict that torch saved; ``min_top1`` as above.

    ``sha256`` is the file's: another file at the same place is another pivot.
    """

    source: Literal["file"]
    path: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    min_top1: LeastPercent

    @property
    def label(self) -> str:
        """What tells a pivot with these weights from others, in its key."""
        return self.sha256[:8]


GivenWeights = Annotated[TorchvisionWeights | FileWeights, Field(discriminator="source")]
