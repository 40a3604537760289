"""A DVC that was stopped while it wrote does not stop the next one."""

from __future__ import annotations

from pathlib import Path

import pytest

from orc_repro.stages import dvc_locks
from orc_repro.stages.dvc_locks import mend_rwlock


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
