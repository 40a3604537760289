"""CSV files in which a spreadsheet finds values and no formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_text(table: pd.DataFrame) -> str:
    """Return a table as CSV; text that a spreadsheet would evaluate begins with an apostrophe.

    That is text, in cells and headings, which begins with one of ``= + - @``, a tab or a carriage
    return and is no number. A carriage return becomes a space. Everything else is written as it is.
    """
    plain = table.rename(columns=_plain)
    for position, dtype in enumerate(plain.dtypes):
        if getattr(dtype, "kind", "O") in "OTU":  # objects and strings
            plain.isetitem(position, plain.iloc[:, position].map(_plain).to_numpy())
    return plain.to_csv(index=False, lineterminator="\n")


def _plain(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = value.replace("\r", " ")  # pandas does not quote it, and a reader would begin a row
    return f"'{text}" if value.startswith(_FORMULA) and not _is_number(value) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
