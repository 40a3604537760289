"""One photograph: from the bytes of a file to RGB pixels, or to one sentence that says why not.

Pixels are what torchvision's ImageFolder makes of a file: grey, CMYK, palette and transparent
images become RGB as Pillow converts them, a file is what its content says whatever its name, and
EXIF's orientation is not applied (published networks were trained and measured without it).
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from orc_repro.data.sources import _EIGHT_BIT_MODES, _FORMATS
from orc_repro.errors import UserError, one_line

Pixels = npt.NDArray[np.uint8]
"""uint8 [height, width, 3]."""

MOST_PIXELS = 2**26
"""A file that says it has more is refused: it may be made to fill the memory."""


def decode(content: bytes, path: Path) -> Image.Image:
    """A file's image as RGB.

    Raises:
        UserError: it is none, is damaged or cut short, or is too large to be read safely.
    """
    return _loaded(content, path, small=False)[0].convert("RGB")


def checked_size(content: bytes, path: Path) -> tuple[int, int]:
    """Height and width of a file that :func:`decode` will read.

    All of a JPEG is decoded, but to an eighth of its size, in half the time.

    Raises:
        UserError: see :func:`decode`.
    """
    return _loaded(content, path, small=True)[1]


def _loaded(content: bytes, path: Path, small: bool) -> tuple[Image.Image, tuple[int, int]]:
    """The image, decoded to its end, and its height and width."""
    if not content:
        raise UserError(f"the image {path} cannot be read: the file is empty")
    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
        width, height = image.size
        if width * height <= MOST_PIXELS:
            if small:
                image.draft(None, (max(width // 8, 1), max(height // 8, 1)))
            image.load()
    except Image.DecompressionBombError:
        raise UserError(f"the image {path} is too large to be read safely") from None
    # Pillow's decoders meet damage with OSError, SyntaxError, ValueError, struct.error and others.
    except Exception as error:
        reason = one_line(" ".join(str(error).split()))
        if isinstance(error, UnidentifiedImageError):
            reason = "it is no image"
        raise UserError(f"the image {path} cannot be read: {reason}") from None
    if width * height > MOST_PIXELS:
        raise UserError(
            f"the image {path} has {width}x{height} pixels; more than {MOST_PIXELS:,} are not read"
        )
    if image.mode not in _EIGHT_BIT_MODES:
        raise UserError(
            f"the image {path} has pixels of mode {image.mode}; save it with 8 bits a channel"
        )
    return image, (height, width)
