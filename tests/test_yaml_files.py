"""YAML is read as DVC reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from orc_repro import yaml_files
from orc_repro.errors import UserError
from orc_repro.yaml_files import MOST_VALUES, read_lock, read_yaml, write_yaml


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


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.yaml"
    write_yaml(path, {"former": 1}, "header")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_yaml(path, {"new": 2}, "header")
    assert read_yaml(path) == {"former": 1}


def test_a_key_given_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\nb: 2\na: 3\n")
    with pytest.raises(UserError, match="line 3: the key 'a' is given twice"):
        read_yaml(path)


def test_without_libyaml_the_same_is_read_and_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("a: &x {b: 5e-4, c: [1, off]}\nd: {<<: *x, c: 2}\n")
    bad.write_text("a: 1\nb: !int 2\n")
    found = read_yaml(good)
    assert found == {"a": {"b": 0.0005, "c": [1, "off"]}, "d": {"b": 0.0005, "c": 2}}

    class Slow(yaml_files._Values, yaml_files._SlowParser):
        def __init__(self, stream: str) -> None:
            yaml_files._SlowParser.__init__(self, stream)
            yaml_files._Values.__init__(self)

    for loader in (yaml_files._Loader, Slow):
        monkeypatch.setattr(yaml_files, "_Loader", loader)
        assert read_yaml(good) == found
        with pytest.raises(UserError, match=r"line 2: a value is not given a type with '!'"):
            read_yaml(bad)


def test_a_lock_of_dvcs_may_hold_more_than_what_people_write(tmp_path: Path) -> None:
    path = tmp_path / "dvc.lock"
    assert read_lock(path) == {}
    path.write_text(f"stages:\n  a:\n    outs: [{MOST_VALUES * '1,'}]\n")
    assert len(read_lock(path)["a"]["outs"]) == MOST_VALUES
    with pytest.raises(UserError, match=f"more than {MOST_VALUES} values"):
        read_yaml(path)
    path.write_text("schema: '2.0'\n")
    assert read_lock(path) == {}
    for damaged in ("stages: [a]", "stages: {a: 1}"):
        path.write_text(damaged)
        with pytest.raises(UserError, match="its stages must be a mapping of names to mappings"):
            read_lock(path)
