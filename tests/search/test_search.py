"""A whole search on digits: killed, continued, repeated, answered, promoted."""

from __future__ import annotations

import difflib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from orc_repro.search.storage import RUN
from orc_repro.yaml_files import read_yaml
from tests.project import ROOT, command, copy_project, environment
from tests.search.files import content, shrink

FILE = "studies/search/small.yaml"
NAME = "small-v1"
GROUP = """  small:
    pivot: resnet14
    students:
    - resnet8.a
    - resnet8
    target: resnet8
"""


def write(project: Path, **changes: Any) -> None:
    path = project / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content(**changes), sort_keys=False))


def trials(project: Path) -> list[FrozenTrial]:
    journal = project / ".orc/search" / NAME / "journal.log"
    if not journal.exists():
        return []
    storage = JournalStorage(JournalFileBackend(str(journal)))
    if not storage.get_all_studies():
        return []
    return optuna.load_study(study_name=NAME, storage=storage).trials


def finished(project: Path) -> list[FrozenTrial]:
    return [t for t in trials(project) if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]


def outcome(project: Path) -> list[Any]:
    """What was suggested and found, in that order, whatever the numbers."""
    return [(t.params, t.state, t.values, t.intermediate_values) for t in finished(project)]


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data and a pivot, and no search yet; nothing that searches may see the test split."""
    row = {"groups": ["small"], "seeds": [0]}
    project = copy_project(tmp_path_factory.mktemp("search") / "project", shrink, row)
    command(project, "orc_repro", "plan")
    command(project, "orc_repro", "prepare", "digits")
    command(project, "orc_repro", "pretrain", "digits-resnet14-digits-s0")
    for path in (project / "data/prepared/digits").glob("test_*"):
        path.unlink()
    write(project)
    return project


def another(untouched: Path, name: str) -> Path:
    shutil.copytree(untouched, untouched.parent / name)
    return untouched.parent / name


@pytest.fixture(scope="module")
def searched(untouched: Path) -> Path:
    project = another(untouched, "searched")
    command(project, "orc_repro", "search", FILE)
    return project


def test_trial_0_is_what_params_yaml_has_and_the_answer_is_complete(searched: Path) -> None:
    found = trials(searched)
    assert len(finished(searched)) == len(found) == 5
    assert found[0].params == {
        "group.students": "resnet8.a, resnet8",
        "method.temperature": 4.0,
        "method.promotion.top_k": 1,
        "method.ranking.criterion": "loss",
    }
    folder = searched / "reports/studies" / NAME
    table = pd.read_csv(folder / "trials.csv")
    assert table["trial"].tolist() == [0, 1, 2, 3, 4]
    complete = table[table["state"] == "complete"]
    best = complete.sort_values("validation_top1", ascending=False).iloc[0]
    page = (folder / "page.md").read_text()
    assert f"trial {best['trial']} in the search | {best['validation_top1']:.2f} |" in page
    assert page.count("(n = 3)") == 3 and "difference, paired by seed" in page
    drawn = {path.name for path in (folder / "figures").iterdir()}
    assert drawn == {
        "optimization_history.svg", "param_importances.svg", "parallel_coordinate.svg", "slice.svg"
    }  # fmt: skip


def test_mlflow_has_a_parent_and_a_child_for_each_trial(searched: Path) -> None:
    from orc_repro.tracking.store import open_client

    client = open_client(f"sqlite:///{searched}/.orc/mlflow.db")
    experiment = client.get_experiment_by_name(f"orc/search/{NAME}").experiment_id
    (parent,) = client.search_runs([experiment], "tags.level = 'row'")
    runs = client.search_runs([experiment], "tags.trial != ''")
    by_trial = {
        run.data.tags["trial"]: run for run in runs if "again" not in run.data.tags["trial"]
    }
    assert set(by_trial) == {f"trial {i}" for i in range(5)}
    states = {t.number: t.state.name.lower() for t in trials(searched)}
    for number, state in states.items():
        tags = by_trial[f"trial {number}"].data.tags
        assert tags["trial_state"] == state and tags["mlflow.parentRunId"] == parent.info.run_id
    best = [name for name, run in by_trial.items() if run.data.tags["best_trial"] == "true"]
    assert best == [f"trial {parent.data.tags['best_trial']}"]
    assert by_trial["trial 0"].data.params["method.temperature"] == "4.0"


def in_the_middle(found: list[FrozenTrial], after: int) -> bool:
    """Whether so many trials have ended and another has begun to train, and not much more."""
    ended = [t for t in found if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    begun = [t for t in found if t.state == TrialState.RUNNING and f"{RUN}0" in t.user_attrs]
    return len(ended) >= after and any(not t.intermediate_values for t in begun)


def test_a_search_that_is_killed_twice_loses_and_doubles_nothing(
    untouched: Path, searched: Path
) -> None:
    """And suggests, trial by trial, what the undisturbed one does."""
    project = another(untouched, "killed")
    for wanted in (1, 3):
        process = subprocess.Popen(
            [sys.executable, "-m", "orc_repro", "search", FILE],
            cwd=project, env=environment(project), stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + 600
        # In the middle of a trial, not between two.
        while not in_the_middle(trials(project), after=wanted):
            assert time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = command(project, "orc_repro", "search", FILE)
    assert "was lost with its worker" in done.stdout
    assert outcome(project) == outcome(searched)
    lost = [t for t in trials(project) if t.state == TrialState.FAIL]
    assert 1 <= len(lost) <= 2 and len(trials(project)) == 5 + len(lost)
    table = pd.read_csv(project / "reports/studies" / NAME / "trials.csv")
    # One that was lost before anything was drawn has nothing to be repeated.
    assert set(table["retry_of"].dropna().astype(int)) <= {t.number for t in lost}


def test_workers_side_by_side_share_the_trials(untouched: Path) -> None:
    project = another(untouched, "workers")
    command(project, "orc_repro", "search", FILE, "--workers", "2")
    found = finished(project)
    assert len(found) == len(trials(project)) == 5
    assert len({tuple(t.user_attrs["worker"]) for t in found}) == 2
    assert len({str(sorted(t.params.items())) for t in found}) == len(found)


def test_a_signal_ends_all_workers_and_the_search_goes_on(untouched: Path) -> None:
    project = another(untouched, "stopped")
    process = subprocess.Popen(
        [sys.executable, "-m", "orc_repro", "search", FILE, "--workers", "2"],
        cwd=project, env=environment(project), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 600
    while time.monotonic() < until and not any(t.state.name == "RUNNING" for t in trials(project)):
        time.sleep(0.05)
    process.terminate()
    _, said = process.communicate(timeout=300)
    assert process.returncode == 143 and "the same command goes on from there" in said
    workers = [t.user_attrs["worker"][1] for t in trials(project) if "worker" in t.user_attrs]
    assert workers
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    command(project, "orc_repro", "search", FILE)
    assert len(finished(project)) == 5


def test_best_values_are_promoted_as_a_small_change(untouched: Path, searched: Path) -> None:
    project = another(untouched, "promoted")
    refused = command(project, "orc_repro", "promote", FILE, check=False)
    assert refused.returncode == 2 and "best.yaml does not exist" in refused.stderr
    shutil.copytree(searched / "reports", project / "reports", dirs_exist_ok=True)
    best = read_yaml(project / "reports/studies" / NAME / "best.yaml")
    best["methods"]["orc"]["temperature"] = 2.5
    (project / "reports/studies" / NAME / "best.yaml").write_text(yaml.safe_dump(best))
    shutil.copyfile(ROOT / "params.yaml", project / "params.yaml")
    before = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(before.replace("\ngroups:\n", f"\ngroups:\n{GROUP}"))
    before = (project / "params.yaml").read_text()
    said = command(project, "orc_repro", "promote", FILE).stdout
    assert "methods.orc.temperature: 4.0 -> 2.5" in said
    after = (project / "params.yaml").read_text()
    changed = [line for line in difflib.ndiff(before.splitlines(), after.splitlines())
               if line.startswith("+ ")]  # fmt: skip
    assert 1 <= len(changed) <= len(said.splitlines())
    comments = [line for line in before.splitlines() if "#" in line]
    assert comments == [line for line in after.splitlines() if "#" in line]
    params = read_yaml(project / "params.yaml")
    assert params["methods"]["orc"]["temperature"] == 2.5
    assert params["groups"]["small"]["students"] == best["groups"]["small"]["students"]
    again = command(project, "orc_repro", "promote", FILE).stdout
    assert "has these values already" in again


def test_with_a_cost_there_is_a_front_and_nothing_is_stopped_early(untouched: Path) -> None:
    project = another(untouched, "cost")
    write(
        project,
        cost="flop_per_image",
        pruner={"kind": "none", "startup_trials": 0, "after_epoch": 0},
        trials=3,
    )
    command(project, "orc_repro", "search", FILE)
    assert [t.state for t in trials(project)] == [TrialState.COMPLETE] * 3
    by_size = {str(t.params["group.students"]): t.values[1] for t in trials(project)}
    if len(by_size) == 2:
        assert by_size["resnet8"] < by_size["resnet8.a, resnet8"]
    assert (project / "reports/studies" / NAME / "figures/pareto_front.svg").exists()


@pytest.mark.parametrize(
    ("changes", "environ", "sentence"),
    [
        ({"space": {"method.heat": {"low": 1.0, "high": 2.0}}}, {}, "no parameter method.heat"),
        ({"space": {"method.beta": {"low": 0.9, "high": 0.1}}}, {}, "it must be below high"),
        ({"base": content()["base"] | {"dataset": "cifar10"}}, {}, "does not exist; run"),
        ({"base": content()["base"] | {"pivot": "nobody"}}, {}, "pretrain@nobody"),
        ({}, {"ORC_SEARCH_STORAGE": "nothing://x:secret@y/z"}, "search storage that ORC_SEARCH"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_nothing_is_written(
    untouched: Path, changes: dict[str, Any], environ: dict[str, str], sentence: str
) -> None:
    project = untouched
    write(project, **changes)
    before = sorted(p for p in project.rglob("*") if "__pycache__" not in p.parts)
    done = subprocess.run(
        [sys.executable, "-m", "orc_repro", "search", FILE],
        cwd=project, env=environment(project) | environ, capture_output=True, text=True,
    )  # fmt: skip
    write(project)
    assert done.returncode == 2 and sentence in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "secret" not in done.stderr
    after = sorted(p for p in project.rglob("*") if "__pycache__" not in p.parts)
    assert after == before or environ


def test_another_space_under_the_same_name_is_refused(searched: Path) -> None:
    write(searched, space=content()["space"] | {"method.beta": {"low": 0.1, "high": 0.9}})
    done = command(searched, "orc_repro", "search", FILE, check=False)
    write(searched)
    assert done.returncode == 2 and "has another space than its file" in done.stderr
    assert "raise the file's version" in done.stderr
