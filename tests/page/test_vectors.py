"""Figures as elements of one page: shorter, with what they share once, and the same to look at."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from orc_repro.errors import UserError
from orc_repro.page import drawing
from orc_repro.page.pictures import Pictures
from orc_repro.page.vectors import Vectors
from orc_repro.report import figures
from tests.browser import needs_browser, open_browser

NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
ROOM = 1_000_000


def drawn(text: str, label: str = "it", vectors: Vectors | None = None) -> str:
    """A figure of these elements on the page, without what it is of itself."""
    figure, _ = (vectors or Vectors()).inline(f"<svg {NAMESPACES}>{text}</svg>", label, ROOM)
    assert figure is not None
    return figure.removeprefix(f'<svg role="img" aria-label="{label}">\n').removesuffix("\n</svg>")


def figure_of(*values: float) -> Figure:
    made = Figure(figsize=(4, 3))
    axes = made.add_subplot()
    axes.plot(values, "o--", label="a & b", ms=3)
    axes.fill_between(range(len(values)), values, 0, alpha=0.2)
    axes.set_title("accuracy < 1")
    axes.legend()
    return made


def test_what_two_figures_refer_to_and_how_they_look_is_there_once() -> None:
    vectors = Vectors()
    first, second = (
        drawn(
            f'<defs><path id="{name}" d="M 0 0 L 0 3.5 "/><path id="unused" d="M 1 1"/></defs>'
            f'<g id="axes"><use xlink:href="#{name}" x="1.26" y="-0.04" style="stroke: #000"/></g>',
            vectors=vectors,
        )
        for name in ("m1", "m2")
    )
    assert first == second == '<use href="#_0" x="1.3" y="0" class="_0"/>'
    assert vectors.definitions == '<path id="_0" d="M0 0 0 3.5"/>\n'
    assert vectors.styles == "._0{stroke: #000}\n"


def test_a_reference_within_a_style_or_a_definition_is_followed() -> None:
    vectors = Vectors()
    text = (
        '<defs><clipPath id="c"><rect x="0" y="1"/></clipPath>'
        '<g id="both"><use xlink:href="#one"/></g><path id="one" d="M 1 2 z"/></defs>'
        '<g clip-path="url(#c)"><use xlink:href="#both"/></g>'
        '<path d="M 0 0" style="clip-path: url(#c)"/><use xlink:href="#nobody"/>'
    )
    assert drawn(text, vectors=vectors) == (
        '<g clip-path="url(#_0)">\n<use href="#_2"/>\n</g>\n'
        '<path d="M0 0" class="_0"/>\n<use href="#nobody"/>'
    )
    assert '<path id="_1" d="M1 2z"/>' in vectors.definitions
    assert vectors.styles == "._0{clip-path: url(#_0)}\n"


def test_a_path_is_as_long_as_what_can_be_seen_of_it() -> None:
    steps = "M 1.26 -2.22 \nL 10.04 3.50 \nL 4 4 \nz\nM 1 1 \nQ 1.126 2 3 4 \nQ 5 6 7 8 \nz"
    assert drawn(f'<path d="{steps}"/>') == (
        '<path d="M1.26-2.22 10.04 3.5 4 4zM1 1Q1.13 2 3 4 5 6 7 8z"/>'
    )
    assert drawn('<path d="M 1.26 -2.22 L 10.04 3.50 "/>') == '<path d="M1.3-2.2 10 3.5"/>'
    assert drawn('<path d="M 0 0 A 5 5 0 01 1 1"/>') == '<path d="M 0 0 A 5 5 0 01 1 1"/>'


def test_words_stay_as_they_are_and_markup_in_them_stays_words() -> None:
    text = (
        '<g><!-- title --><text transform="translate(1.04 2.26) rotate(-0 3 4)">a &lt;b&gt; '
        "<tspan>2</tspan> c</text></g><metadata>x</metadata>"
    )
    assert drawn(text) == (
        '<text transform="translate(1 2.3)">a &lt;b&gt; <tspan>2</tspan> c</text>'
    )
    label = '"><script>'
    figure, _ = Vectors().inline(f"<svg {NAMESPACES}/>", label, ROOM)
    assert figure == '<svg role="img" aria-label="&#34;&gt;&lt;script&gt;"/>'


def test_a_style_that_would_end_its_rule_stays_where_it_is() -> None:
    vectors = Vectors()
    for style in ("fill: red} body {display: none", "&lt;/style>"):
        assert 'style="' in drawn(f'<path style="{style}" d="M 0 0"/>', vectors=vectors)
    drawn("<defs><style>&lt;/style&gt;&lt;script&gt;</style></defs>", vectors=vectors)
    drawn("<defs><style>*{stroke-linecap: butt}</style></defs>", vectors=vectors)
    assert vectors.styles == "*{stroke-linecap: butt}\n"


def test_what_does_not_fit_leaves_nothing_behind() -> None:
    vectors = Vectors()
    text = drawing.svg(figure_of(0.2, 0.5, 0.9)).decode()
    figure, length = Vectors().inline(text, "it", ROOM)
    assert figure is not None and length > len(figure)
    assert vectors.inline(text, "it", length - 1) == (None, 0)
    assert (vectors.definitions, vectors.styles) == ("", "")
    assert vectors.inline(text, "it", length) == (figure, length)


def test_figures_take_less_than_half_of_their_files() -> None:
    vectors = Vectors()
    texts = [drawing.svg(figure_of(*np.linspace(0, n, 30))).decode() for n in (1, 2, 3)]
    lengths = [vectors.inline(text, "it", ROOM)[1] for text in texts]
    assert sum(lengths) < sum(map(len, texts)) / 2
    assert lengths[0] > lengths[2]  # which finds its letters and marks there


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    path.write_text("<svg><g></svg>")
    with pytest.raises(ParseError):
        Vectors().inline(path.read_text(), "it", ROOM)
    with pytest.raises(UserError, match=f"{re.escape(str(path))} is no whole picture: mismatched"):
        list(Pictures().read(path, "it"))


@needs_browser
def test_they_look_as_their_files_do(tmp_path: Path) -> None:
    figures.save(figure_of(0.1, 0.7, 0.4, 0.9), tmp_path / "letters-as-outlines.svg")
    texts = [drawing.svg(figure_of(0.2, 0.5, 0.9)).decode()]
    texts.append((tmp_path / "letters-as-outlines.svg").read_text())
    vectors = Vectors()
    shown = [vectors.inline(text, "it", ROOM)[0] or "" for text in texts]
    own = f"<style>{vectors.styles}</style><svg height=0><defs>{vectors.definitions}</defs></svg>"
    with open_browser() as browser:
        for number, (text, figure) in enumerate(zip(texts, shown, strict=True)):
            before = looks(browser, tmp_path, re.sub(r"\A.*?(?=<svg)", "", text, flags=re.DOTALL))
            after = looks(browser, tmp_path, figure, own)
            assert before.shape == after.shape and before.std() > 10
            different = (np.abs(before - after) > 100).mean()
            assert different < 2e-3, number  # letters stand half a pixel higher or lower


def looks(browser: Any, folder: Path, figure: str, before: str = "") -> Any:
    """A figure's pixels, from black to white."""
    page = folder / "page.html"
    style = "<style>body{margin:0} #f svg{display:block}</style>"
    page.write_text(
        f'<!DOCTYPE html><meta charset="utf-8">{style}{before}<div id="f">{figure}</div>'
    )
    browser.get(page.as_uri())
    box = browser.execute_script(
        "const r = document.querySelector('#f svg').getBoundingClientRect();"
        " return {x: r.x, y: r.y, width: r.width, height: r.height, scale: 2}"
    )
    data = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": box})["data"]
    pixels = Image.open(io.BytesIO(base64.b64decode(data))).convert("L")
    return np.asarray(pixels).astype(int)
