"""torchvision imports whether or not its compiled operators load."""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from pathlib import Path

import pytest

from orc_repro import _torchvision
from orc_repro.errors import UserError


def run(script: str) -> str:
    """A script's output from a fresh interpreter, where torchvision is not imported yet."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_torchvision_imports_and_crops_in_a_new_process() -> None:
    script = """
import torch
from orc_repro._torchvision import import_torchvision
assert import_torchvision() is import_torchvision()
from torchvision import datasets, models
from torchvision.transforms import v2
cropped = v2.RandomCrop(8, padding=1)(torch.zeros(2, 3, 8, 8))
print(tuple(cropped.shape), datasets.CIFAR10.__name__)
"""
    assert run(script) == "(2, 3, 8, 8) CIFAR10"


def test_a_library_that_cannot_load_is_replaced_by_declarations() -> None:
    script = """
import torch
from orc_repro import _torchvision
def refuse(path):
    raise OSError("undefined symbol")
torch.ops.load_library = refuse
_torchvision.import_torchvision()
print(len(_torchvision._declarations), torch.ops.torchvision.nms.default.name())
"""
    assert run(script) == "1 torchvision::nms"


def test_nothing_is_declared_where_the_library_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    _torchvision.import_torchvision()
    monkeypatch.setattr(_torchvision, "_declarations", [])
    monkeypatch.setattr("torch.ops.load_library", lambda path: None)
    _torchvision.import_torchvision()
    assert _torchvision._declarations == []


@pytest.mark.parametrize("name", ["_C", "_C_stable"])
def test_the_library_is_found_by_the_name_of_any_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    library = tmp_path / f"{name}{EXTENSION_SUFFIXES[0]}"
    library.touch()
    loaded: list[str] = []
    monkeypatch.setattr("torch.ops.load_library", loaded.append)
    package = ModuleSpec("torchvision", None, is_package=True)
    package.submodule_search_locations = [str(tmp_path)]
    assert _torchvision._operators_load(package)
    assert loaded == [str(library)]


def test_a_missing_torchvision_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_torchvision, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="torchvision is not installed"):
        _torchvision.import_torchvision()
