"""The run's own files."""

from __future__ import annotations

import math
import os
import shutil
from contextlib import closing
from io import FileIO
from pathlib import Path

import pytest

from orc_repro.distill.roles import RoleChange
from orc_repro.errors import UserError
from orc_repro.tracking.records import committed, metrics_log, role_table
from orc_repro.tracking.runlog import ROLES, RunLog, commit_all, forget

STUDENTS = ("a", "b")


def change(step: int, left: tuple[str, ...], came: tuple[str, ...], **scores: float) -> RoleChange:
    return RoleChange(step // 10, step, left, came, came, scores)


def test_what_is_recorded_is_read_back_in_order(tmp_path: Path) -> None:
    with closing(RunLog(tmp_path)) as log:
        log.metrics(0, {"val/top1": 12.5})
        log.metrics(1, {"val/top1": math.nan})
        log.flush()
    first, second = metrics_log(tmp_path).all()
    assert (first.epoch, first.values) == (0, {"val/top1": 12.5})
    assert second.epoch == 1 and math.isnan(second.values["val/top1"])


def test_what_the_older_checkpoint_covers_is_committed_and_the_rest_at_the_end(
    tmp_path: Path,
) -> None:
    log = RunLog(tmp_path)
    for epoch in range(3):
        log.metrics(epoch, {"x": 1.0})
        log.checkpointed(log.flush())
        assert [r.epoch for _, r in metrics_log(tmp_path).committed()] == list(range(epoch))
    log.close()
    commit_all(tmp_path)
    found = list(metrics_log(tmp_path).committed())
    assert [r.epoch for _, r in found] == [0, 1, 2]
    assert [r.epoch for _, r in metrics_log(tmp_path).committed(found[0][0])] == [1, 2]
    assert list(metrics_log(tmp_path).committed(found[-1][0])) == []


def test_a_log_shorter_than_what_was_committed_is_one_sentence(tmp_path: Path) -> None:
    with closing(RunLog(tmp_path)) as log:
        log.metrics(0, {"x": 1.0})
        log.metrics(1, {"x": 1.0})
        log.flush()
    commit_all(tmp_path)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(UserError, match=r"is damaged: it ends at byte \d+ of \d+"):
        list(metrics_log(tmp_path).committed())


def test_a_forgotten_log_is_gone(tmp_path: Path) -> None:
    with closing(RunLog(tmp_path)) as log:
        log.metrics(0, {"x": 1.0})
        log.flush()
    commit_all(tmp_path)
    forget(tmp_path)
    assert list(tmp_path.iterdir()) == [] and committed(tmp_path) == {}


def test_resuming_forgets_what_came_after_and_goes_on_there(tmp_path: Path) -> None:
    with closing(RunLog(tmp_path)) as log:
        log.role_change(change(1, (), ("a",), a=0.1, b=0.2))
        marks = log.flush()
        log.role_change(change(2, ("a",), ("b",), a=0.3, b=0.2))
        log.flush()
    with (tmp_path / "roles.jsonl").open("a") as file:  # what a kill within a write leaves
        file.write('{"epoch": 9, "step": 999, "left": [], "came": [], "teach')
    with closing(RunLog(tmp_path)) as log:
        assert log.matches(marks)
        log.resume(marks)
        log.role_change(change(3, ("a",), ("b",), a=0.4, b=0.2))
        after = log.flush()
        assert log.matches(after) and log.matches(marks)
    assert role_table(tmp_path, STUDENTS)["step"].tolist() == [1, 3]
    with closing(RunLog(tmp_path)) as log:  # the hash went on over what was there before
        assert log.matches(after)


def test_resuming_nothing_starts_over(tmp_path: Path) -> None:
    with closing(RunLog(tmp_path)) as log:
        log.metrics(0, {"x": 1.0})
        log.flush()
        log.resume({})
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""


def test_a_mark_of_a_longer_or_another_log_does_not_match(tmp_path: Path) -> None:
    with closing(RunLog(tmp_path / "a")) as log:
        log.metrics(0, {"x": 1.0})
        marks = log.flush()
    with closing(RunLog(tmp_path / "b")) as other:
        assert not other.matches(marks)
        other.metrics(0, {"x": 2.0})
        other.flush()
        assert not other.matches(marks)


def test_a_log_that_was_taken_away_while_it_was_written_is_noticed(tmp_path: Path) -> None:
    with closing(RunLog(tmp_path / "run")) as log:
        (tmp_path / "run").rename(tmp_path / "elsewhere")
        log.metrics(0, {"x": 1.0})
        with pytest.raises(UserError, match=r"the run log in \S+ cannot be written"):
            log.flush()
        RunLog(tmp_path / "run").close()  # another one in its place is not the same
        with pytest.raises(UserError, match="was replaced while it was written"):
            log.flush()


def test_what_a_full_disk_refuses_is_one_sentence_and_closing_is_silent() -> None:
    log = RunLog(Path("/dev/shm") / f"orc-{os.getpid()}")
    try:
        with closing(FileIO("/dev/full", "a")) as full:
            log._files[ROLES].close()
            log._files[ROLES] = full
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(os.path, "samestat", lambda *_: True)
                log.role_change(change(1, (), ("a",), a=0.1))
                with pytest.raises(UserError, match="No space left on device"):
                    log.flush()
            log.close()
    finally:
        shutil.rmtree(log.folder)


def test_the_role_table_has_a_row_for_each_change(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.role_change(change(0, (), ("a",), a=0.1, b=math.nan))
    log.role_change(change(15, ("a",), ("a", "b"), a=0.5, b=0.25))
    log.flush()
    log.close()
    table = role_table(tmp_path, STUDENTS)
    assert list(table.columns) == [
        "epoch", "step", "left", "came", "teachers", "score/a", "score/b",
    ]  # fmt: skip
    assert table["epoch"].tolist() == [0, 1]
    assert table["left"].tolist() == ["", "a"]
    assert table["teachers"].tolist() == ["a", "a+b"]
    assert table["score/a"].tolist() == [0.1, 0.5]
    assert math.isnan(table["score/b"][0])


def test_a_run_without_role_changes_has_an_empty_table(tmp_path: Path) -> None:
    RunLog(tmp_path).close()
    table = role_table(tmp_path, STUDENTS)
    assert len(table) == 0 and "score/b" in table


def test_the_same_changes_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        log = RunLog(tmp_path / name)  # times differ, and are not in the table
        log.role_change(change(3, (), ("b",), a=0.3, b=0.2))
        log.flush()
        log.close()
        role_table(tmp_path / name, STUDENTS).to_parquet(tmp_path / f"{name}.parquet", index=False)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"the run folder .* cannot be written"):
        RunLog(tmp_path / "file" / "run")
