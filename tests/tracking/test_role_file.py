"""The file of a run's role changes: what is read of it, and what takes too much."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orc_repro.errors import UserError
from orc_repro.tracking.role_file import Extent, as_table, read_role_file

EXTENT = Extent(("a", "b"), epochs=2, iterations=20)
TABLE = as_table(
    [0, 0, 1],
    [0, 3, 10],
    {"left": ["", "a", ""], "came": ["a", "b", "a"], "teachers": ["a", "b", "a+b"]},
    {"a": [0.5, 0.9, float("nan")], "b": [0.6, 0.1, 0.2]},
)


def write(table: pd.DataFrame, path: Path, **options: Any) -> Path:
    table.to_parquet(path, index=False, **options)
    return path


@pytest.mark.parametrize("extent", [None, EXTENT])
def test_a_table_is_read_as_it_was_written(tmp_path: Path, extent: Extent | None) -> None:
    read = read_role_file(write(TABLE, tmp_path / "a.parquet"), extent)
    pd.testing.assert_frame_equal(read, TABLE)
    empty = read_role_file(write(TABLE.iloc[:0], tmp_path / "b.parquet"), extent)
    assert len(empty) == 0 and list(empty.columns) == list(TABLE.columns)


def refused(path: Path, extent: Extent | None = None) -> str:
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    with pytest.raises(UserError) as caught:
        read_role_file(path, extent)
    assert tracemalloc.get_traced_memory()[1] < 50 * 10**6
    assert pa.total_allocated_bytes() - before < 10**7
    tracemalloc.stop()
    assert str(caught.value).startswith(f"{path} is damaged: ")
    return str(caught.value)


def bomb(path: Path, rows: int, word: str = "", **options: Any) -> Path:
    """Equal rows, which take next to no place; their one name is stored once."""
    names = pa.DictionaryArray.from_arrays(pa.array([0] * rows, "int32"), [word])
    one = pa.table(
        {name: pa.array([0] * rows, kind) for name, kind in (("epoch", "int32"), ("step", "int64"))}
        | dict.fromkeys(("left", "came", "teachers"), names)
        | {f"score/{name}": pa.array([0.0] * rows) for name in "ab"}
    )
    pq.write_table(one, path, **options)
    return path


def test_rows_beyond_those_of_a_run_are_not_read(tmp_path: Path) -> None:
    path = bomb(tmp_path / "a.parquet", 100_000)
    assert path.stat().st_size < 100_000
    assert "100000 role changes; the run can have 20 at most" in refused(path, EXTENT)
    assert "has 5000000 role changes" in refused(bomb(tmp_path / "b.parquet", 5_000_000))


def test_one_endless_name_for_all_rows_is_refused(tmp_path: Path) -> None:
    path = bomb(tmp_path / "a.parquet", 50_000, word=500_000 * "a")
    assert path.stat().st_size < 10**6
    assert "its names take 25000000000 bytes" in refused(path)


def test_another_compression_than_a_run_uses_is_refused(tmp_path: Path) -> None:
    assert "compressed by ZSTD" in refused(write(TABLE, tmp_path / "a", compression="zstd"))


@pytest.mark.parametrize(
    "change",
    [
        {"teachers": ["a", "b", "b"]},
        {"left": ["", "c", ""]},
        {"came": ["a", "b", "b"]},
        {"step": [0, 3, 3]},
        {"step": [0, 3, 20]},
        {"epoch": [0, 1, 0]},
        {"epoch": [0, 0, 2]},
        {"epoch": [-1, 0, 0]},
        {"epoch": [0.0, 0.5, 1.0]},
        {"left": [1, 2, 3]},
        {"left": [None, "a", ""]},
        {"score/a": ["x", "y", "z"]},
        {"score/c": [0.0, 0.0, 0.0]},
        {"more": [1, 2, 3]},
    ],
)
def test_changes_that_no_run_has_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    refused(write(TABLE.assign(**change), tmp_path / "a.parquet"), EXTENT)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    for content in (b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1"):
        path.write_bytes(content)
        refused(path)
    path.unlink()
    os.mkfifo(path)
    refused(path)
