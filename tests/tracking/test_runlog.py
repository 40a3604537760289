"""The run's own files."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from orc_repro.distill.roles import RoleChange
from orc_repro.errors import UserError
from orc_repro.tracking.runlog import RunLog, committed, forget, read_lines, role_table

STUDENTS = ("a", "b")


def change(step: int, left: tuple[str, ...], came: tuple[str, ...], **scores: float) -> RoleChange:
    return RoleChange(step // 10, step, left, came, came, scores)


def test_what_is_recorded_is_read_back_in_order(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.metrics(0, {"val/top1": 12.5})
    log.metrics(1, {"val/top1": 25.0})
    log.commit(log.flush())
    log.close()
    records = [record for _, record in read_lines(tmp_path / "metrics.jsonl")]
    assert [(r["epoch"], r["values"]) for r in records] == [
        (0, {"val/top1": 12.5}),
        (1, {"val/top1": 25.0}),
    ]


def test_reading_goes_on_from_an_offset_and_ends_at_what_is_committed(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.metrics(0, {"x": 1.0})
    first = log.flush()["metrics.jsonl"]
    log.metrics(1, {"x": 2.0})
    log.commit(log.flush())
    log.metrics(2, {"x": 3.0})
    log.close()
    assert [r["epoch"] for _, r in read_lines(tmp_path / "metrics.jsonl", first)] == [1]
    end = committed(tmp_path)["metrics.jsonl"]
    assert list(read_lines(tmp_path / "metrics.jsonl", end)) == []


def test_a_forgotten_log_is_gone(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.metrics(0, {"x": 1.0})
    log.commit(log.flush())
    log.close()
    forget(tmp_path)
    assert list(tmp_path.iterdir()) == [] and committed(tmp_path) == {}


def test_truncating_forgets_what_came_after_and_goes_on_there(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.role_change(change(1, (), ("a",), a=0.1, b=0.2))
    positions = log.flush()
    log.role_change(change(2, ("a",), ("b",), a=0.3, b=0.2))
    log.flush()
    log.truncate(positions)
    log.role_change(change(3, ("a",), ("b",), a=0.4, b=0.2))
    log.commit(log.flush())
    log.close()
    assert role_table(tmp_path, STUDENTS)["step"].tolist() == [1, 3]


def test_truncating_to_nothing_starts_over(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.metrics(0, {"x": 1.0})
    log.truncate({})
    log.close()
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""


def test_the_role_table_has_a_row_for_each_change(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.role_change(change(0, (), ("a",), a=0.1, b=math.nan))
    log.role_change(change(15, ("a",), ("a", "b"), a=0.5, b=0.25))
    log.commit(log.flush())
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
        log.commit(log.flush())
        log.close()
        role_table(tmp_path / name, STUDENTS).to_parquet(tmp_path / f"{name}.parquet", index=False)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"the run folder .* cannot be written"):
        RunLog(tmp_path / "file" / "run")
