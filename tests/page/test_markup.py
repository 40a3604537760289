"""Markdown as a part of a page."""

from __future__ import annotations

from orc_repro.page.markup import from_markdown


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


def test_an_image_in_a_report_is_not_loaded() -> None:
    assert "<img" not in from_markdown("![x](https://somewhere.example/x.png)\n", below=3)
