"""CSV files hold values, whatever the text that was read from elsewhere."""

from __future__ import annotations

from io import StringIO

import pandas as pd
import pytest

from orc_repro.csv_files import csv_text


@pytest.mark.parametrize("text", ["=1+1", "+x", "-x", "@x", "\tx", "\rx", '=HYPERLINK("http://x")'])
def test_text_that_a_spreadsheet_would_evaluate_is_plain(text: str) -> None:
    shown = "'" + text.replace("\r", " ")
    for dtype in (object, "string", "category"):
        table = pd.DataFrame({text: pd.Series([text, "a"], dtype=dtype), "n": [1, 2]})
        read = pd.read_csv(StringIO(csv_text(table), newline=""), dtype=str)
        assert read.columns[0] == shown
        assert read.iloc[:, 0].tolist() == [shown, "a"]
    again = csv_text(pd.DataFrame({"a": [shown]}))
    assert csv_text(pd.read_csv(StringIO(again, newline=""), dtype=str)) == again


def test_text_behind_a_carriage_return_does_not_begin_a_cell() -> None:
    assert csv_text(pd.DataFrame({"a": ["x\r=1+1"]})) == "a\nx =1+1\n"


def test_numbers_and_all_other_text_are_as_they_are() -> None:
    table = pd.DataFrame(
        {
            "n": [-1, 2],
            "f": pd.array([-0.1, None], dtype="float32"),
            "text": ["-1.5", "+2e3"],
            "other": ["a-b", None],
            "mixed": [-1.5, "x"],
            "flag": [True, False],
        }
    )
    assert csv_text(table) == table.to_csv(index=False, lineterminator="\n")


def test_a_table_without_rows_or_columns() -> None:
    assert csv_text(pd.DataFrame()) == pd.DataFrame().to_csv(index=False, lineterminator="\n")
    assert csv_text(pd.DataFrame(columns=["a", "b"])) == "a,b\n"
