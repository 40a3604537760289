"""Role changes as tenures, worked out by hand, and as files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from orc_repro.errors import UserError
from orc_repro.stages.roles import (
    Form,
    Tenure,
    as_bytes,
    form_of,
    read_roles,
    summary,
    tenures,
    tidy,
    write,
)

CHANGES = pd.DataFrame(
    {
        "epoch": [0, 0, 1],
        "step": [0, 3, 10],
        "left": ["", "a", "b"],
        "came": ["a", "b", "a+c"],
        "teachers": ["a", "b", "a+c"],
        "score/a": [0.5, 0.9, 0.25],
    }
)


def test_a_tenure_is_from_a_promotion_to_the_demotion_or_the_end() -> None:
    assert tenures(CHANGES, steps=16) == [
        Tenure("a", 0, 3), Tenure("b", 3, 7), Tenure("a", 10, 6), Tenure("c", 10, 6),
    ]  # fmt: skip
    assert tenures(CHANGES.iloc[:0], steps=16) == []


def test_the_summary_has_shares_of_all_iterations() -> None:
    assert summary(CHANGES, steps=16) == [
        "3 role changes in 16 iterations",
        "a: temporary teacher in 56.2% of them, 2 times, half of these for 6 iterations or more",
        "b: temporary teacher in 43.8% of them, 1 times, half of these for 7 iterations or more",
        "c: temporary teacher in 37.5% of them, 1 times, half of these for 6 iterations or more",
    ]


def test_a_tidy_table_has_a_row_for_each_candidate_at_each_change() -> None:
    # Of the candidates, c alone was scored besides a in the end; b never.
    scored = CHANGES.assign(**{"score/c": [0.7, 0.4, float("nan")]})
    table = tidy(scored)
    assert as_bytes(table, Form.CSV).decode().splitlines() == [
        "step,epoch,network,change,teaches,score",
        "0,0,a,promoted,True,0.5",
        "0,0,c,,False,0.7",
        "3,0,a,demoted,False,0.9",
        "3,0,c,,False,0.4",
        "10,1,a,promoted,True,0.25",
        "10,1,c,promoted,True,",
    ]
    assert tidy(scored.iloc[:0]).columns.tolist() == table.columns.tolist()


@pytest.mark.parametrize("name", ["roles.csv", "roles.parquet"])
def test_the_table_is_the_same_in_every_form(name: str, tmp_path: Path) -> None:
    table = tidy(CHANGES)
    path = write(table, tmp_path / name, form_of(tmp_path / name))
    read = pd.read_csv(path, keep_default_na=False) if ".csv" in name else pd.read_parquet(path)
    pd.testing.assert_frame_equal(read.astype({"network": str}), table.astype({"network": str}))


def test_what_cannot_be_read_or_written_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"roles/cell\.parquet does not exist"):
        read_roles("cell")
    Path("roles").mkdir()
    Path("roles/cell.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match="is damaged"):
        read_roles("cell")
    with pytest.raises(UserError, match=r"must end with \.csv or \.parquet, or --format"):
        form_of(tmp_path / "roles.txt")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        write(CHANGES, tmp_path / "folder.csv", Form.CSV)
