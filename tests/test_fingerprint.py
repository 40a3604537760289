"""Hashes of JSON values and files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from orc_repro.files import write_json
from orc_repro.fingerprint import canonical_json, digest, file_digest


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical_json({"b": 1, "a": [1.5, None]}) == '{"a":[1.5,null],"b":1}'
    assert digest({"b": 1, "a": 2}) == hashlib.sha256(b'{"a":2,"b":1}').hexdigest()


def test_a_nan_has_no_canonical_form() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"a": float("nan")})


def test_json_files_are_the_same_bytes_whatever_the_order(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1, "y": [2]})
    write_json(tmp_path / "b.json", {"y": [2], "x": 1})
    assert file_digest(tmp_path / "a.json") == file_digest(tmp_path / "b.json")
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1, "y": [2]}
