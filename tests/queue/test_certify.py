"""What ``certify`` takes for known to DVC, and what it tells it; DVC itself is not asked here."""

from __future__ import annotations

from pathlib import Path

import pytest

from orc_repro import yaml_files
from orc_repro.cells import Study, load_study
from orc_repro.config import load_params
from orc_repro.errors import UserError
from orc_repro.files import read_file
from orc_repro.instructions import is_portable
from orc_repro.project import run_folder
from orc_repro.queue.certify import certify
from orc_repro.queue.order import read_entries
from orc_repro.stages.prepare import prepare
from orc_repro.stages.pretrain import identify_pivot
from tests.queue.made import CELLS, PIVOT, inside


def _missing(*_: object) -> None:
    raise UserError("the images are not here")


def said() -> list[str]:
    return certify(read_entries([], load_params()))


def test_a_lock_is_read_once_however_many_stages_are_looked_for(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    read: list[str] = []

    def counted(path: Path) -> bytes:
        read.append(path.name)
        return read_file(path)

    monkeypatch.setattr(yaml_files, "read_file", counted)
    with inside(project):
        assert said() == ["0 stages are DVC's now; 8 are not run, or not to their end"]
    assert read.count("dvc.lock") == 1


def test_a_run_whose_end_is_damaged_answers_for_nothing_and_stops_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orc_repro.queue.certify._dvc", lambda *_: None)
    with inside(project):
        prepare(load_params(), "digits")
        folder = run_folder(identify_pivot(load_study(), PIVOT).fingerprint)
        folder.mkdir(parents=True)
        (folder / "outcome.json").write_text("{")
        assert said() == ["1 stages are DVC's now; 7 are not run, or not to their end"]


def test_data_is_made_again_in_its_place_and_stays_where_it_cannot_be(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, ...]] = []
    monkeypatch.setattr("orc_repro.queue.certify._dvc", lambda *words: told.append(words))
    with inside(project):
        prepare(load_params(), "digits")
        whole = {path: path.read_bytes() for path in Path("data/prepared/digits").iterdir()}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("orc_repro.stages.prepare._read", _missing)
            assert said() == [
                "prepare@digits is not made again, and DVC not told: the images are not here",
                "0 stages are DVC's now; 8 are not run, or not to their end",
            ]
        assert told == []
        assert {p: p.read_bytes() for p in Path("data/prepared/digits").iterdir()} == whole
        assert said() == ["1 stages are DVC's now; 7 are not run, or not to their end"]
        assert told == [("commit", "--force", "dvc.yaml:prepare@digits")]


def test_the_width_is_set_for_all_that_is_evaluated_before_anything_is(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    monkeypatch.setattr(
        "orc_repro.queue.certify.use_portable_for",
        lambda recipes: order.append(f"width for {sum(map(is_portable, recipes))} exact cells"),
    )

    def look(_study: Study, kind: str, _key: str) -> tuple[bool, list[str]]:
        order.append(kind)
        return True, []

    monkeypatch.setattr("orc_repro.queue.certify._look_at", look)
    monkeypatch.setattr("orc_repro.queue.certify._dvc", lambda *_: None)
    with inside(project):
        said()
    assert order[0] == f"width for {len(CELLS)} exact cells"
    assert order.count("evaluate") == len(CELLS)
