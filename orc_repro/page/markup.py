"""Reports as parts of a page: Markdown into HTML that can be read by all."""

from __future__ import annotations

from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape

from orc_repro.report.paper_markdown import LINE_BREAK

_DEEPEST = 6


def from_markdown(text: str, *, below: int, without: str = "", label: str = "") -> Markup:
    """HTML of a report.

    Tables can be scrolled, by keyboard too, and say which cells are headings. Headings go one
    level at a time. HTML in the text is shown as text, but for the line breaks within cells. Images
    in the text are links, so that the page asks nothing of anyone.

    Args:
        below: the level of the heading that the text stands under.
        without: a title that the page has already; headings of that text are left out.
        label: what the tables are of, for those who do not see them.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = _without_heading(parser.parse(text), without)
    level = below
    original: list[int] = []
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            depth = int(token.tag[1])
            original = [other for other in original if other < depth] + [depth]
            level = min(below + len(original), _DEEPEST)
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{level}"
        if token.type == "th_open":
            token.attrSet("scope", "col")
        if token.type == "td_open" and tokens[number - 1].type == "tr_open":
            _make_heading(tokens, number)
    html = parser.renderer.render(tokens, parser.options, {})
    html = html.replace(str(escape(LINE_BREAK)), "<br>")
    opening = (
        '<div class="wide" role="region" tabindex="0" aria-label="{}">'
        "<table>\n<caption>{}</caption>"
    )
    parts = html.split("<table>")
    named = [parts[0]]
    for count, part in enumerate(parts[1:], start=1):
        caption = escape(f"{label}, table {count}")
        named.append(opening.format(caption, caption) + part)
    return Markup("".join(named).replace("</table>", "</table></div>"))


def _without_heading(tokens: list[Token], title: str) -> list[Token]:
    left: list[Token] = []
    position = 0
    while position < len(tokens):
        token = tokens[position]
        if token.type == "heading_open" and tokens[position + 1].content == title:
            position += 3
            continue
        left.append(token)
        position += 1
    return left


def _make_heading(tokens: Sequence[Token], number: int) -> None:
    """The first cell of a row, which is three tokens, names the row."""
    tokens[number].attrSet("scope", "row")
    tokens[number].tag = tokens[number + 2].tag = "th"
