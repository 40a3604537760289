"""A search's journal goes on after writes that were cut short, and says what it cannot mend."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.study import Study

from orc_repro.errors import UserError
from orc_repro.search.declaration import Search
from orc_repro.search.journal import BLOCK, Journal, cut_torn_line
from orc_repro.search.storage import folder_of, open_study
from tests.search.files import content


def open_journal(path: Path) -> Study:
    return optuna.create_study(
        study_name="s", storage=JournalStorage(Journal(path)), load_if_exists=True
    )


def complete(study: Study) -> None:
    trial = study.ask()
    trial.suggest_float("x", 0.0, 1.0)
    study.tell(trial, 1.0)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    complete(open_journal(tmp_path / "journal.log"))
    return tmp_path / "journal.log"


@pytest.mark.parametrize("lost", [1, 20, 45])
def test_a_search_goes_on_after_a_torn_last_line(journal: Path, lost: int) -> None:
    os.truncate(journal, journal.stat().st_size - lost)
    study = open_journal(journal)
    complete(study)
    complete(study)
    trials = open_journal(journal).trials
    assert [t.state.name for t in trials] == ["RUNNING", "COMPLETE", "COMPLETE"]


def test_a_worker_that_is_under_way_mends_what_another_has_torn(journal: Path) -> None:
    study = open_journal(journal)
    with journal.open("ab") as file:
        file.write(b'{"op_code":4,"wor')
    complete(study)
    assert [t.state.name for t in open_journal(journal).trials] == ["COMPLETE", "COMPLETE"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b""),
        (b"torn", b""),
        (b"a\nb\n", b"a\nb\n"),
        (b"a\nb\ntorn", b"a\nb\n"),
        (b"a\n" + bytes(3 * BLOCK), b"a\n"),
    ],
)
def test_only_what_stands_behind_the_last_line_break_is_cut(
    tmp_path: Path, before: bytes, after: bytes
) -> None:
    path = tmp_path / "lines"
    path.write_bytes(before)
    cut_torn_line(path)
    assert path.read_bytes() == after


def test_a_full_disk_is_a_sentence_that_names_the_file(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = open_journal(journal)

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", refuse)
        with pytest.raises(UserError, match="No space left on device") as caught:
            study.ask()
    assert str(journal) in str(caught.value)
    complete(study)


def test_a_damaged_line_before_the_last_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORC_SCRATCH", str(tmp_path))
    search = Search.model_validate(content())
    open_study(search, "s", {}, {})
    path = folder_of("s") / "journal.log"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"damaged\n", *lines[1:]]))
    with pytest.raises(UserError, match="line 2 is no record") as caught:
        open_study(search, "s", {}, {})
    assert str(path) in str(caught.value)
