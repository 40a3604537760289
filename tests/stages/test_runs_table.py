"""Which runs made what a report shows: one folder that is damaged stops no report."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from orc_repro.errors import UserError
from orc_repro.files import write_json
from orc_repro.project import run_folder
from orc_repro.report.results import History
from orc_repro.report.runs import RUN_COLUMNS
from orc_repro.stages.runs_table import note_run, write_runs
from orc_repro.validation import read_json
from tests.project import ROOT


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
    write_runs(made, tmp_path / "runs.csv")
    assert (tmp_path / "runs.csv").read_text() == f"{header}\n{row}\n"
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "warning: the run of new is left out: " in said[1]


def summary(folder: Path, fingerprint: str = "a" * 32) -> Path:
    """What a training leaves in git, as far as the table reads it."""
    made = History(
        cell="mine",
        row="r",
        fingerprint=fingerprint,
        training_images=1,
        epochs=({"val/top1": 50.0},),
        best={},
        elected={},
        role_changes=0,
        not_finite=(),
    )
    path = folder / f"{fingerprint}.json"
    write_json(path, made.model_dump(mode="json"))
    return path


def finished(fingerprint: str, commit: str) -> None:
    """A run of this machine that came to its end, as far as the table reads it."""
    folder = run_folder(fingerprint)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(
        folder / "outcome.json",
        {
            "status": "FINISHED",
            "reason": "",
            "ended_ms": 1_000,
            "figures": {"cost/seconds": 2.5},
            "weights_digest": "",
        },
    )
    tags = {"device": "cpu", "version.torch": "2", "git.commit": commit, "git.dirty": "false"}
    named = dict.fromkeys(["study", "experiment", "cell", "row", "row_name", "run_name"], "some")
    about = named | {
        "fingerprint": fingerprint,
        "attempt": "1" * 32,
        "epochs": 1,
        "students": ["resnet8"],
        "params": {},
        "tags": tags,
    }
    write_json(folder / "run.json", about)


def test_a_run_is_noted_beside_the_others_and_again_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORC_SCRATCH", str(tmp_path / ".orc"))
    path, made = tmp_path / "reports/runs.csv", summary(tmp_path)
    note_run(made, path)
    assert not path.exists()  # nothing finished here, nothing to tell
    header, other = ",".join(RUN_COLUMNS), f"other,{'b' * 32},1,2026,3.0,cpu,2,c,false"
    path.parent.mkdir()
    path.write_text(f"{header}\n{other}\n")
    for commit in ("c" * 12, "d" * 12):
        finished("a" * 32, commit)
        note_run(made, path)
        mine = f"mine,{'a' * 32},{'1' * 32},1970-01-01T00:00:01+00:00,2.5,cpu,2,{commit},false"
        assert path.read_text() == f"{header}\n{other}\n{mine}\n"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "cell,run_id\nx,1\n",
        "a\n<<<<<<< ours\n1,2,3\n",
        b"\xff\xfe,fingerprint\n\xff",
        f"{','.join(RUN_COLUMNS)}\nknown,a,1,2026,long,cpu,2,c,false\n",
    ],
)
def test_a_damaged_table_stops_a_report_in_a_sentence_and_no_queue(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: str | bytes,
) -> None:
    monkeypatch.setenv("ORC_SCRATCH", str(tmp_path / ".orc"))
    path = tmp_path / "runs.csv"
    before = content.encode() if isinstance(content, str) else content
    path.write_bytes(before)
    finished("a" * 32, "c" * 12)
    note_run(summary(tmp_path), path)
    assert f"warning: {path} does not have this run: {path} is damaged: " in capsys.readouterr().err
    assert path.read_bytes() == before
    with pytest.raises(UserError, match=r"runs\.csv is damaged: "):
        write_runs([], path)


def test_what_a_run_says_of_itself_is_no_formula(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORC_SCRATCH", str(tmp_path / ".orc"))
    finished("a" * 32, "=1+1")
    for _ in range(2):  # written, and read and written again
        note_run(summary(tmp_path), tmp_path / "runs.csv")
        assert (tmp_path / "runs.csv").read_text().splitlines()[1].split(",")[-2] == "'=1+1"


def test_runs_that_end_together_are_all_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORC_SCRATCH", str(tmp_path / ".orc"))
    path, ends = tmp_path / "runs.csv", [digit * 32 for digit in "0123456789abcdef"]
    made = [summary(tmp_path, end) for end in ends]
    for end in ends:
        finished(end, "c" * 12)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: note_run(one, path), made))
    assert sorted(pd.read_csv(path, dtype=str)["fingerprint"]) == ends


def test_every_result_in_this_repository_has_the_run_that_made_it() -> None:
    known = set(pd.read_csv(ROOT / "reports/runs.csv", dtype=str)["fingerprint"])
    results = [*(ROOT / "results").glob("*/trained/*.json")]
    assert len(results) > 100
    without = [path.name for path in results if read_json(History, path).fingerprint not in known]
    assert not without, "orc-repro report adds them, on the machine that ran them"
