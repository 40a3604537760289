"""Read the file of a run's role changes, which may be damaged, or made by someone else.

A Parquet file of a megabyte may stand for gigabytes: what it holds is compared with what a run can
have written before memory is taken, and its rows with each other before they are used.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orc_repro.errors import UserError, one_line
from orc_repro.files import open_file
from orc_repro.ranges import MOST_EPOCHS

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyarrow.parquet import FileMetaData, ParquetFile

SCORE = "score/"
NUMBERS, NAMES = ("epoch", "step"), ("left", "came", "teachers")
MOST_ROWS = 4_000_000
MOST_COLUMNS = 200
BYTES_PER_VALUE = 64
"""On average, uncompressed; more than the names of three networks take."""
LEAST_BYTES = 2**20
CODECS = {"SNAPPY", "UNCOMPRESSED"}
"""Those that a table is written with: neither makes a page much larger than what is stored."""


@dataclass(frozen=True)
class Extent:
    """What the changes of a run cannot exceed."""

    students: tuple[str, ...]
    epochs: int
    iterations: int


def as_table(
    epochs: Sequence[int],
    steps: Sequence[int],
    names: Mapping[str, Iterable[str]],
    scores: Mapping[str, Sequence[float]],
) -> pd.DataFrame:
    """Build a table of role changes.

    Args:
        epochs: of each change.
        steps: of each change, the iteration over the run.
        names: ``left``, ``came`` and ``teachers``, the networks of each change joined by ``+``.
        scores: of each change, by network.

    Returns:
        the columns in this order, each network's as ``score/<network>``.
    """
    import pandas as pd  # here: three quarters of a second that only this needs

    columns = {
        "epoch": pd.array(epochs, dtype="int32"),
        "step": pd.array(steps, dtype="int64"),
        **{name: pd.array(list(names[name]), dtype="string") for name in NAMES},
        **{f"{SCORE}{name}": pd.array(scores[name], dtype="float64") for name in scores},
    }
    return pd.DataFrame(columns)


def read_role_file(path: Path, extent: Extent | None = None) -> pd.DataFrame:
    """Read a table of role changes; see :func:`as_table`.

    Args:
        path: of the file.
        extent: of the run, where it is known; else any run's.

    Raises:
        UserError: the file cannot be read, is damaged, or holds what no such run can have written.
    """
    from pyarrow.parquet import ParquetFile

    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            parquet = ParquetFile(
                file,
                read_dictionary=list(NAMES),
                thrift_string_size_limit=LEAST_BYTES,
                thrift_container_size_limit=LEAST_BYTES,
            )
            _refuse_too_much(parquet.metadata, size, extent)
            table = _to_pandas(parquet)
        _refuse_disorder(table, extent)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except Exception as error:  # pyarrow meets a malformed file with many an exception
        raise UserError(f"{path} is damaged: {one_line(str(error), 200)}") from None
    return table


def _refuse_too_much(about: FileMetaData, size: int, extent: Extent | None) -> None:
    """Refuse by what the file tells of itself.

    Raises:
        ValueError: says what is too much.
    """
    most = MOST_ROWS if extent is None else min(MOST_ROWS, extent.iterations)
    rows, columns = about.num_rows, about.num_columns
    if rows > most:
        raise ValueError(f"it has {rows} role changes; the run can have {most} at most")
    if columns > MOST_COLUMNS:
        raise ValueError(f"it has {columns} columns, more than {MOST_COLUMNS}")
    bytes_most = LEAST_BYTES + BYTES_PER_VALUE * rows * columns
    chunks = [
        about.row_group(group).column(column)
        for group in range(about.num_row_groups)
        for column in range(columns)
    ]
    bytes_all = max(size, sum(chunk.total_uncompressed_size for chunk in chunks))
    if bytes_all > bytes_most:
        raise ValueError(f"it has {bytes_all} bytes, more than {rows} role changes take")
    if strange := {chunk.compression for chunk in chunks} - CODECS:
        raise ValueError(f"it is compressed by {min(strange)}, which no run does")


def _to_pandas(parquet: ParquetFile) -> pd.DataFrame:
    names = parquet.schema_arrow.names
    scored = [name.removeprefix(SCORE) for name in names if name.startswith(SCORE)]
    expected = [*NUMBERS, *NAMES, *(f"{SCORE}{name}" for name in scored)]
    if sorted(names) != sorted(expected) or len(set(names)) < len(names):
        raise ValueError("its columns are not those of role changes")
    table = parquet.read(use_threads=False, use_pandas_metadata=False)
    return as_table(
        _whole(table, "epoch"),
        _whole(table, "step"),
        {name: _joined(table[name], table.num_rows) for name in NAMES},
        {name: table[f"{SCORE}{name}"].to_numpy().astype("float64") for name in scored},
    )


def _whole(table: pa.Table, name: str) -> Any:
    import pyarrow as pa

    column = table[name]
    if column.null_count or not pa.types.is_integer(column.type):
        raise ValueError(f"the column {name} is not of whole numbers")
    return column.to_numpy()


def _joined(column: pa.ChunkedArray, rows: int) -> list[str]:
    """The names of each row; the file may hold one endless name once and refer to it often."""
    import pyarrow as pa
    from pyarrow import compute

    if column.null_count or not pa.types.is_dictionary(column.type):
        raise ValueError("a column of names is of something else")
    lengths = compute.sum(
        compute.cast(
            pa.chunked_array(
                [
                    compute.take(compute.binary_length(chunk.dictionary), chunk.indices)
                    for chunk in column.chunks
                ],
                type=pa.int32(),
            ),
            pa.int64(),
        )
    ).as_py()
    if (lengths or 0) > LEAST_BYTES + BYTES_PER_VALUE * rows:
        raise ValueError(f"its names take {lengths} bytes")
    joined: list[str] = []
    for chunk in column.chunks:
        words = chunk.dictionary.to_pylist()
        joined += [words[i] for i in chunk.indices.to_pylist()]
    return joined


def _refuse_disorder(table: pd.DataFrame, extent: Extent | None) -> None:
    """Refuse changes that cannot follow one another.

    Raises:
        ValueError: says which.
    """
    epochs, steps = table["epoch"].to_numpy(), table["step"].to_numpy()
    most = (MOST_EPOCHS, 2**62) if extent is None else (extent.epochs - 1, extent.iterations - 1)
    if len(table) and not (
        0 <= epochs.min() <= epochs.max() <= most[0]
        and 0 <= steps.min() <= steps.max() <= most[1]
        and (epochs[1:] >= epochs[:-1]).all()
        and (steps[1:] > steps[:-1]).all()
    ):
        raise ValueError("its epochs and steps do not ascend within the run's")
    now: set[str] = set()
    for row, (left, came, teachers) in enumerate(
        table[list(NAMES)].itertuples(index=False, name=None)
    ):
        gone, come = _split(left), _split(came)
        if not gone <= now or come & now or (now := now - gone | come) != _split(teachers):
            raise ValueError(f"its role change {row + 1} does not follow from those before")
        if extent is not None and not now <= set(extent.students):
            raise ValueError(f"its role change {row + 1} names a network that the run has not")
    scored = {name.removeprefix(SCORE) for name in table.columns if name.startswith(SCORE)}
    if extent is not None and scored != set(extent.students):
        raise ValueError("its scores are not of the run's students")


def _split(joined: str) -> set[str]:
    return set(filter(None, joined.split("+")))
