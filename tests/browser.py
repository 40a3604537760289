"""A real browser without a window, for tests of what people look at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
PATIENCE_S = 300.0  # a checker looks at thousands of elements, on a machine that others use too

needs_browser = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="needs chromium and chromedriver (Debian: chromium-driver)"
)


@contextmanager
def open_browser(*arguments: str) -> Iterator[Any]:
    """Chromium, keeping what pages say and ask for; skips where selenium is not installed."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", *arguments):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(str(DRIVER)))
    driver.set_script_timeout(PATIENCE_S)
    driver.command_executor.client_config.timeout = PATIENCE_S + 60  # else two minutes for all
    try:
        yield driver
    finally:
        driver.quit()


def keep(driver: Any, name: str) -> None:
    """A picture of what is to be seen, for people, in the folder that ORC_SCREENSHOTS names."""
    if folder := os.environ.get("ORC_SCREENSHOTS"):
        driver.save_screenshot(str(Path(folder) / f"{name}.png"))
