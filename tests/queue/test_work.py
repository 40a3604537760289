"""The queue advances, however often it is cut off: nothing is lost and nothing is done twice."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from filelock import FileLock

from orc_repro.cells import Study
from orc_repro.config import Recipe, load_params
from orc_repro.errors import Interrupted, UserError
from orc_repro.instructions import is_portable
from orc_repro.interruption import Interruption
from orc_repro.progress import Progress
from orc_repro.queue.claims import take
from orc_repro.queue.order import read_entries
from orc_repro.queue.work import Studies, Work
from orc_repro.stages import prepare, pretrain, train
from orc_repro.stages import run as run_module
from orc_repro.stages.jobs import Job, jobs_of_cells
from orc_repro.tracking.outcome import read_outcome
from orc_repro.tracking.records import metrics_log
from orc_repro.yaml_files import read_yaml
from tests.helpers import CountedSet
from tests.project import ROOT
from tests.queue.made import CELLS, EPOCHS, PIVOT, STEPS, inside
from tests.reliability.machine import outputs, run_folder, start, wait_for_progress
from tests.stages.commands import orc_repro


def cut_after(steps: int, patch: pytest.MonkeyPatch) -> None:
    """The clock strikes after so many steps of any training."""

    class Clock(Interruption):
        looks = 0

        @property
        def requested(self) -> signal.Signals | None:
            self.looks += 1
            if self.looks > steps:
                self._signal = signal.SIGALRM
            return self._signal

    patch.setattr(run_module, "Interruption", Clock)


def test_cut_off_again_and_again_it_does_every_step_once(
    project: Path, planned: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    undisturbed = shutil.copytree(planned, tmp_path / "undisturbed")
    with inside(undisturbed):
        code, said = orc_repro(capsys, "queue", "--device", "cpu")
    assert code == 0
    assert "9 stages done, 3 of 3 cells measured; nothing is left to do here" not in said
    assert "8 stages done, 3 of 3 cells measured; nothing is left to do here" in said
    steps, commands = 0, 0

    def count(progress: Progress) -> None:
        nonlocal steps
        steps += 1

    with inside(project), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Progress, "step", count)
        cut_after(50, patch)
        while True:
            code, said = orc_repro(capsys, "queue", "--minutes", "9", "--device", "cpu")
            assert code == 0, said
            commands += 1
            if "nothing is left" in said:
                break
            assert "9 minutes are over; the same command goes on" in said
    assert steps == (len(CELLS) + 1) * EPOCHS * STEPS
    assert commands > 4
    noted = pd.read_csv(project / "reports/runs.csv")["cell"]
    assert sorted(noted) == sorted([PIVOT, *CELLS])  # before any report was made
    assert outputs(project) == outputs(undisturbed)
    for cell in CELLS:
        epochs = [record.epoch for record in metrics_log(run_folder(project, cell)).all()]
        assert epochs == list(range(EPOCHS))
        assert (project / f"results/default/evaluated/{cell}.json").read_bytes() == (
            undisturbed / f"results/default/evaluated/{cell}.json"
        ).read_bytes()

    with inside(project):
        code, said = orc_repro(capsys, "queue")
        assert (code, said) == (
            0,
            "0 stages done, 3 of 3 cells measured; nothing is left to do here\n",
        )
        code, said = orc_repro(capsys, "queue", "--list")
        assert code == 0 and said.count(" measured ") == 3
        # Results that came with git, without what they were made from, are not made again.
        shutil.rmtree("weights")
        shutil.rmtree("data")
        code, said = orc_repro(capsys, "queue")
        assert (code, said) == (
            0,
            "0 stages done, 3 of 3 cells measured; nothing is left to do here\n",
        )
        # Other values are other cells.
        text = Path("params.yaml").read_text()
        Path("params.yaml").write_text(text.replace("batch_size: 32", "batch_size: 64"))
        code, said = orc_repro(capsys, "prepare", "digits")
        code, said = orc_repro(capsys, "queue", "--list")
        assert code == 0 and said.count(" waiting ") == 3


def test_a_run_that_is_stopped_as_it_finishes_is_noted_and_its_width_was_set_before(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    whole = train.train

    def set_width(recipes: list[Recipe]) -> None:
        order.append(f"width for {sum(map(is_portable, recipes))} exact cells")

    def train_and_stop(study: Study, key: str, device: str) -> None:
        order.append(f"training {key}")
        whole(study, key, device)
        raise Interrupted(signal.SIGALRM)

    monkeypatch.setattr("orc_repro.queue.work.use_portable_for", set_width)
    table = project / "reports/runs.csv"
    with inside(project):
        entries = [e for e in read_entries([], load_params()) if e.key == CELLS[0]]
        with monkeypatch.context() as patch, pytest.raises(Interrupted):
            patch.setattr("orc_repro.stages.train.train", train_and_stop)
            Work(entries, "cpu").run()
        assert order == ["width for 1 exact cells", f"training {CELLS[0]}"]
        assert list(pd.read_csv(table)["cell"]) == [CELLS[0]]
        table.unlink()  # as if it had been killed before the run was noted
        Work(entries, "cpu").run()
        assert list(pd.read_csv(table)["cell"]) == [CELLS[0]]


def test_all_that_entries_need_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    entries = read_entries(["default", "table01*"], load_params())
    looked: list[Job] = []
    stage = vars(Job)["stage"].fget

    def counted(job: Job) -> str:
        looked.append(job)
        return str(stage(job))

    monkeypatch.setattr(Job, "stage", property(counted))
    under_way = Work(entries, "cpu")
    monkeypatch.setattr("orc_repro.queue.work.is_measured", lambda *_: False)
    monkeypatch.setattr(Studies, "__getitem__", lambda *_: None)
    jobs = under_way.jobs()
    owners = {entry.owner for entry in entries}
    assert len(looked) <= sum(len(jobs_of_cells(owner)) for owner in owners)
    monkeypatch.undo()
    monkeypatch.chdir(ROOT)
    assert len({job.address for job in jobs}) == len(jobs) > 2 * len(entries)
    known: set[str] = set()
    for job in jobs:
        assert job.after <= known, job.address
        known.add(job.address)
    # In the order of the queue, across studies and pools.
    ends = [job.stage for job in jobs if job.kind == "evaluate"]
    assert ends == [f"evaluate@{entry.key}" for entry in entries]


def test_who_waits_for_others_is_found_in_one_pass() -> None:
    first = Job("p:prepare@a")
    jobs = [first, *(Job(f"p:train@{i}", frozenset({first.address})) for i in range(100))]
    done = CountedSet[str]()
    assert Work([], "cpu", done=done)._others_work(jobs)
    assert done.unions == 1


def test_a_clock_and_a_person_both_stop_it_in_order(project: Path) -> None:
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(
        text.replace("epochs: 3", "epochs: 3000").replace("[1, 2]", "[]")
    )
    process = start(project, "queue", "--minutes", "0.6", "--device", "cpu")
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "0.6 minutes are over; the same command goes on" in said
    (folder,) = (project / ".orc/runs").iterdir()
    ended = read_outcome(folder)
    assert ended is not None and ended.status == "KILLED" and "SIGALRM" in ended.reason
    process = start(project, "queue", "--device", "cpu")
    assert wait_for_progress(process, project, CELLS[0])
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 143 and "stopped by SIGTERM" in said.splitlines()[-1]


def test_what_others_work_on_is_passed_over(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with inside(project):
        assert orc_repro(capsys, "prepare", "digits")[0] == 0
        claim = take("dvc.yaml:train@" + CELLS[0])
        assert claim is not None
        with claim:
            code, said = orc_repro(capsys, "queue", "--list")
            assert f"running                   default                       {CELLS[0]}" in said
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("orc_repro.queue.work.Work._others_work", lambda *_: False)
                code, said = orc_repro(capsys, "queue", "--device", "cpu")
        assert code == 0 and "2 of 3 cells measured" in said
        assert orc_repro(capsys, "train", CELLS[0], "--device", "cpu")[0] == 0
        # A process that is not of the queue has the run's own lock.
        (project / f"weights/cells/{CELLS[0]}/last/resnet8.safetensors").unlink()
        with FileLock(run_folder(project, CELLS[0]) / "run.lock"):
            code, said = orc_repro(capsys, "queue", "--list")
            assert "running" in said
        code, said = orc_repro(capsys, "queue", "--device", "cpu")
        assert code == 0 and "3 of 3 cells measured" in said


def test_it_waits_for_what_others_do_only_if_all_that_is_left_needs_it(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with inside(project):
        claim = take("dvc.yaml:pretrain@" + PIVOT)
        assert claim is not None
        claim.__enter__()
        left: list[int] = []

        def give_back(_: float) -> None:
            left.append(len(list(Path("results/default/evaluated").glob("*"))))
            claim.__exit__(None, None, None)

        clock = SimpleNamespace(sleep=give_back, monotonic=time.monotonic)
        monkeypatch.setattr("orc_repro.queue.work.time", clock)
        code, said = orc_repro(capsys, "queue", "--device", "cpu")
    assert code == 0 and "3 of 3 cells measured" in said
    assert left == [1]  # training alone needs no pivot


def test_a_stage_that_fails_stops_what_needs_it_and_nothing_else(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bool:
        raise UserError("the pivot is ill")

    monkeypatch.setattr(pretrain, "pretrain", fail)
    with inside(project):
        code, said = orc_repro(capsys, "queue", "--device", "cpu")
    assert code == 2
    assert said.splitlines()[-1] == (
        "orc-repro: 3 stages done, 1 of 3 cells measured; nothing is left to do here;"
        " 1 stages failed, first: the pivot is ill"
    )


def test_a_dataset_that_is_not_here_is_passed_over(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise UserError("no images")

    monkeypatch.setattr(prepare, "prepare", fail)
    with inside(project):
        code, said = orc_repro(capsys, "queue", "--device", "cpu")
    assert code == 0
    assert said.count("prepare@digits is passed over: no images") == 1
    assert "0 stages done, 0 of 3 cells measured; nothing is left to do here" in said


def test_what_is_asked_for_wrongly_is_said(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with inside(project):
        for share in ("0/2", "3/2", "1", "a/b"):
            code, said = orc_repro(capsys, "queue", "--share", share, "--list")
            assert code == 2 and "it must be I/N, as 2/3" in said
        for minutes in ("inf", "nan", "1e300", "0"):
            code, said = orc_repro(capsys, "queue", "--minutes", minutes)
            assert code == 2 and said.count("\n") == 1
            assert f"--minutes is {float(minutes)}; it must be 0.01 to 10,000,000" in said
        code, said = orc_repro(capsys, "queue", "--study", "nobody")
        assert code == 2 and "'nobody' is no study (default)" in said


@pytest.mark.parametrize("section", ["groups", "recipes", "methods", "data"])
def test_what_params_have_no_more_is_said(
    section: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = {"groups": "small", "recipes": "digits", "methods": "kd", "data": "digits"}[section]
    params = read_yaml(project / "params.yaml")
    params[section]["renamed"] = params[section].pop(name)
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    with inside(project):
        for command in ("queue", "certify"):
            code, said = orc_repro(capsys, command)
            assert code == 2 and said.count("\n") == 1
            assert f"names '{name}', which params.yaml's {section} does not have" in said
