"""Role changes as tenures, worked out by hand, and as files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from orc_repro.errors import UserError
from orc_repro.report.roles import Tenure, read_roles, summary, tenures, written

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


@pytest.mark.parametrize("name", ["roles.csv", "roles.parquet"])
def test_the_table_is_written_as_it_is(name: str, tmp_path: Path) -> None:
    path = written(CHANGES, tmp_path / name)
    read = pd.read_csv(path, keep_default_na=False) if ".csv" in name else pd.read_parquet(path)
    pd.testing.assert_frame_equal(read, CHANGES, check_dtype=False)


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
    with pytest.raises(UserError, match=r"must end with \.csv or \.parquet"):
        written(CHANGES, tmp_path / "roles.txt")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        written(CHANGES, tmp_path / "folder.csv")
