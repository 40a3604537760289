"""Whatever is wrong with a prepared set is found when it is read, and said in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orc_repro.data.manifest import load_manifest
from orc_repro.data.prepared import load_split
from orc_repro.errors import UserError
from tests.data.made import make_source, write


def flip_byte(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def save(name: str, array: Any) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / f"{name}.npy", array, allow_pickle=True)


def save_archive(folder: Path) -> None:
    with (folder / "test_images.npy").open("wb") as file:
        np.savez(file, images=np.zeros(3))


ARRAY_ERRORS: dict[str, tuple[Callable[[Path], object], str]] = {
    "one pixel": (
        lambda folder: flip_byte(folder / "test_images.npy", 200),
        "test_images.npy is damaged (its SHA-256 is not the manifest's)",
    ),
    "one label": (
        lambda folder: flip_byte(folder / "test_labels.npy", -8),
        "test_labels.npy is damaged (its SHA-256 is not the manifest's)",
    ),
    "magic": (
        lambda folder: flip_byte(folder / "test_images.npy", 0),
        "test_images.npy is damaged",
    ),
    "header": (lambda folder: flip_byte(folder / "test_images.npy", 12), "test_images.npy is dam"),
    "short": (
        lambda folder: (folder / "test_images.npy").write_bytes(
            (folder / "test_images.npy").read_bytes()[:-1]
        ),
        "test_images.npy is damaged",
    ),
    "empty": (lambda folder: (folder / "test_labels.npy").write_bytes(b""), "test_labels.npy is d"),
    "missing": (
        lambda folder: (folder / "test_labels.npy").unlink(),
        "test_labels.npy does not exist; run `orc-repro prepare set` again",
    ),
    "type": (
        save("test_labels", np.zeros(6, np.int32)),
        "(it holds int32 [6], not int64 [6])",
    ),
    "shape": (
        save("test_images", np.zeros((5, 3, 4, 5), np.uint8)),
        "(it holds uint8 [5, 3, 4, 5], not uint8 [6, 3, 4, 5])",
    ),
    "pickle": (save("test_labels", np.array([print], object)), "test_labels.npy is damaged"),
    "archive": (save_archive, "test_images.npy is damaged (it is an archive"),
}


@pytest.mark.parametrize("case", ARRAY_ERRORS)
def test_a_damaged_array_is_found(case: str, tmp_path: Path) -> None:
    spoil, expected = ARRAY_ERRORS[case]
    folder = tmp_path / "set"
    write(make_source(), folder)
    spoil(folder)
    with pytest.raises(UserError) as caught:
        load_split(folder, "test")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_the_asked_split_is_read(tmp_path: Path) -> None:
    write(make_source(), tmp_path / "set")
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        (tmp_path / "set" / f"{name}.npy").unlink()
    images, labels = load_split(tmp_path / "set", "validation")
    assert (len(images), len(labels)) == (6, 6)


def edit(**changes: Any) -> Callable[[str], str]:
    return lambda text: json.dumps(json.loads(text) | changes)


MANIFEST_ERRORS: dict[str, tuple[Callable[[str], str], str]] = {
    "not JSON": (lambda text: text[:-10], "Invalid JSON"),
    "no text": (lambda text: "", "Invalid JSON"),
    "a list": (lambda text: "[]", "Input should be"),
    "version": (edit(format_version=2), "format_version: Input should be 1"),
    "string for a number": (edit(split_seed="0"), "split_seed: Input should be a valid integer"),
    "unknown key": (edit(host="here"), "host: "),
    "separator": (edit(class_names=["a", "..\\b", "c"]), "class_names.1: "),
    "newline": (edit(class_names=["a", "b\n", "c"]), "class_names.1: "),
    "one class less": (edit(class_names=["a", "b"]), "counts must have 2 numbers a split"),
    "a split less": (edit(counts={"train": [1, 1, 1]}), "counts must be of train, validation"),
    "zero std": (edit(std=[0.1, 0.0, 0.1]), "std.1: Input should be greater than 0"),
    "not finite": (edit(mean=[0.1, float("nan"), 0.1]), "mean.1: "),
    "channels": (edit(mean=[0.1], std=[0.1]), "mean and std must have 3 numbers"),
    "hashes": (edit(sha256={}), "sha256 must be of train_images"),
}


@pytest.mark.parametrize("case", MANIFEST_ERRORS)
def test_a_damaged_manifest_is_found(case: str, tmp_path: Path) -> None:
    spoil, expected = MANIFEST_ERRORS[case]
    write(make_source(), tmp_path / "set")
    path = tmp_path / "set" / "manifest.json"
    path.write_text(spoil(path.read_text()))
    with pytest.raises(UserError) as caught:
        load_manifest(tmp_path / "set")
    message = str(caught.value)
    assert message.startswith(f"{path} is damaged (") and expected in message
    assert message.endswith("run `orc-repro prepare set` again")
    assert "\n" not in message


def test_a_set_that_is_not_there_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_split(tmp_path / "cifar10", "train")
    manifest = tmp_path / "cifar10" / "manifest.json"
    assert str(caught.value) == f"{manifest} does not exist; run `orc-repro prepare cifar10` first"
