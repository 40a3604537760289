"""What ``orc-repro tables`` prints."""

from __future__ import annotations

import re
import sys

import pytest

from orc_repro.cli import main
from orc_repro.published.show import figure, panels
from orc_repro.published.tables import find_table, load_tables


def run(*words: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["orc-repro", "tables", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0)


def test_the_list_has_a_line_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(load_tables())
    assert re.match(
        r"table03 +imagenet +8  ORC against .* \[orc_readme, orc_tables_note\]$", lines[2]
    )


@pytest.mark.parametrize("table", [table.id for table in load_tables()])
def test_no_number_is_cut(
    table: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    assert run(table) == 0
    out = capsys.readouterr().out
    found = find_table(load_tables(), table)
    for cell in found.cells:
        assert figure(cell) in out
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= 70


def test_a_mark_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("table03") == 0
    out = capsys.readouterr().out
    assert "28.00 st" in out and "72.00 in" in out
    assert "st = stated" in out and "in = inferred" in out and "quoted" not in out


def test_a_wide_table_is_cut_between_columns() -> None:
    table = find_table(load_tables(), "peers_crd_same_style")
    assert len(panels(table, 200)) == 1
    cut = panels(table, 80)
    assert len(cut) > 1
    assert sum(len(panel.columns) - 1 for panel in cut) == len(table.columns)


def test_a_table_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("table11") == 2
    assert "there is no table 'table11'" in capsys.readouterr().err
