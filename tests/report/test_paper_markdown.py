"""How published and measured numbers are shown."""

from __future__ import annotations

import math
from io import StringIO

import pandas as pd
import pytest

from orc_repro.report.paper_markdown import COLUMNS, paper_rows, paper_table
from tests.report.made_paper import (
    ACC1,
    ERR1,
    PAIR,
    columns_of,
    comparison,
    paper,
    published,
    result,
    row,
    runs_of,
)

SEEDS = (70.0, 71.0, 75.0)  # mean 72, sd sqrt(7), half 4.303 * sqrt(7 / 3) = 6.57
RUNS = {"print-kd-0": "0123456789abcdef", "print-kd-2": "fedcba9876543210"}


def test_a_line_by_the_published_protocol() -> None:
    text = paper_table(columns_of(comparison(runs_of("kd", *SEEDS)), runs=RUNS))
    assert f"### {PAIR}, top-1 accuracy in percent\n" in text
    assert (
        "| kd | KD 70.66 ± 0.2 qu, peers (book) | 72.00 ± 2.65 | 65.43 to 78.57 | 3"
        " | +1.34 (-5.23 to +7.91) | as published | 01234567 - fedcba98 |\n" in text
    )
    assert "| CRD (published only) | 71.16 qu, peers (book) |  |  |  |  |  |  |\n" in text
    assert "- qu = quoted: " in text and "by number" not in text


def test_errors_are_shown_as_errors() -> None:
    peers = published("peers", {"row": "KD", "values": {"e": 29.34}})
    of = paper(tables=["peers"], names={"kd": ["KD"]})
    text = paper_table(columns_of(comparison(runs_of("kd", *SEEDS)), tables=(peers,), of=of))
    assert "top-1 error in percent\n" in text and "accuracy in percent" not in text
    assert "| 28.00 ± 2.65 | 21.43 to 34.57 | 3 | -1.34 (-7.91 to +5.23) | as published |" in text


def test_what_differs_is_listed_once_and_never_passes_for_a_reproduction() -> None:
    rows = (runs_of("ce", *SEEDS, epochs=15), runs_of("kd", *SEEDS[:2], epochs=15))
    text = paper_table(columns_of(comparison(*rows)))
    assert "| not as published: 1 | - - - |" in text
    assert "| 2 of 3 | -0.16 (-6.51 to +6.19) | not as published: 1, 2 | - - |" in text
    assert "as published |" not in text.replace("not as published", "")
    assert text.count("epochs 15, not 240") == 1
    assert "\n1. epochs 15, not 240\n2. 2 of 3 seeds\n" in text


def test_a_number_of_another_protocol_says_so_beside_every_result() -> None:
    peers = published(
        "peers",
        {"row": "KD", "values": {"a": 70.66}, "protocol": None},
        {"row": "CRD", "values": {"a": 71.16}, "protocol": None},
    )
    of = paper(tables=["peers"], names={"kd": ["KD"]})
    found = columns_of(comparison(runs_of("kd", *SEEDS), row("ce")), tables=(peers,), of=of)
    text = paper_table(found)
    unknown = "protocol unknown or different"
    assert f"| kd | KD 70.66 qu, peers (book); {unknown} | 72.00" in text
    assert f"| none: {unknown} | not as published: 1 |" in text
    assert f"| CRD (published only) | 71.16 qu, peers (book); {unknown} |" in text
    table = paper_rows(found)
    assert table["quoted_protocol"].tolist()[::2] == ["unknown or different"] * 2
    assert table["difference"].isna().all()


def test_what_has_no_published_number_is_not_as_published() -> None:
    text = paper_table(columns_of(comparison(runs_of("orc-mean", *SEEDS))))
    assert "| orc-mean |  | 72.00 ± 2.65 | 65.43 to 78.57 | 3 |  |  | - - - |" in text


def test_what_was_not_run_says_so() -> None:
    text = paper_table(columns_of(comparison(row("kd"), row("orc"))))
    assert "| kd | KD 70.66 ± 0.2 qu, peers (book) | not run |  | 0 of 3 |  |  |  |\n" in text
    assert "| orc | ORC ?, own (book) | not run |  | 0 of 3 |  |  |  |\n" in text
    assert "- ? = unknown: " in text


def test_several_published_numbers_and_why_one_is_not_compared() -> None:
    own = published(
        "own",
        {"row": "KD", "ranges": {"a": [70.1, 70.4]}, "note": "of three runs"},
        {"row": "a|b", "values": {"a": 71.0}},
    )
    of = paper(names={"kd": ["KD"]})
    text = paper_table(
        columns_of(
            comparison(row("kd", result("kd", 0, 71.0))),
            tables=(own, published("peers", {"row": "KD", "values": {"a": 70.66}})),
            of=of,
        )
    )
    assert (
        "| kd | KD 70.1 to 70.4 qu, own (book) [1]<br>KD 70.66 qu, peers (book) | 71.00 |  | 1 of 3"
        " | none: a range<br>+0.34 | not as published: 2 | - |\n" in text
    )
    assert "\n1. of three runs\n2. 1 of 3 seeds\n" in text
    assert "| a\\|b (published only) |" in text


def test_two_comparisons_of_one_pair_are_told_apart() -> None:
    networks: dict[str, str | None] = {"g": PAIR, "h": PAIR}
    found = columns_of(comparison(row("kd")), comparison(row("kd"), group="h"), networks=networks)
    text = paper_table(found)
    assert text.count(f"### {PAIR}") == 1
    for group in networks:
        assert f"| kd (`cifar100`, group `{group}`, recipe `crd`) |" in text


def test_claims() -> None:
    claims = [
        {"better": "ORC", "worse": "KD", "confidence": "secondary"},
        {"better": "ORC", "worse": "the others"},
    ]
    own = published("own", {"row": "KD", "values": {"a": 70.66}}, claims=claims)
    of = paper(tables=["own"], names={"orc": ["ORC"], "kd": ["KD"]})
    rows = (runs_of("kd", *SEEDS), runs_of("orc", 74.0, 76.0, 81.0))
    text = paper_table(columns_of(comparison(*rows), tables=(own,), of=of))
    assert (
        f"| ORC > KD: secondary, own (book) | {PAIR} (`cifar100`, group `g`, recipe `crd`)"
        " | orc > kd | +5.00 (+2.52 to +7.48) | 3 | agrees | as published |\n" in text
    )
    assert (
        "| ORC > the others: quoted, own (book) | not known |  |  |  | no method of ours |  |"
        in (text)
    )
    assert "- se = secondary: " in text


def test_rows_for_a_csv() -> None:
    own = published(
        "own",
        {"row": "KD", "ranges": {"e": [29.0, 29.6]}},
        {"row": "KD", "values": {"a": 70.66}, "deviations": {"a": 0.2}},
        {"row": "ORC", "confidence": "unknown", "values": {"a": None}},
        {"row": "CRD", "values": {"a": 71.16}},
    )
    of = paper(tables=["own"], names={"kd": ["KD"], "orc": ["ORC"]})
    rows = (runs_of("kd", *SEEDS, epochs=15), row("orc"), row("ce"))
    table = paper_rows(columns_of(comparison(*rows), tables=(own,), of=of, runs=RUNS))
    assert tuple(table.columns) == COLUMNS
    key = ["metric", "method", "state", "n", "declared"]
    assert table[key].to_numpy().tolist() == [
        [ACC1, "kd", "both", 3, 3],
        [ACC1, "orc", "not run", 0, 3],
        [ACC1, "ce", "not run", 0, 3],
        [ACC1, "CRD", "quoted", 0, 0],
        [ERR1, "kd", "both", 3, 3],
        [ERR1, "orc", "not run", 0, 3],
        [ERR1, "ce", "not run", 0, 3],
    ]
    kd = table.iloc[0]
    figures = [f"measured_{part}" for part in ("mean", "sd", "low", "high")]
    assert kd[figures].tolist() == [72.0, 2.6458, 65.4276, 78.5724]
    assert kd[["quoted", "quoted_deviation"]].tolist() == [70.66, 0.2]
    assert kd[["difference", "difference_low", "difference_high"]].tolist() == pytest.approx(
        [1.34, -5.2324, 7.9124]
    )
    said = ["table", "networks", "quoted_row", "quoted_confidence", "quoted_sources", "flags"]
    assert kd[said].tolist() == ["own", PAIR, "KD", "quoted", "book", "epochs 15, not 240"]
    assert kd["quoted_protocol"] == "the table's"
    assert kd["run_ids"] == "0123456789abcdef unknown fedcba9876543210"
    assert kd[["dataset", "group", "recipe"]].tolist() == ["cifar100", "g", "crd"]
    error = table.iloc[4]
    assert error[["measured_mean", "quoted_low", "quoted_high"]].tolist() == [28.0, 29.0, 29.6]
    assert math.isnan(error["quoted"]) and math.isnan(error["difference"])
    not_run = table[table["state"] == "not run"]
    assert bool(not_run[["quoted", "difference", *figures]].isna().all(axis=None))


def test_rows_survive_a_csv_and_nothing_declared_is_no_row() -> None:
    table = paper_rows(columns_of(comparison(runs_of("kd", *SEEDS), row("orc"))))
    text = table.to_csv(index=False, lineterminator="\n")
    assert pd.read_csv(StringIO(text))["difference"].tolist()[0] == 1.34
    assert paper_rows(columns_of()).empty
    assert tuple(paper_rows(columns_of()).columns) == COLUMNS
