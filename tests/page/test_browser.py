"""reports/index.html in a real browser: complete, silent, alone, narrow, and accessible."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orc_repro.page.build import write_page
from tests.browser import needs_browser, open_browser
from tests.page.site import add_study_without_results, make
from tests.project import ROOT

PAGE = ROOT / "reports/index.html"
AXE = ROOT / "node_modules/axe-core/axe.min.js"

pytestmark = needs_browser
SCHEMES = ("light", "dark")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as found:
        yield found


def open_page(browser: Any, width: int = 1200, scheme: str = "light") -> None:
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(PAGE.as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")


def test_tables_and_figures_are_there_and_nothing_is_asked_of_anyone(browser: Any) -> None:
    open_page(browser)
    tables = browser.execute_script("return document.querySelectorAll('table').length")
    reports = [path.read_text() for path in (ROOT / "reports").glob("**/table.md")]
    assert tables >= sum(text.count("| --- |\n") for text in reports) > 0
    empty = (
        "return [...document.querySelectorAll('figure img')]"
        ".filter(i => !i.complete || i.getBoundingClientRect().height < 100).length"
    )
    assert browser.execute_script(empty) == 0
    figures = len(list((ROOT / "reports").glob("**/figures/*-validation.svg")))
    shown = browser.execute_script("return document.querySelectorAll('figure img').length")
    assert shown > figures > 0
    assert browser.get_log("browser") == []
    messages = (json.loads(line["message"])["message"] for line in browser.get_log("performance"))
    asked = [m["params"]["request"]["url"] for m in messages
             if m["method"] == "Network.requestWillBeSent"]  # fmt: skip
    assert asked and all(url.startswith(("file:", "data:")) for url in asked)


@pytest.mark.parametrize("width", [320, 375, 768, 1200])
def test_only_what_scrolls_by_itself_is_wider_than_the_screen(browser: Any, width: int) -> None:
    open_page(browser, width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    outside = (
        "return [...document.querySelectorAll('body *')]"
        ".filter(e => !e.closest('.wide, pre, .skip'))"
        ".filter(e => e.getBoundingClientRect().right > arguments[0] + 1)"
        ".map(e => e.outerHTML.slice(0, 80))"
    )
    assert browser.execute_script(outside, width) == []


def test_a_link_to_a_study_that_is_folded_away_opens_it(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make(tmp_path))
    add_study_without_results("folded")
    page = tmp_path / write_page(Path("page.html"))
    visible = "return document.getElementById('folded').checkVisibility()"
    browser.get(page.as_uri())
    assert not browser.execute_script(visible)
    browser.get(f"{page.as_uri()}#folded")
    assert browser.execute_script(visible)


def test_the_keyboard_reaches_the_content_first(browser: Any) -> None:
    open_page(browser)
    browser.switch_to.active_element.send_keys("\ue004")  # Tab
    assert browser.switch_to.active_element.text == "To the content"
    browser.switch_to.active_element.send_keys("\ue007")  # Enter
    assert browser.switch_to.active_element.get_attribute("id") == "main"


@pytest.mark.skipif(not AXE.exists(), reason="needs axe-core (npm install axe-core)")
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", [375, 1200])
def test_axe_finds_nothing_serious(browser: Any, width: int, scheme: str) -> None:
    open_page(browser, width, scheme)
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    found = browser.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
    assert len(found["passes"]) > 10
    serious = [(v["id"], v["nodes"][0]["html"][:200]) for v in found["violations"]
               if v["impact"] in ("serious", "critical")]  # fmt: skip
    assert serious == []


def test_it_prints(browser: Any, tmp_path: Path) -> None:
    open_page(browser)
    printed = browser.execute_cdp_cmd("Page.printToPDF", {})["data"]
    assert len(printed) > 100_000
