"""YAML is read as DVC reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from orc_repro.errors import UserError
from orc_repro.yaml_files import read_yaml, write_yaml


def test_numbers_and_words_are_those_of_version_1_2(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 5e-4\nb: off\nc: 3\nd: 0.1\ne: true\nf: no\ng: -2\nh: 1.\n")
    assert read_yaml(path) == {
        "a": 0.0005, "b": "off", "c": 3, "d": 0.1, "e": True, "f": "no", "g": -2, "h": 1.0,
    }  # fmt: skip
    assert isinstance(read_yaml(path)["c"], int)


def test_what_is_written_is_read_back_below_its_header(tmp_path: Path) -> None:
    path, content = tmp_path / "a.yaml", {"z": [1, 2], "a": {"b": None, "c": "off"}}
    write_yaml(path, content, "two\nlines")
    assert path.read_text().startswith("# two\n# lines\n")
    assert read_yaml(path) == content and list(read_yaml(path)) == ["z", "a"]


def test_a_key_given_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\nb: 2\na: 3\n")
    with pytest.raises(UserError, match="line 3: the key 'a' is given twice"):
        read_yaml(path)
