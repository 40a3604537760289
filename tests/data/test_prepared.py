"""A prepared set is described truly, and written whole or not at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orc_repro.data import prepared
from orc_repro.data.manifest import load_manifest
from orc_repro.data.prepared import load_split
from orc_repro.errors import UserError
from tests.data.made import make_source, write

SPLITS = ("train", "validation", "test")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_set_holds_the_source_split_by_class(tmp_path: Path) -> None:
    source = make_source()
    manifest = write(source, tmp_path / "set")
    assert manifest.counts == {"train": (18,) * 3, "validation": (2,) * 3, "test": (2,) * 3}
    assert [manifest.count(split) for split in SPLITS] == [54, 6, 6]
    assert (manifest.num_classes, manifest.in_channels) == (3, 3)
    assert manifest.image_shape == (3, 4, 5)

    pairs = zip(source.train_images, source.train_labels.tolist(), strict=True)
    label_of = {image.tobytes(): label for image, label in pairs}
    seen: list[bytes] = []
    for split in ("train", "validation"):
        images, labels = load_split(tmp_path / "set", split)
        seen += [image.tobytes() for image in images]
        assert [label_of[image.tobytes()] for image in images] == labels.tolist()
    assert len(seen) == len(set(seen)) == 60
    test_images, test_labels = load_split(tmp_path / "set", "test", manifest)
    assert np.array_equal(test_images, source.test_images)
    assert np.array_equal(test_labels, source.test_labels)
    assert (str(test_images.dtype), str(test_labels.dtype)) == ("uint8", "int64")


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_split(tmp_path: Path) -> None:
    source = make_source()
    first, again, other = (
        write(source, tmp_path / name, seed) for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert first.digest == again.digest != other.digest
    assert first.sha256["validation_images"] != other.sha256["validation_images"]
    assert first.counts == other.counts


def test_a_split_of_the_source_stays_whole(tmp_path: Path) -> None:
    donor = make_source(per_class=4)
    source = make_source(validation_images=donor.train_images, validation_labels=donor.train_labels)
    manifest = write(source, tmp_path / "set")
    assert [manifest.count(split) for split in SPLITS] == [60, 12, 6]
    assert manifest.validation_fraction is None
    validation, _ = load_split(tmp_path / "set", "validation")
    assert np.array_equal(validation, donor.train_images)


def test_the_manifest_describes_the_arrays(tmp_path: Path) -> None:
    manifest = write(make_source(), tmp_path / "set")
    train = np.load(tmp_path / "set" / "train_images.npy") / 255
    assert np.allclose(manifest.mean, train.mean(axis=(0, 2, 3)), rtol=1e-13, atol=0)
    assert np.allclose(manifest.std, train.std(axis=(0, 2, 3)), rtol=1e-13, atol=0)
    assert len(manifest.sha256) == 6
    for name, expected in manifest.sha256.items():
        array = np.load(tmp_path / "set" / f"{name}.npy")
        assert hashlib.sha256(array.tobytes()).hexdigest() == expected
    assert load_manifest(tmp_path / "set") == manifest


def test_mean_and_std_of_more_images_than_one_block() -> None:
    images = np.random.default_rng(1).integers(0, 256, (2500, 2, 3, 3), dtype=np.uint8)
    mean, std = prepared._mean_and_std(images)
    assert np.allclose(mean, images.mean(axis=(0, 2, 3)) / 255, rtol=1e-13, atol=0)
    assert np.allclose(std, images.std(axis=(0, 2, 3)) / 255, rtol=1e-13, atol=0)


def test_the_manifest_is_sorted_json_without_a_path(tmp_path: Path) -> None:
    manifest = write(make_source(), tmp_path / "set")
    text = (tmp_path / "set" / "manifest.json").read_text()
    content = json.loads(text)
    assert text == json.dumps(content, indent=1, sort_keys=True) + "\n"
    assert str(tmp_path) not in text
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert manifest.digest == hashlib.sha256(canonical.encode()).hexdigest()
    assert content["format_version"] == 1
    assert (content["split_seed"], content["validation_fraction"]) == (0, 0.1)


# --- nothing by halves ------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
@pytest.mark.parametrize("exists", [True, False])
def test_a_failure_half_way_leaves_everything_as_it_was(
    error: type[BaseException], exists: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    if exists:
        write(make_source(), folder)
    before = contents(folder) if exists else None
    calls = 0

    def failing_save(*args: Any, **kwargs: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise error("half-way")

    monkeypatch.setattr(np, "save", failing_save)
    with pytest.raises(UserError if error is OSError else error, match="half-way"):
        write(make_source(), folder, seed=1)
    assert calls == 4
    assert (contents(folder) if exists else None) == before
    assert [path.name for path in tmp_path.iterdir()] == (["set"] if exists else [])


def test_a_failure_while_the_set_is_replaced_brings_the_former_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(make_source(), tmp_path / "set")
    before = contents(tmp_path / "set")
    rename = Path.rename

    def failing_rename(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError("disk gone")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing_rename)
    with pytest.raises(UserError, match="set cannot be written: disk gone"):
        write(make_source(), tmp_path / "set", seed=1)
    assert contents(tmp_path / "set") == before
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_set_is_replaced_as_a_whole(tmp_path: Path) -> None:
    first = write(make_source(), tmp_path / "set")
    (tmp_path / "set" / "stray.txt").write_text("left over")
    second = write(make_source(), tmp_path / "set", seed=1)
    assert load_manifest(tmp_path / "set") == second != first
    assert len(contents(tmp_path / "set")) == 7
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


WRITE_ERRORS: dict[str, tuple[dict[str, Any], float, str]] = {
    "no validation image": (
        {},
        0.01,
        "small: class 'class 0' would have no image in the validation split",
    ),
    "no training image": ({}, 0.99, "class 'class 0' would have no image in the train split"),
    "no test image": (
        {"test_labels": np.array([0, 0, 0, 2, 2, 2])},
        0.1,
        "class 'class 1' would have no image in the test split",
    ),
    "one value": (
        {"train_images": np.full((60, 3, 4, 5), 7, np.uint8)},
        0.1,
        "channel 0 has one value in all training images",
    ),
    "separator": ({"class_names": ("a", "b/c", "d")}, 0.1, "small: class_names.1: "),
    "twice": ({"class_names": ("a", "b", "a")}, 0.1, "small: class_names must differ"),
}


@pytest.mark.parametrize("case", WRITE_ERRORS)
def test_what_cannot_be_prepared_is_one_sentence(case: str, tmp_path: Path) -> None:
    changes, fraction, expected = WRITE_ERRORS[case]
    with pytest.raises(UserError) as caught:
        write(make_source(**changes), tmp_path / "set", fraction=fraction)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
