"""Markdown and SVG as parts of a page."""

from __future__ import annotations

from orc_repro.page.markup import from_markdown, inline_svg


def test_headings_go_one_level_at_a_time_and_the_title_is_not_said_twice() -> None:
    text = "# The study\n\n## Published\n\n#### Deep\n\n# Measured\n\n## The study\n\nText.\n"
    assert from_markdown(text, below=3, without="The study") == (
        "<h4>Published</h4>\n<h5>Deep</h5>\n<h4>Measured</h4>\n<p>Text.</p>\n"
    )


def test_a_table_scrolls_and_says_what_its_headings_are_of() -> None:
    html = from_markdown("| method | n |\n| --- | --- |\n| a | 1<br>2 |\n", below=3, label="L")
    assert html.startswith(
        '<div class="wide" role="region" tabindex="0" aria-label="L, table 1"><table>\n'
        "<caption>L, table 1</caption>"
    )
    assert '<th scope="col">method</th>' in html
    assert '<th scope="row">a</th>\n<td>1<br>2</td>' in html
    assert html.rstrip().endswith("</table></div>")


def test_html_in_a_report_is_text() -> None:
    html = from_markdown("A <script>alert(1)</script>\n\n[x](javascript:alert)\n", below=3)
    assert "<script" not in html and "&lt;script&gt;" in html
    assert "href" not in html
    label = from_markdown("| a |\n| --- |\n", below=3, label='"><b>')
    assert "<b>" not in label


def test_identifiers_get_a_prefix_and_those_unused_go() -> None:
    text = (
        '<?xml version="1.0"?>\n<!DOCTYPE svg>\n<svg width="1pt">\n <metadata>x</metadata>\n'
        ' <g id="figure_1">\n  <defs><path id="m1" d="M 1.26 2.22 \nL 10.04 3.5 "/></defs>\n'
        '  <use xlink:href="#m1"/><g clip-path="url(#c1)"/><clipPath id="c1"/>\n </g>\n</svg>\n'
        "<!-- drawn from -->\n"
    )
    assert inline_svg(text, "f7", 'all "is" well') == (
        '<svg role="img" aria-label="all &#34;is&#34; well" width="1pt">\n<g>\n'
        '<defs><path id="f7-m1" d="M 1.3 2.2\nL 10.04 3.5 "/></defs>\n'
        '<use xlink:href="#f7-m1"/><g clip-path="url(#f7-c1)"/><clipPath id="f7-c1"/>\n</g>\n</svg>'
    )
