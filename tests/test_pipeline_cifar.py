"""Every kind of method from images to the report, on a slice of real CIFAR-100."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from orc_repro.config import load_params
from orc_repro.distill import METHODS as KINDS
from orc_repro.report.results import read_results
from tests.project import REAL, ROOT, command, copy_project

pytestmark = pytest.mark.skipif(
    not (REAL / "unpack.py").exists(), reason="real CIFAR images are not beside the checkout"
)
# The first of each kind, under its own name; every other one runs in tests/test_tables_small.py.
CONFIGS = load_params(ROOT / "params.yaml").methods
FIRST_OF_KIND = {method.kind: name for name, method in reversed(CONFIGS.items())}
METHODS = sorted(
    name for kind, name in FIRST_OF_KIND.items() if kind != "feature" or find_spec("torchdistill")
)


def shrink(params: dict[str, Any]) -> None:
    params["data"]["slice"] = params["data"]["cifar10-small"] | {
        "root": "images",
        "validation_fraction": 0.2,
    }
    params["groups"]["small"] = {
        "pivot": "resnet14",
        "students": ["resnet8.a", "resnet8"],
        "target": "resnet8",
    }
    recipe = params["recipes"]["cifar10-brief"]
    recipe |= {"epochs": 2, "batch_size": 32, "cpu_threads": 1}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    row = {
        "dataset": "slice",
        "groups": ["small"],
        "recipe": "cifar10-brief",
        "pivot": {"recipe": "cifar10-brief", "seed": 0},
        "methods": METHODS,
        "seeds": [0],
    }
    project = copy_project(tmp_path_factory.mktemp("cifar"), shrink, row)
    subprocess.run(
        [sys.executable, REAL / "unpack.py", "cifar100", "--to", project / "images",
         "--train-per-class", "5", "--test-per-class", "2"],
        check=True, capture_output=True,
    )  # fmt: skip
    # One process for all; that a stage starts by itself is seen in tests/test_tables_small.py.
    for words in (["plan"], ["queue", "--device", "cpu"], ["sync"], ["report"]):
        command(project, "orc_repro", *words)
    return project


def test_every_method_was_trained_and_evaluated_on_a_hundred_classes(project: Path) -> None:
    results = {r.method: r for r in read_results(project / "results/default/evaluated")}
    assert sorted(results) == METHODS
    assert {CONFIGS[method].kind for method in METHODS} | {"feature"} == set(KINDS)
    for result in results.values():
        assert (result.epochs, result.target_name) == (2, "resnet8")
        assert result.target.parameters == 83_892
        assert len(result.target.last.class_top1) == 100
        top1, top5 = result.target.last.top1, result.target.last.top5
        assert top5 is not None and 0 <= top1 <= top5 <= 100
        mean = sum(result.target.last.class_top1) / 100  # two test images in every class
        assert mean == pytest.approx(top1)
    before = {results[method].pivot_before for method in ("kd", "orc", "dgkd")}
    assert len(before) == 1 and None not in before
    assert results["takd"].pivot_before is None
    assert results["kd"].networks["resnet14"].last.top1 == results["kd"].pivot_before
    assert sum(results["orc"].elected.values()) == 2 * (400 // 32)


def test_the_role_table_agrees_with_the_result(project: Path) -> None:
    table = pd.read_parquet(project / "roles/slice-small-orc-s0.parquet")
    (orc,) = (r for r in read_results(project / "results/default/evaluated") if r.method == "orc")
    assert len(table) == orc.role_changes > 0
    assert (table["came"] != table["left"]).all()


def test_the_report_has_a_row_for_each_network_and_says_what_was_not_run(project: Path) -> None:
    rows = pd.read_csv(project / "reports/results.csv")
    counts = rows.groupby("method").size().to_dict()
    assert set(counts) == set(METHODS)
    few = {"ce": 1, "kd": 2, "takd": 2, "dgkd": 3, "dml": 3, "kdcl-naive": 3, "one": 3, "orc": 3}
    assert few.items() <= counts.items()
    assert set(rows["role"]) == {"target", "student", "pivot", "assistant"}
    text = (project / "reports/table.md").read_text()
    for method in METHODS:
        assert f"| {method} | resnet8 |" in text
    runs = pd.read_csv(project / "reports/runs.csv")
    cells = {f"slice-small-{method}-s0" for method in METHODS}
    assert cells < set(runs["cell"])
    teachers = sorted(set(runs["cell"]) - cells)  # a pivot for all, an assistant for each chain
    assert [name.split("-")[1] for name in teachers] == ["resnet14", "small", "small"], teachers
    assert runs["run_id"].is_unique and set(runs["run_id"].str.len()) == {32}


def test_one_finished_run_for_each_method_with_names_that_compare(project: Path) -> None:
    from orc_repro.tracking.store import open_client

    client = open_client(f"sqlite:///{project}/.orc/mlflow.db")
    experiment = client.get_experiment_by_name("orc/default/slice-small")
    runs = client.search_runs(
        [experiment.experiment_id], "tags.level = 'seed' and attributes.status = 'FINISHED'"
    )
    assert sorted(run.data.tags["method"] for run in runs) == METHODS
    common = set.intersection(*(set(run.data.metrics) for run in runs))
    assert {
        "train/loss", "train/top1", "val/loss", "val/top1", "final/top1_last", "final/top5_last",
        "final/top1_best_validation", "cost/seconds", "cost/images_per_second", "role/changes",
    } <= common  # fmt: skip
    assert len({tuple(sorted(run.data.params)) for run in runs}) == 1
    results = {r.method: r for r in read_results(project / "results/default/evaluated")}
    for run in runs:
        assert len(run.data.metrics) <= 60
        assert (
            run.data.metrics["final/top1_last"] == results[run.data.tags["method"]].target.last.top1
        )
    (orc,) = (run for run in runs if run.data.tags["method"] == "orc")
    changes = client.get_metric_history(orc.info.run_id, "role_it/teacher")
    assert len(changes) == results["orc"].role_changes
    files = {f.path for f in client.list_artifacts(orc.info.run_id, "roles")}
    cell = "roles/slice-small-orc-s0"
    assert files == {"roles/events.parquet", f"{cell}-roles.csv", f"{cell}.svg"}
    parents = client.search_runs([experiment.experiment_id], "tags.level = 'row'")
    assert sorted(p.data.metrics["agg/n_seeds"] for p in parents) == [1.0] * len(METHODS)


def test_training_a_cell_again_gives_the_same_bytes(project: Path) -> None:
    paths = [
        project / "weights/cells/slice-small-orc-s0/last/resnet8.safetensors",
        project / "roles/slice-small-orc-s0.parquet",
        project / "results/default/trained/slice-small-orc-s0.json",
    ]
    before = [path.read_bytes() for path in paths]
    command(project, "orc_repro", "train", "slice-small-orc-s0", "--restart")
    assert [path.read_bytes() for path in paths] == before
