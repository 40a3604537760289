"""Fingerprints, and that DVC and they name the same code."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from orc_repro.distill import METHODS
from orc_repro.files import write_json
from orc_repro.fingerprint import (
    CODE,
    METHOD_CODE,
    canonical_json,
    code_digest,
    digest,
    file_digest,
)
from orc_repro.yaml_files import read_yaml

ROOT = Path(__file__).parents[1]


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


def test_code_that_changes_results_changes_the_fingerprint_and_tracking_does_not(
    tmp_path: Path,
) -> None:
    package = tmp_path / "orc_repro"
    unwanted = shutil.ignore_patterns("__pycache__")  # others are writing there
    shutil.copytree(ROOT / "orc_repro", package, ignore=unwanted)
    before = {kind: code_digest(kind, package) for kind in METHOD_CODE}
    assert before == {kind: code_digest(kind) for kind in METHOD_CODE}

    def changed() -> set[str]:
        return {kind for kind in METHOD_CODE if code_digest(kind, package) != before[kind]}

    (package / "tracking" / "runlog.py").write_text("# another log")
    (package / "cli" / "__init__.py").write_text("# another command line")
    (package / "distill" / "__init__.py").write_text("# another list of methods")
    assert changed() == set()
    (package / "distill" / "frozen" / "dgkd.py").write_text("# another method")
    assert changed() == {"kd", "takd", "dgkd"}
    (package / "distill" / "losses.py").write_text("# another loss")
    assert changed() == set(METHOD_CODE)


def test_every_module_that_a_method_loads_is_in_its_fingerprint() -> None:
    listed = {*CODE, *METHOD_CODE.values()}
    for path in (ROOT / "orc_repro/distill").rglob("*.py"):
        name = path.relative_to(ROOT / "orc_repro").as_posix()
        assert name == "distill/__init__.py" or any(
            name == part or name.startswith(f"{part}/") for part in listed
        )
    for kind, part in METHOD_CODE.items():
        own = ROOT / "orc_repro" / part
        for path in own.rglob("*.py") if own.is_dir() else [own]:
            for other in set(METHOD_CODE.values()) - {part}:
                module = f"orc_repro.{other.removesuffix('.py').replace('/', '.')}"
                assert module not in path.read_text(), f"{kind} also depends on {other}"
    assert set(METHOD_CODE) == set(METHODS)


@pytest.mark.parametrize("path", ["dvc.yaml", "studies/pools/cifar100/dvc.yaml"])
@pytest.mark.parametrize("stage", ["pretrain", "assist", "train"])
def test_dvc_depends_on_the_code_that_the_fingerprint_covers(path: str, stage: str) -> None:
    deps = read_yaml(ROOT / path)["stages"][stage]["do"]["deps"]
    code = [d.removeprefix("orc_repro/") for d in deps if d.startswith("orc_repro")]
    assert ("${item.code}" in deps) != (stage == "pretrain")
    assert sorted(code) == sorted([*CODE, "distill/ce.py"] if stage == "pretrain" else CODE)
