"""The rules that a table of published numbers keeps; each broken once."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from orc_repro.errors import UserError
from orc_repro.published.tables import (
    MEANINGS,
    PaperTable,
    Row,
    Source,
    check_tables,
    find_cell,
    find_table,
    load_sources,
    load_tables,
)
from orc_repro.validation import parse

TABLE: dict[str, Any] = {
    "id": "made",
    "number": 2,
    "title": "Made for a test",
    "dataset": "cifar10",
    "protocol": None,
    "columns": {
        "right": {"networks": "a -> b", "metric": "top1_accuracy_percent"},
        "wrong": {"networks": "a -> b", "metric": "top1_error_percent"},
        "open": {"networks": None, "metric": None},
    },
    "rows": [
        {
            "row": "KD",
            "sources": ["book"],
            "confidence": "quoted",
            "values": {"right": 70.5},
            "ranges": {"wrong": [29.4, 29.6]},
            "deviations": {"right": 0.2},
        },
        {"row": "ORC", "sources": ["book"], "confidence": "unknown", "values": {"open": None}},
    ],
    "claims": [
        {
            "better": "ORC",
            "worse": "KD",
            "networks": None,
            "sources": ["book"],
            "confidence": "secondary",
        }
    ],
    "unknown": [],
}
BOOK = {"title": "A book", "worth": "little", "address": None}
SOURCES = {"book": Source(title="A book", worth="little", address=None)}


def made(**changes: Any) -> PaperTable:
    return parse(PaperTable, deepcopy(TABLE) | changes, "made.yaml")


def with_row(**changes: Any) -> PaperTable:
    """The table with its first row changed."""
    return made(rows=[TABLE["rows"][0] | changes])


def test_a_table_becomes_cells() -> None:
    table = made()
    check_tables([table], SOURCES)
    assert [(c.row, c.value, c.range, c.deviation) for c in table.cells] == [
        ("KD", 70.5, None, 0.2),
        ("KD", None, (29.4, 29.6), None),
        ("ORC", None, None, None),
    ]
    assert (len(table.cells), table.numbers, table.sources) == (3, 2, ("book",))
    assert {cell.table for cell in table.cells} == {"made"}


@pytest.mark.parametrize("value", [-0.1, 100.1, True, "70.5", float("nan"), float("inf")])
def test_a_value_is_a_percentage(value: Any) -> None:
    with pytest.raises(UserError):
        with_row(values={"right": value})
    with pytest.raises(UserError):
        with_row(ranges={"wrong": [29.4, value]})


@pytest.mark.parametrize("value", [0, 100, 0.0, 100.0])
def test_the_ends_are_percentages(value: float) -> None:
    assert with_row(values={"right": value}, deviations={}).cells[0].value == value


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"values": {"right": 70.5, "nowhere": 1.0}}, "'nowhere', which is no column"),
        ({"ranges": {"nowhere": [1.0, 2.0]}}, "'nowhere', which is no column"),
        ({"values": {"right": None}}, "null goes with the confidence unknown"),
        ({"confidence": "unknown", "ranges": {}}, "null goes with the confidence unknown"),
        ({"confidence": "unknown", "values": {}, "deviations": {}}, "a range of the confidence"),
        ({"values": {"open": 1.0}, "deviations": {}}, "a number needs a metric"),
        ({"ranges": {"wrong": [29.6, 29.4]}}, "from low to high"),
        ({"ranges": {"right": [1.0, 2.0]}}, "as a value and as a range"),
        ({"deviations": {"wrong": 0.1}}, "a deviation without a value"),
        ({"deviations": {"right": 0}}, "above 0"),
        ({"values": {}, "ranges": {}, "deviations": {}}, "has no cell"),
        ({"confidence": "certain"}, "it must be 'stated'"),
        ({"sources": []}, "sources"),
        ({"value": 1.0}, "unknown key rows.0.value"),
    ],
)
def test_a_row_that_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as refused:
        with_row(**changes)
    assert said in str(refused.value)


def test_a_cell_twice() -> None:
    with pytest.raises(UserError, match="row 'KD' has right twice"):
        made(rows=[TABLE["rows"][0]] * 2)


def test_a_method_may_have_several_rows() -> None:
    first = TABLE["rows"][0] | {"ranges": {}}
    second = {**first, "confidence": "inferred", "values": {"wrong": 29.5}, "deviations": {}}
    table = made(rows=[first, second])
    assert [cell.confidence for cell in table.cells] == ["quoted", "inferred"]


def test_two_columns_of_one_meaning() -> None:
    columns = TABLE["columns"] | {"again": TABLE["columns"]["right"]}
    with pytest.raises(UserError, match="two columns are a -> b, top1_accuracy_percent"):
        made(columns=columns)


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "mnist"},
        {"number": 0},
        {"number": 11},
        {"rows": []},
        {"id": "../made"},
        {"columns": {"right": {"networks": "a -> b", "metric": "accuracy"}}},
        {"colour": "red"},
    ],
)
def test_a_table_that_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        made(**changes)


@pytest.mark.parametrize("part", ["rows", "claims"])
def test_a_source_that_is_not_declared(part: str) -> None:
    table = made(**{part: [TABLE[part][0] | {"sources": ["book", "hearsay"]}]})
    with pytest.raises(UserError, match="the source 'hearsay'"):
        check_tables([table], SOURCES)


@pytest.mark.parametrize("changes", [{"id": "other"}, {"number": 3}])
def test_two_tables_of_one_id_or_number(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="of two tables"):
        check_tables([made(), made(**changes)], SOURCES)
    check_tables([made(), made(id="other", number=None)], SOURCES)


def test_a_folder_of_tables(tmp_path: Path) -> None:
    (tmp_path / "sources.yaml").write_text(yaml.safe_dump({"sources": {"book": BOOK}}))
    (tmp_path / "made.yaml").write_text(yaml.safe_dump(TABLE))
    (tmp_path / "aside.yaml").write_text(
        yaml.safe_dump(TABLE | {"id": "aside", "number": None}),
    )
    assert load_tables(tmp_path) == (made(), made(id="aside", number=None))
    (tmp_path / "made.yaml").rename(tmp_path / "named.yaml")
    with pytest.raises(UserError, match=r"named\.yaml: its id is 'made'"):
        load_tables(tmp_path)


def test_nothing_is_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(made(), "title", "Another")  # noqa: B010 (mypy knows that it is frozen)


def test_finding_a_cell() -> None:
    table = find_table([made()], "made")
    assert find_cell(table, "KD", "a -> b", "top1_accuracy_percent").value == 70.5
    assert find_cell(table, "ORC", None, None).value is None
    with pytest.raises(UserError, match="no cell of 'ORC' for 'a -> b'"):
        find_cell(table, "ORC", "a -> b", "top1_accuracy_percent")
    with pytest.raises(UserError, match="no table 'nope'"):
        find_table([made()], "nope")


def test_every_confidence_is_explained_and_every_source_used() -> None:
    assert set(MEANINGS) == set(Row.model_json_schema()["properties"]["confidence"]["enum"])
    assert {key for table in load_tables() for key in table.sources} == set(load_sources())


@pytest.mark.parametrize("part", ["rows", "claims"])
def test_only_a_table_with_a_protocol_has_rows_made_by_it(part: str) -> None:
    marked = [TABLE[part][0] | {"protocol": "table"}]
    with pytest.raises(UserError, match="table's protocol, which is null"):
        made(**{part: marked})
    table = made(**{part: marked, "protocol": "160 epochs"})
    assert (table.cells[0].protocol_remark == "") is (part == "rows")
