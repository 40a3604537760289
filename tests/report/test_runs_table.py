"""Which runs made what a report shows: one folder that is damaged stops no report."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orc_repro.project import run_folder
from orc_repro.stages.report import RUN_COLUMNS, _write_runs


def test_a_damaged_run_folder_leaves_what_was_known_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ORC_SCRATCH", str(tmp_path / ".orc"))
    for fingerprint in ("a" * 32, "b" * 32):
        run_folder(fingerprint).mkdir(parents=True)
        (run_folder(fingerprint) / "outcome.json").write_text('{"status": ')
    header, row = ",".join(RUN_COLUMNS), f"known,{'a' * 32},1,2026,3.0,cpu,2,c,false"
    (tmp_path / "runs.csv").write_text(f"{header}\n{row}\n")
    made: list[Any] = [
        SimpleNamespace(cell="known", fingerprint="a" * 32),
        SimpleNamespace(cell="new", fingerprint="b" * 32),
    ]
    _write_runs(made, tmp_path / "runs.csv")
    assert (tmp_path / "runs.csv").read_text() == f"{header}\n{row}\n"
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "warning: the run of new is left out: " in said[1]
