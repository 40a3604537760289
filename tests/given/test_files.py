"""A stranger's weights: tensors of the right form are read, all else is refused in a sentence."""

from __future__ import annotations

import os
import pickle
import zipfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from orc_repro._torchvision import import_torchvision
from orc_repro.errors import UserError
from orc_repro.given.files import load_given, read_state
from orc_repro.models import build
from tests.hostile.contract import attempt, spoiled

SPOILT_FILES = 300


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def load(path: Path) -> tuple[bool, str]:
    """Whether a file was loaded, and why not; one that is refused has changed nothing."""
    into = network(1)
    before = {name: tensor.clone() for name, tensor in into.state_dict().items()}

    def both() -> bool:
        load_given(into, read_state(path), path)
        return True

    done, sentence = attempt(both, path.parent)
    if sentence:
        assert str(path) in sentence
        assert all(torch.equal(before[name], now) for name, now in into.state_dict().items())
    return bool(done), sentence


def saved(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


def old_style(content: Any, path: Path) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def as_safetensors(content: dict[str, Tensor], path: Path) -> Path:
    save_file(content, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


@pytest.mark.parametrize("write", [saved, old_style, as_safetensors])
def test_every_format_gives_the_same_tensors(
    write: Callable[[Any, Path], Path], tmp_path: Path
) -> None:
    given, into = network().state_dict(), network(1)
    path = write(given, tmp_path / "a.pth")
    load_given(into, read_state(path), path)
    assert into.state_dict().keys() == given.keys()
    assert all(torch.equal(given[name], now) for name, now in into.state_dict().items())


@pytest.mark.parametrize("architecture", ["resnet18", "resnet34"])
def test_torchvisions_own_names_are_ours_and_counts_of_batches_may_be_missing(
    architecture: str, tmp_path: Path
) -> None:
    import_torchvision()
    from torchvision.models import get_model

    theirs = get_model(architecture, weights=None, num_classes=7).state_dict()
    lean = {n: t for n, t in theirs.items() if not n.endswith("num_batches_tracked")}
    path = saved(lean, tmp_path / "a.pth")
    ours = build(architecture, num_classes=7)
    load_given(ours, read_state(path), path)
    loaded = ours.state_dict()
    assert loaded.keys() == theirs.keys() and len(lean) < len(theirs)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in theirs.items())


def changed() -> dict[str, Tensor]:
    """A state dict that fits, to be changed."""
    return dict(network().state_dict())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (changed() | {"0.weight": torch.zeros(5, 3)},
         r"0\.weight is float32 \[5, 3\], not float32 \[2, 3\]$"),
        (changed() | {"0.weight": torch.zeros(2, 3, dtype=torch.float64)},
         r"0\.weight is float64 \[2, 3\], not float32"),
        ({k: v for k, v in changed().items() if k != "1.bias"}, r"1\.bias is missing$"),
        ({}, r"0\.weight is missing \(and 5 more\)"),
        (changed() | {"fc.bias": torch.zeros(2)}, r"it has no fc\.bias$"),
        (changed() | {"0.weight": torch.zeros(2, 3).to_sparse()}, "no state dict"),
        ({"model": changed(), "ema": changed()}, "several, 'model', 'ema'"),
        ({"model": {"state": changed()}, "epoch": 3}, "nor is one of 'model', 'epoch'"),
        ({"student." + k: v for k, v in changed().items()} | {"teacher.0.bias": torch.zeros(2)},
         r"the network has no student\.0\.weight \(and 7 more\)"),
        ([1, 2], "no state dict"),
        ({1: torch.zeros(2)}, "no state dict"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(content: Any, reason: str, tmp_path: Path) -> None:
    done, sentence = load(saved(content, tmp_path / "a.pth"))
    assert not done
    with pytest.raises(UserError, match=reason):
        raise UserError(sentence)


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in changed().items()}


@pytest.mark.parametrize(
    "content",
    [
        {"epoch": 240, "model": changed(), "best_acc": torch.tensor(95.0)},
        {"model": changed(), "best_acc": np.float64(95.0), "curve": np.arange(3)},
        {"net": changed(), "opt": Namespace(lr=0.1), "optimizer": {"state": {0: {"step": 1}}}},
        {"state_dict": prefixed("module."), "lr": None},
        prefixed("_orig_mod."),
        prefixed("module.student."),
        prefixed("module._orig_mod.") | {"n_averaged": torch.tensor(3)},
    ],
)
@pytest.mark.parametrize("write", [saved, old_style])
def test_wrappers_prefixes_and_values_beside_are_taken_off(
    write: Callable[[Any, Path], Path], content: Any, tmp_path: Path
) -> None:
    assert load(write(content, tmp_path / "a.pth")) == (True, "")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_the_same_numbers_in_single(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    halves = {n: t.to(dtype) if t.is_floating_point() else t for n, t in changed().items()}
    path, into = saved(halves, tmp_path / "a.pth"), network(1)
    load_given(into, read_state(path), path)
    for name, tensor in into.state_dict().items():
        assert tensor.dtype in (torch.float32, torch.int64)
        assert torch.equal(tensor, halves[name].to(tensor.dtype))


def test_the_type_of_another_object_is_named(tmp_path: Path) -> None:
    whole = saved({"model": changed(), "net": network()}, tmp_path / "a.pth")
    done, sentence = load(whole)
    assert not done and "torch.nn.modules.container.Sequential" in sentence


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("write", [saved, old_style])
def test_nothing_in_a_file_is_executed(write: Callable[[Any, Path], Path], tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    content = changed() | {"x": Bomb(f"touch {mark}")}
    done, sentence = load(write(content, tmp_path / "a.pth"))
    assert not done and "hold more than tensors" in sentence
    assert not mark.exists() and "weights_only" not in sentence
    with (tmp_path / "plain.pth").open("wb") as file:
        pickle.dump(Bomb(f"touch {mark}"), file)
    assert not load(tmp_path / "plain.pth")[0]
    assert not mark.exists()


def test_a_packed_archive_is_not_unpacked(tmp_path: Path) -> None:
    whole, packed = saved({"x": torch.zeros(10**6)}, tmp_path / "a.pth"), tmp_path / "b.pth"
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(packed, "w") as to:
        for member in source.infolist():
            to.writestr(member.filename, source.read(member), zipfile.ZIP_DEFLATED)
    assert packed.stat().st_size < whole.stat().st_size / 100
    assert "it is packed" in load(packed)[1]


@pytest.mark.parametrize("write", [saved, old_style])
def test_spoilt_files_are_read_or_refused(
    write: Callable[[Any, Path], Path], tmp_path: Path
) -> None:
    path = write(changed(), tmp_path / "a.pth")
    whole, draw = path.read_bytes(), Random(15)
    taken = set()
    for _ in range(SPOILT_FILES):
        path.write_bytes(spoiled(whole, draw))
        taken.add(bool(load(path)[0]))
    assert False in taken


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    for name in ("pipe", "folder", "empty", "nowhere"):
        assert not load(tmp_path / name)[0]
    assert "do not exist" in load(tmp_path / "nowhere")[1]
