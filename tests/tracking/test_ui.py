"""The MLflow UI in a real browser, over a store of more than thirty runs."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from orc_repro.project import run_folder
from orc_repro.tracking import sender, store
from orc_repro.tracking.delivery import deliver
from tests.browser import keep, needs_browser, open_browser
from tests.mlflow_server import Server
from tests.project import ROOT
from tests.tracking.made_runs import SETTINGS, STUDY, identity, make_run, manifest

pytestmark = needs_browser

HEIGHTS = {
    "ce": 58.0, "kd": 64.0, "orc": 69.0, "dml": 61.0, "takd": 65.0, "dgkd": 67.0, "one": 62.0,
    "kd-half": 63.0, "kdcl-naive": 60.0, "kdcl-linear": 60.5, "orc-random": 66.0,
}  # fmt: skip
COMPARED = ("ce", "kd", "orc")
EXPERIMENT, METRIC = "orc/cifar100/cifar100-r56-r20", "val/top1"
CHANGES = 100_000
FIGURE = "figure.svg"
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="320" height="40">'
    '<rect width="320" height="40" fill="#0072B2"/></svg>'
)
# What MLflow's page asks its server for itself, in vain, where nobody logs in; and what it says of
# its own layout on a slow machine.
NOT_OURS = ("mlflow/users/current", "ResizeObserver loop")
PATIENCE_S = 240.0  # for a machine that others use too
AXES = (
    "&plot_layout={}&x_axis=step&y_axis_scale=linear&line_smoothness=1&show_point=false"
    "&deselected_curves=[]&last_linear_y_axis_range=[]"
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Run name -> id: eleven methods, three seeds each, and one that changed roles all the time."""
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("ui")
        patch.chdir(place)
        patch.setenv("ORC_SCRATCH", str(place / ".orc"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(sender, "GIVE_UP_S", PATIENCE_S)
        shutil.copytree(ROOT / "studies" / STUDY, place / "studies" / STUDY)
        found = manifest(place / "prepared")
        for method, height in HEIGHTS.items():
            for seed in range(3):
                make_run(identity(found, method, seed), epochs=30, height=height)
        make_run(identity(found, "orc-smoothed"), changes=CHANGES)
        (place / FIGURE).write_text(SVG)
        shown = run_folder(identity(found, "orc", 1).fingerprint)
        assert deliver(shown, SETTINGS, {"roles": [place / FIGURE]}) is None
        client = store.open_client()
        experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
        made = client.search_runs([experiment], "tags.level = 'seed'", max_results=1000)
        assert len(made) == 3 * len(HEIGHTS) + 1
        yield {run.info.run_name: run.info.run_id for run in made} | {"experiment": experiment}


@pytest.fixture(scope="module")
def address(runs: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the UI on that store."""
    server = Server(tmp_path_factory.mktemp("server"), store.store_uri())
    server.start()
    yield server.address
    server.stop()


@pytest.fixture(scope="module")
def browser(address: str) -> Iterator[Any]:
    with open_browser("--window-size=1500,1100", "--enable-unsafe-swiftshader") as found:
        yield found


def look(browser: Any, address: str, page: str, drawn: str, count: int, **query: Any) -> str:
    """Open a page of the UI and wait until so many of something are drawn; returns its text."""
    words = "&".join(f"{name}={quote(json.dumps(value))}" for name, value in query.items())
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get(f"{address}/#/{page}?{words}{AXES if page == 'metric' else ''}")
    end = time.monotonic() + PATIENCE_S
    seen = f"return document.querySelectorAll({json.dumps(drawn)}).length"
    while browser.execute_script(seen) < count:
        assert time.monotonic() < end, browser.find_element("tag name", "body").text
        time.sleep(0.2)
    text: str = browser.find_element("tag name", "body").text
    keep(browser, f"ui-{page.partition('/')[0]}-{len(query.get('runs', ()))}")
    said = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert [message for message in said if not any(own in message for own in NOT_OURS)] == []
    return text


def test_one_metric_of_three_methods_is_three_curves(
    runs: dict[str, str], address: str, browser: Any
) -> None:
    names = [f"{method} · resnet56→20 · seed 0" for method in COMPARED]
    text = look(
        browser, address, "metric", ".scatterlayer .trace path.js-line", len(COMPARED),
        runs=[runs[name] for name in names], experiments=[runs["experiment"]],
        metric=METRIC, plot_metric_keys=[METRIC],
    )  # fmt: skip
    assert "Comparing 3 Runs from 1 Experiment" in text
    for name in names:
        assert f"{name} ({METRIC})" in text
    lines = browser.execute_script(
        "return [...document.querySelectorAll('.scatterlayer .trace path.js-line')]"
        ".map(line => line.getAttribute('d'))"
    )
    assert len(set(lines)) == len(COMPARED) and min(map(len, lines)) > 100


def test_the_comparison_shows_what_differs(
    runs: dict[str, str], address: str, browser: Any
) -> None:
    names = [f"{method} · resnet56→20 · seed 1" for method in COMPARED]
    ids = [runs[name] for name in names]
    text = look(
        browser, address, "compare-runs", ".plot-container svg", 1,
        runs=ids, experiments=[runs["experiment"]],
    )  # fmt: skip
    assert all(name in text for name in (*names, *ids))


def test_the_link_of_a_run_opens_it_and_its_figures(
    runs: dict[str, str], address: str, browser: Any
) -> None:
    run = runs["orc · resnet56→20 · seed 1"]
    text = look(browser, address, f"runs/{run}", "[role=tab]", 4)
    assert "orc · resnet56→20 · seed 1" in text and "orc-repro run cifar100-r56-r20-orc-s1" in text
    place = f"experiments/{runs['experiment']}/runs/{run}/artifacts/roles/{FIGURE}"
    look(browser, address, place, "img[src^=blob]", 1)
    wide = "return document.querySelector('img[src^=blob]').naturalWidth"
    assert browser.execute_script(wide) == 320


def test_a_run_that_changed_roles_a_hundred_thousand_times_opens(
    runs: dict[str, str], address: str, browser: Any
) -> None:
    name = "orc-smoothed · resnet56→20 · seed 0"
    text = look(
        browser, address, "metric", ".scatterlayer .trace path.js-line", 1,
        runs=[runs[name]], experiments=[runs["experiment"]], metric="role_it/teacher",
        plot_metric_keys=["role_it/teacher"],
    )  # fmt: skip
    end = time.monotonic() + PATIENCE_S
    while f"(step={CHANGES - 1})" not in text:  # the table is filled after the curve is drawn
        assert time.monotonic() < end, text
        time.sleep(0.2)
        text = browser.find_element("tag name", "body").text
