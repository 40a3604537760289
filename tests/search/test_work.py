"""A worker's trials that come to no value, without training anything."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from optuna.trial import FrozenTrial, TrialState

from orc_repro.errors import NotWorthwhile, UserError
from orc_repro.fingerprint import digest
from orc_repro.search import answer, work
from orc_repro.search.promotion import promote
from orc_repro.search.space import Unfit, Variant
from orc_repro.search.storage import REASON, RETRY_OF, SLOT, put_back
from orc_repro.search.trial import Judge, JudgedLog
from orc_repro.search.work import Worker
from orc_repro.yaml_files import read_yaml
from tests.project import ROOT
from tests.search.files import content, shrink

SPACE = content()["space"] | {"method.promotion.top_k": {"low": 0, "high": 2}}
NO_PRUNER = {"kind": "none", "startup_trials": 0, "after_epoch": 0}
Train = Callable[[Variant], float]


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Train], Worker]:
    """Starts a worker of one search, whose runs are a function of what they would train."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORC_SCRATCH", str(tmp_path / ".orc"))
    monkeypatch.delenv("ORC_SEARCH_STORAGE", raising=False)
    params = read_yaml(ROOT / "params.yaml")
    shrink(params)
    Path("params.yaml").write_text(yaml.safe_dump(params))
    file = content(space=SPACE, pruner=NO_PRUNER, trials=20)
    Path("small.yaml").write_text(yaml.safe_dump(file, sort_keys=False))

    def identify(_search: Any, _name: str, found: Variant, seed: int, label: str) -> Any:
        parts = {name: part.model_dump(mode="json") for name, part in vars(found).items()}
        return SimpleNamespace(found=found, fingerprint=digest([parts, seed]), label=label), {}

    monkeypatch.setattr(work, "check_inputs", lambda *_: None)
    monkeypatch.setattr(work, "foundation", lambda *_: {})
    monkeypatch.setattr(work, "identify", identify)

    def begun(train: Train) -> Worker:
        def run_seed(identity: Any, *_: object) -> Any:
            last = {"val/top1": train(identity.found)}
            return SimpleNamespace(epochs=[last], elected={}, role_changes=0)

        monkeypatch.setattr(work, "run_seed", run_seed)
        return Worker(Path("small.yaml"))

    return begun


def heat(found: Variant) -> float:
    temperature = getattr(found.method, "temperature")  # noqa: B009
    return float(temperature)


def full_disk(_: Variant) -> float:
    raise UserError("the run log cannot be written")


def trials(worker: Worker) -> list[FrozenTrial]:
    return worker.study.get_trials(deepcopy=False)


def made(worker: Worker) -> list[Any]:
    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    return [(t.user_attrs[SLOT], t.params, t.state) for t in trials(worker) if t.state in ended]


def test_values_that_do_not_fit_each_other_are_left_out_and_the_search_goes_on(
    begin: Callable[[Train], Worker], capfd: pytest.CaptureFixture[str]
) -> None:
    worker = begin(heat)
    worker.run()
    assert worker.finished and len(trials(worker)) == 20
    unfit = [t for t in trials(worker) if t.params["method.promotion.top_k"] == 2
             and t.params["group.students"] == "resnet8"]  # fmt: skip
    assert unfit
    assert [t for t in trials(worker) if t.state == TrialState.PRUNED] == unfit
    sentence = "these values do not fit: method.promotion.top_k is 2; the group has 1 students"
    assert {t.user_attrs[REASON] for t in unfit} == {sentence}
    said = capfd.readouterr()
    assert f"trial {unfit[0].number}: {sentence}; " in said.out and said.err == ""


def test_networks_that_the_method_cannot_have_are_left_out_too(
    begin: Callable[[Train], Worker],
) -> None:
    def train(found: Variant) -> float:
        if found.group.students == ("resnet8",):
            raise Unfit("cannot branch resnet8")
        return heat(found)

    worker = begin(train)
    worker.run()
    states = {t.params["group.students"]: t.state for t in trials(worker)}
    assert states == {"resnet8": TrialState.PRUNED, "resnet8.a, resnet8": TrialState.COMPLETE}


@pytest.mark.parametrize("network", ["train", "val", "resnet14"])
def test_a_run_whose_target_or_pivot_learns_nothing_any_more_is_left_out(
    tmp_path: Path, network: str
) -> None:
    judged: list[int] = []
    log = JudgedLog(tmp_path, lambda epoch, _: judged.append(epoch), "resnet14")
    values = {"val/top1": 10.0, "train/loss": 1.0, "resnet14/loss": 1.0}
    log.metrics(0, values | {"resnet8.a/loss": math.nan})
    with pytest.raises(NotWorthwhile, match="loss is no longer finite, after epoch 2"):
        log.metrics(1, values | {f"{network}/loss": math.nan})
    log.close()
    assert judged == [0]  # the accuracy of a diverged network is no value


def test_a_search_whose_trials_all_diverged_has_no_best_and_promotes_nothing(
    begin: Callable[[Train], Worker],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = begin(heat)

    def diverge(_identity: Any, _teachers: Any, _params: Any, judge: Judge, _device: str) -> None:
        judge(0, 99.0)
        raise NotWorthwhile("the target's loss is no longer finite, after epoch 2")

    monkeypatch.setattr(work, "run_seed", diverge)
    monkeypatch.setattr(answer, "foundation", lambda *_: {})
    worker.run()
    printed = capfd.readouterr().out
    assert "trial 0: the target's loss is no longer finite, after epoch 2;" in printed
    assert "99.00" not in printed and "best" not in printed
    folder = Path("reports/studies/small-v1")
    folder.mkdir(parents=True)
    (folder / "best.yaml").write_text("{}\n")  # of the same search, begun before
    with pytest.raises(UserError, match="no trial of the search small-v1 finished with a finite"):
        answer.answer(Path("small.yaml"))
    assert [path.name for path in folder.iterdir()] == ["trials.csv"]
    with pytest.raises(UserError, match=r"best\.yaml does not exist"):
        promote(Path("small.yaml"))


def test_what_params_yaml_has_must_fit(begin: Callable[[Train], Worker]) -> None:
    def train(_: Variant) -> float:
        raise Unfit("cannot branch resnet8")

    with pytest.raises(UserError, match="cannot branch resnet8"):
        begin(train).run()


@pytest.mark.parametrize("after", [0, 3])
def test_a_trial_that_no_value_is_to_blame_for_is_made_again(
    begin: Callable[[Train], Worker], capfd: pytest.CaptureFixture[str], after: int
) -> None:
    worker = begin(heat)
    worker.run()
    undisturbed = made(worker)
    Path(".orc").rename("undisturbed")
    left = after

    def train(found: Variant) -> float:
        nonlocal left
        left -= 1
        return full_disk(found) if left < 0 else heat(found)

    for _ in range(2):
        worker = begin(train)
        capfd.readouterr()
        with pytest.raises(UserError, match=re.escape("the run log cannot be written")):
            worker.run()
        assert "Traceback" not in capfd.readouterr().err
        assert [t.state for t in trials(worker)][-1] == TrialState.WAITING
    worker = begin(heat)
    worker.run()
    assert made(worker) == undisturbed
    failed = [t.number for t in trials(worker) if t.state == TrialState.FAIL]
    assert [t.user_attrs[RETRY_OF] for t in trials(worker) if RETRY_OF in t.user_attrs] == failed
    assert len(failed) == 2


@pytest.mark.parametrize("fails", [False, True])
def test_a_trial_that_another_worker_has_by_now_is_left_to_it(
    begin: Callable[[Train], Worker], capfd: pytest.CaptureFixture[str], fails: bool
) -> None:
    left = 3

    def train(found: Variant) -> float:
        nonlocal left
        left -= 1
        if left == 0:
            study = worker.study
            study.tell(len(study.trials) - 1, state=TrialState.FAIL)
            put_back(study)
            if fails:
                raise RuntimeError("it may be told nothing more")
        return heat(found)

    worker = begin(train)
    worker.run()
    assert worker.finished and len(trials(worker)) == 21
    assert (trials(worker)[2].state, trials(worker)[3].user_attrs[RETRY_OF]) == (TrialState.FAIL, 2)
    assert trials(worker)[3].params == trials(worker)[2].params
    said = capfd.readouterr()
    assert "trial 2 was given to another worker" in said.out and said.err == ""


def test_a_trial_that_could_not_be_put_back_is_put_back_by_the_next_worker(
    begin: Callable[[Train], Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as full:
        full.setattr(work, "put_back", refuse)
        with pytest.raises(UserError, match="the run log cannot be written"):
            begin(full_disk).run()
    worker = begin(heat)
    worker.run()
    assert trials(worker)[1].user_attrs[RETRY_OF] == 0
    assert trials(worker)[1].params == trials(worker)[0].params
