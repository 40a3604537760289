"""Drawings as files: the same figure is the same bytes, and says what it is of."""

from __future__ import annotations

import re
from pathlib import Path

from matplotlib.figure import Figure

from orc_repro.page import drawing


def figure() -> Figure:
    made = Figure()
    made.add_subplot().plot([0, 1, 3], [1 / 3, 2 / 7, 1], label="seen")
    return made


def test_the_same_figure_is_the_same_bytes_without_a_date() -> None:
    drawn = drawing.svg(figure())
    assert drawn == drawing.svg(figure())
    assert b"metadata" not in drawn and b"date" not in drawn
    paths = re.findall(rb' d="([^"]*)"', drawn)
    assert paths and not any(re.search(rb"\.\d\d", path) for path in paths)


def test_a_drawing_says_what_it_was_drawn_from(tmp_path: Path) -> None:
    path, numbers = tmp_path / "new/figure.svg", drawing.source("run", "1,2\n")
    assert not drawing.is_drawn_from(path, numbers)
    drawing.save(figure(), path, numbers)
    assert drawing.is_drawn_from(path, numbers)
    assert not drawing.is_drawn_from(path, drawing.source("run", "1,3\n"))
    assert drawing.source("a", "b") != drawing.source("ab", "")
