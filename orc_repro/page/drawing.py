"""Figures as small SVG files that say what they were drawn from."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from orc_repro.files import write_atomically

_PATH = re.compile(rb' d="[^"]*"')
_NUMBER = re.compile(rb"\d+\.\d+")
_INDENTED = re.compile(rb"\n +")
_METADATA = re.compile(rb"\n *<metadata>.*?</metadata>", re.DOTALL)
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "orc_repro",
    "svg.fonttype": "none",
    "font.sans-serif": ["DejaVu Sans"],
}
_SOURCE = re.compile(rb"<!-- drawn from ([0-9a-f]{64}) -->\s*\Z")


def svg(figure: Figure) -> bytes:
    """A figure without date and with fixed identifiers; text as text, curves to 0.1 pt."""
    with matplotlib.rc_context(_STYLE):
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = _INDENTED.sub(b"\n", _METADATA.sub(b"", file.getvalue()))
    return _PATH.sub(_rounded, text)


def _rounded(path: re.Match[bytes]) -> bytes:
    return _NUMBER.sub(lambda number: b"%.1f" % float(number[0]), path[0])


def source(*parts: str) -> str:
    """A hash over what a figure is drawn from."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def save(figure: Figure, path: Path, drawn_from: str) -> None:
    """Write a figure, and in it the hash of what it was drawn from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, svg(figure) + f"<!-- drawn from {drawn_from} -->\n".encode())


def is_drawn_from(path: Path, hashed: str) -> bool:
    """Whether there is a figure, and it was drawn from that."""
    if not path.exists():
        return False
    found = _SOURCE.search(path.read_bytes())
    return found is not None and found[1].decode() == hashed
