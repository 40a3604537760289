"""A DVC that was stopped while it wrote does not stop the next one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orc_repro.errors import UserError
from orc_repro.stages import dvc_locks
from orc_repro.stages.dvc_locks import copy_locks, holders, mend_dvc, mend_rwlock
from orc_repro.yaml_files import read_lock

WHOLE = "schema: '2.0'\nstages:\n  a:\n    cmd: one\n  b:\n    cmd: two\n"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dvc_locks, "UNCHANGED_S", 0.0)


@pytest.mark.parametrize("half", [b"", b'{"write": {"/da', b"\xff\xfe"])
def test_half_a_file_is_removed(tmp_path: Path, half: bytes) -> None:
    path = tmp_path / "rwlock"
    path.write_bytes(half)
    assert mend_rwlock(path)
    assert not path.exists()
    assert not mend_rwlock(path)


def test_a_whole_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "rwlock"
    path.write_text('{"write": {}, "read": {}}')
    assert not mend_rwlock(path)
    assert path.read_text() == '{"write": {}, "read": {}}'


def test_one_that_is_being_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rwlock"
    path.write_bytes(b"")
    written = '{"read": {}}'
    monkeypatch.setattr("orc_repro.stages.dvc_locks.time.sleep", lambda _: path.write_text(written))
    assert not mend_rwlock(path)
    assert path.exists()


def noted(path: Path, *pids: int) -> Path:
    """DVC's list, with one writer and otherwise readers."""
    notes = [{"pid": pid, "cmd": f"dvc repro {pid}"} for pid in pids]
    path.write_text(json.dumps({"write": {"/out": notes[0]}, "read": {"/in": notes[1:]}}))
    return path


def test_holders_are_those_noted_that_are_still_there(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as there:
        gone = subprocess.Popen(["true"])
        gone.wait()
        path = noted(tmp_path / "rwlock", there.pid, gone.pid)
        assert holders(path) == {there.pid: f"dvc repro {there.pid}"}
        assert not mend_rwlock(path) and path.exists()
        # Begun long after it was noted: another process with the same number.
        os.utime(path, (1, 1))
        assert holders(path) == {}
        assert mend_rwlock(path) and not path.exists()
        there.kill()


def test_a_dvc_is_at_work_whatever_the_clock_says(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import time; time.sleep(600)", "dvc"]
    with subprocess.Popen(words) as there:
        path = noted(tmp_path / "rwlock", there.pid)
        os.utime(path, (1, 1))
        assert list(holders(path)) == [there.pid] and not mend_rwlock(path)
        there.kill()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path(".dvc/tmp").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("name", ["dvc.lock", "studies/pools/x/dvc.lock"])
@pytest.mark.parametrize("left", [0, 10, len(WHOLE) - 1])
def test_a_lock_that_was_cut_short_is_its_copy_again(
    checkout: Path, capsys: pytest.CaptureFixture[str], name: str, left: int
) -> None:
    path = checkout / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(WHOLE)
    mend_dvc()
    path.write_text(WHOLE[:left])
    copy_locks(at_rest=True)  # never half of one
    mend_dvc()
    assert path.read_text() == WHOLE and list(read_lock(path)) == ["a", "b"]
    assert f"warning: {name} was cut short" in capsys.readouterr().err
    mend_dvc()
    assert not capsys.readouterr().err


def test_without_a_copy_it_is_as_the_last_commit_has_it(checkout: Path) -> None:
    path = checkout / "dvc.lock"
    path.write_text(WHOLE)
    for words in (["init", "-q"], ["add", "dvc.lock"], ["commit", "-qm", "whole"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True)
    path.write_text("schema")
    mend_dvc()
    assert path.read_text() == WHOLE


def test_a_copy_of_another_branch_is_not_taken_for_it(checkout: Path) -> None:
    path, other = checkout / "dvc.lock", WHOLE.replace("one", "three")
    path.write_text(other)
    mend_dvc()
    path.write_text(WHOLE)
    for words in (["init", "-q"], ["add", "dvc.lock"], ["commit", "-qm", "whole"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True)
    path.write_text(WHOLE[:-3])
    mend_dvc()
    assert path.read_text() == WHOLE


def test_with_neither_it_is_one_sentence(checkout: Path) -> None:
    (checkout / "dvc.lock").write_text("schema: '2")
    with pytest.raises(UserError, match=r"dvc\.lock was cut short"):
        mend_dvc()


def test_two_branches_that_git_could_not_merge_are_left_to_their_user(checkout: Path) -> None:
    path = checkout / "dvc.lock"
    path.write_text(WHOLE)
    mend_dvc()
    conflict = f"<<<<<<< HEAD\n{WHOLE}=======\n{WHOLE}>>>>>>> other\n"
    path.write_text(conflict)
    mend_dvc()
    assert path.read_text() == conflict


def test_what_changed_just_now_is_copied_once_it_rests(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dvc_locks, "UNCHANGED_S", 600.0)
    (checkout / "dvc.lock").write_text(WHOLE)
    copy_locks(at_rest=False)
    assert not list(checkout.glob(".dvc/tmp/*/dvc.lock"))
    copy_locks(at_rest=True)
    assert [path.read_text() for path in checkout.glob(".dvc/tmp/*/dvc.lock")] == [WHOLE]
