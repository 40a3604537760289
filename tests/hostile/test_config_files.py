"""params.yaml, study.yaml and cells.yaml may come from someone else.

Promised: whatever they hold, they are read or refused in one plain sentence, in bounded time, and
nothing in them is run. What is accepted is well-formed: it survives being written out and read
again, and none of its names leads out of a folder.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orc_repro import yaml_files
from orc_repro.cells import Cells, Study, load_study
from orc_repro.config import Params, load_params
from orc_repro.errors import UserError
from orc_repro.plan import Declaration, expand
from orc_repro.validation import parse
from orc_repro.yaml_files import read_yaml
from tests.hostile.contract import (
    TOKENS,
    attempt,
    check_sentence,
    inputs,
    limited,
    spoiled,
    trees_near,
)

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "studies/default"
SPOILT_TEXTS, SPOILT_STUDIES, CHANGED_PARAMS, CHANGED_STUDIES, NAMES = 900, 250, 450, 250, 400
INPUTS = SPOILT_TEXTS + SPOILT_STUDIES + CHANGED_PARAMS + CHANGED_STUDIES + NAMES

SECTIONS = {
    "data": ("digits", "cifar10-small"),
    "groups": ("r20-r8",),
    "recipes": ("digits",),
    "methods": ("ce", "kd", "orc"),
}
WHOLE = read_yaml(ROOT / "params.yaml")
# One of each kind, so that a change is likely to meet what is particular to it.
FEW: dict[str, Any] = WHOLE | {
    section: {name: WHOLE[section][name] for name in names} for section, names in SECTIONS.items()
}
DECLARED, PLANNED = read_yaml(STUDY / "study.yaml"), read_yaml(STUDY / "cells.yaml")

YAML_TOKENS = (
    *TOKENS,
    *(b"!!python/object/apply:os.mkdir [owned] ", b"!!python/name:os.system ", b"!!binary =", b"!"),
    *(b"!!timestamp 2001-99-99 ", b"2001-99-99", b"!!int ", b"!!float ", b"!!set ", b"!!str "),
    *(b"!%1b%0a ", b"&a ", b"*a", b"&orc ", b"*orc", b"<<: *orc\n", b"<<: ", b"? ", b"- ", b"--- "),
    *(b"1:30", b"1:" * 300, b"%YAML 9.9\n", b"%TAG ! tag:x\n", b"|\n", b">\n", b"=", b"~", b"@"),
)


def bomb(width: int, depth: int, line: str) -> str:
    """Each name holds the one before it many times over."""
    names = [f"a{i}" for i in range(depth)]
    first = f"{names[0]}: &{names[0]} {{k: 1}}\n"
    return first + "".join(
        line.format(name=name, inner=", ".join(width * [f"*{inner}"])) + "\n"
        for inner, name in pairwise(names)
    )


REFUSED = {
    "code": "a: !!python/object/apply:os.mkdir [owned]",
    "code in a key": "!!python/object/apply:os.mkdir [owned]: 1",
    "a module": "a: !!python/module:os",
    "binary": "a: !!binary aGVsbG8=",
    "a date that is none": "a: !!timestamp 2001-99-99",
    "a plain date that is none": "a: 2001-99-99",
    "a set, whose order is another in each process": "a: !!set {x, y}",
    "an empty number": 'a: !!int ""',
    "a number of many parts": "a: !!float " + 300 * "1:" + "1",
    "an escape sequence in a tag": "a: !%1b[2J%0a x",
    "an escape sequence in a key given twice": '"\\e[2J\\n": 1\n"\\e[2J\\n": 2',
    "a long key given twice": 2 * f"? {3000 * 'k'}\n: 1\n",
    "a number without end": "a: " + 5000 * "9",
    "an alias bomb": bomb(10, 12, "{name}: &{name} [{inner}]"),
    "a bomb of mappings merged": bomb(10, 12, "{name}: &{name} {{<<: [{inner}], {name}: 1}}"),
    "an alias within itself": "a: &a [*a]",
    "a mapping merged into itself": "a: &a {<<: *a}",
    "an alias of nothing": "a: *b",
    "a key given twice": "a: 1\na: 2",
    "a list as a key": "? [a]\n: 1",
    "a mapping as a key": "a: {{b: 1}: 2}",
    "lists in lists": "a: " + 5000 * "[",
    "lists in lists, closed": "a: " + 60 * "[" + 60 * "]",
    "mappings in mappings": "a: " + 5000 * "{a: ",
    "two documents": "a: 1\n---\nb: 1",
    "a list": "- 1",
    "nothing": "",
    "names that are numbers": "1: 2",
    "NUL": "a: \x00",
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_file_of_ours_holds_is_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where the code would leave its folder
    path = tmp_path / "a.yaml"
    path.write_text(REFUSED[case], encoding="utf-8")
    _, sentence = attempt(lambda: read_yaml(path), tmp_path)
    assert sentence.startswith(str(path))


@pytest.mark.parametrize("content", [b"a: \xff", b"\xff\xfea\x00", b"a: \xed\xa0\x80"])
def test_what_is_no_text_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    _, sentence = attempt(lambda: read_yaml(path), tmp_path)
    assert f"{path} cannot be read" in sentence


def test_a_number_of_many_parts_is_text_and_takes_no_time(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1:" + 200_000 * "59:" + "59")
    found, _ = attempt(lambda: read_yaml(path), tmp_path)
    assert found is not None and isinstance(found["a"], str)


def test_more_values_than_anyone_needs_are_not_even_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml_files._Values, "most_values", 100)
    path = tmp_path / "a.yaml"
    path.write_text("a: [" + 1_000_000 * "1," + "]")
    _, sentence = attempt(lambda: read_yaml(path), tmp_path)
    assert "line 1: more than 100 values" in sentence


def test_a_mapping_may_be_merged_twice_and_override_what_it_merges(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: &a {x: 1}\nb:\n  c: &c {<<: *a, x: 2}\nd: {<<: *c}\n")
    assert read_yaml(path) == {"a": {"x": 1}, "b": {"c": {"x": 2}}, "d": {"x": 2}}


def test_of_several_mappings_merged_the_first_wins_and_own_keys_do_over_all(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: &a {x: 1, z: 1}\nb: &b {x: 2, y: 2}\nc: {y: 3, <<: [*a, *b]}\n")
    assert read_yaml(path)["c"] == {"x": 1, "y": 3, "z": 1}


@pytest.mark.parametrize("merged", ["1", "[1]", "[{b: 1}, c]"])
def test_what_is_no_mapping_cannot_be_merged(tmp_path: Path, merged: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"x: 1\na: {{<<: {merged}}}\n")
    _, sentence = attempt(lambda: read_yaml(path), tmp_path)
    assert sentence == f"{path}, line 2: '<<' takes a mapping, or a list of mappings"


def check_params(path: Path) -> None:
    found, _ = attempt(lambda: load_params(path), path.parent)
    if found is not None:
        assert Params.model_validate(found.model_dump()) == found


def test_spoilt_params_are_read_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path, draw = tmp_path / "params.yaml", Random(1)
    whole = (ROOT / "params.yaml").read_bytes()
    for _ in range(SPOILT_TEXTS):
        path.write_bytes(spoiled(whole, draw, YAML_TOKENS))
        check_params(path)


@inputs(CHANGED_PARAMS)
@given(tree=trees_near(FEW))
def test_params_of_another_form_are_read_or_refused(
    tree: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "changed" / "params.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    check_params(path)


@inputs(NAMES)
@given(
    section=st.sampled_from(sorted(SECTIONS)),
    name=st.text(max_size=5)
    | st.text("./\\~a0-_", max_size=6)
    | st.sampled_from(("../../x", "/etc", "a/b", "a\n", "C:\\x", "x" * 129, ".", "..", "\x1b[2J")),
)
def test_no_name_leads_out_of_a_folder(section: str, name: str) -> None:
    entry = next(iter(FEW[section].values()))
    tree = FEW | {section: FEW[section] | {name: entry}}
    plain = set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
    if plain and name[:1].isalnum() and len(name) <= 128:
        assert name in getattr(parse(Params, tree, "params.yaml"), section)
        assert (Path("folder") / name).parent == Path("folder")
    else:
        with pytest.raises(UserError) as caught:
            parse(Params, tree, "params.yaml")
        check_sentence(str(caught.value))


@pytest.mark.parametrize("label", ["/../../x", "\n", "\x1b[2J", "\\x", " "])
@pytest.mark.parametrize("place", ["pivot", "students"])
def test_the_label_of_a_network_leads_nowhere_either(label: str, place: str) -> None:
    group = FEW["groups"]["r20-r8"]
    name = f"resnet20.a{label}"
    change = {place: name if place == "pivot" else [*group["students"], name]}
    with pytest.raises(UserError, match=rf"groups\.g\.{place}.* is 'resnet20") as caught:
        parse(Params, FEW | {"groups": {"g": group | change}}, "params.yaml")
    check_sentence(str(caught.value))


@cache
def whole_params() -> Params:
    """Read once: it takes longer than the rest of an example."""
    return parse(Params, WHOLE, "params.yaml")


def check_study(declaration: Any, cells: Any, params: Params, around: Path) -> None:
    """Both files of a study, read as ``plan`` and every stage read them."""

    def planned() -> Cells:
        return expand(parse(Declaration, declaration, "study.yaml"), params, "s")

    attempt(planned, around)
    attempt(lambda: Study(params, parse(Cells, cells, "cells.yaml"), around), around)


@inputs(CHANGED_STUDIES)
@given(declaration=trees_near(DECLARED), cells=trees_near(PLANNED))
def test_a_study_of_another_form_is_read_or_refused(
    declaration: Any, cells: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    around = tmp_path_factory.getbasetemp() / "study"  # not the whole base: it is listed each time
    around.mkdir(exist_ok=True)
    check_study(declaration, cells, whole_params(), around)


def test_names_as_long_as_they_may_be_still_make_a_plan_or_a_sentence(tmp_path: Path) -> None:
    long = {section: 128 * section[0] for section in SECTIONS}
    tree = FEW | {name: {long[name]: FEW[name][kept[-1]]} for name, kept in SECTIONS.items()}
    declaration = json.loads(json.dumps(DECLARED))
    declaration["rows"][0] |= {
        "dataset": long["data"],
        "groups": [long["groups"]],
        "recipe": long["recipes"],
        "pivot": {"recipe": long["recipes"], "seed": 0},
        "methods": [long["methods"]],
    }
    params = parse(Params, tree, "params.yaml")
    _, sentence = attempt(
        lambda: expand(parse(Declaration, declaration, "study.yaml"), params, "s"), tmp_path
    )
    assert "128" in sentence  # the limit, which the joined names pass


def test_spoilt_cells_are_read_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    few = tmp_path / "params.yaml"
    few.write_text(yaml.safe_dump(FEW))
    whole, draw = (STUDY / "cells.yaml").read_bytes(), Random(2)
    refused = []
    for _ in range(SPOILT_STUDIES):
        (tmp_path / "cells.yaml").write_bytes(spoiled(whole, draw, YAML_TOKENS))
        found, _ = attempt(lambda: load_study(tmp_path, few), tmp_path)
        refused.append(found is None)
    assert any(refused) and not all(refused)


def test_a_value_nested_widely_is_shown_in_part() -> None:
    wide: Any = "x" * 80
    for _ in range(6):
        wide = 6 * [wide]
    with limited(), pytest.raises(UserError) as caught:
        parse(Params, FEW | {"tracking": {"enabled": wide, "role_changes": "all"}}, "params.yaml")
    check_sentence(str(caught.value))
