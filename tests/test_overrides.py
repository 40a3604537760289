"""params.yaml: `dvc exp run -S` sets any value of it, and no other with it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from dvc.utils.hydra import apply_overrides

from orc_repro.yaml_files import read_yaml
from tests.project import ROOT

PARAMS = ROOT / "params.yaml"


def leaves(content: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    """Each value by its path; an empty mapping is a value."""
    for name, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{at}{name}.")
        else:
            yield f"{at}{name}", value


def test_every_value_is_set_alone(tmp_path: Path) -> None:
    """Each gets a number of its own: values that share a place cannot all have theirs."""
    path = tmp_path / "params.yaml"
    shutil.copyfile(PARAMS, path)
    overrides: list[str] = []
    expected: dict[str, Any] = {}
    for number, (at, value) in enumerate(leaves(read_yaml(path)), 10_000):
        if value == {}:
            overrides.append(f"+{at}.added={number}")
            expected[f"{at}.added"] = number
        elif isinstance(value, list):
            overrides.append(f"{at}=[{number}]")
            expected[at] = [number]
        else:
            overrides.append(f"{at}={number}")
            expected[at] = number
    apply_overrides(path, overrides)
    assert dict(leaves(read_yaml(path))) == expected


def test_no_entry_is_made_from_another() -> None:
    """Values that are merged from elsewhere are lost when DVC writes the file."""
    tokens = list(yaml.scan(PARAMS.read_text(encoding="utf-8")))
    shared = [
        t.start_mark.line + 1 for t in tokens if isinstance(t, (yaml.AnchorToken, yaml.AliasToken))
    ]
    merged = [t.start_mark.line + 1 for t in tokens if getattr(t, "value", None) == "<<"]
    assert not shared and not merged
