"""A few images a class: the same ones from whatever copy of the set, in the same bytes."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from orc_repro._torchvision import import_torchvision
from orc_repro.data.sources import read_folder
from orc_repro.data.subset import drawn, write_subset
from orc_repro.errors import UserError

Pixels = npt.NDArray[np.uint8]
EACH = {"train": 6, "test": 3}


@pytest.fixture(scope="module")
def pixels() -> dict[str, Pixels]:
    """[10, N, 32, 32, 3] noise by class."""
    draw = np.random.default_rng(0)
    shape = (32, 32, 3)
    return {s: draw.integers(256, size=(10, n, *shape), dtype=np.uint8) for s, n in EACH.items()}


def as_arrays(pixels: dict[str, Pixels], to: Path, order: int) -> Path:
    arrays: dict[str, npt.NDArray[Any]] = {}
    for split, images in pixels.items():
        count = images.shape[1]
        mixed = np.random.default_rng(order).permutation(10 * count)
        arrays[f"x_{split}"] = images.reshape(-1, 32, 32, 3)[mixed]
        arrays[f"y_{split}"] = np.repeat(np.arange(10), count)[mixed]
    np.savez(to / f"{order}.npz", **arrays)  # type: ignore[arg-type]
    return to / f"{order}.npz"


def as_folders(pixels: dict[str, Pixels], to: Path) -> Path:
    for split, classes in pixels.items():
        for label, images in enumerate(classes):
            folder = to / split / f"kind{label}"
            folder.mkdir(parents=True)
            for number, image in enumerate(images):
                Image.fromarray(image).save(folder / f"{number}.png")
    return to


def as_torchvision(pixels: dict[str, Pixels], to: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The archive's own form; its MD5 sums are not those of the real one."""
    import_torchvision()
    from torchvision import datasets

    base = to / "cifar-10-batches-py"
    base.mkdir(parents=True)
    for name, split in (("data_batch_1", "train"), ("test_batch", "test")):
        images = pixels[split].transpose(1, 0, 4, 2, 3)  # another order again
        content = {
            "data": images.reshape(-1, 3072),
            "labels": list(range(10)) * images.shape[0],
        }
        (base / name).write_bytes(pickle.dumps(content))
    names = [f"kind{label}" for label in range(10)]
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [["data_batch_1", None]])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", None]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": None}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    return to


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*.ppm"))
    }


def test_every_copy_of_the_set_gives_the_same_tree(
    pixels: dict[str, Pixels], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [
        as_arrays(pixels, tmp_path, 1),
        as_arrays(pixels, tmp_path, 2),
        as_folders(pixels, tmp_path / "folders"),
        as_torchvision(pixels, tmp_path / "archive", monkeypatch),
    ]
    trees = []
    for number, source in enumerate(sources):
        to = tmp_path / f"to{number}"
        counts = write_subset("cifar10", source, to, train_per_class=2, test_per_class=1)
        assert counts == {"train": 20, "test": 10}
        trees.append(tree(to))
    assert len(trees[0]) == 30 and all(found == trees[0] for found in trees)


def test_those_are_drawn_whose_pixels_have_the_smallest_hash(
    pixels: dict[str, Pixels], tmp_path: Path
) -> None:
    source = as_arrays(pixels, tmp_path, 1)
    write_subset("cifar10", source, tmp_path / "to", train_per_class=2, test_per_class=3)
    read = read_folder(tmp_path / "to")
    for label in range(10):
        wanted = sorted(
            (hashlib.sha256(image.transpose(2, 0, 1).tobytes()).hexdigest(), number)
            for number, image in enumerate(pixels["train"][label])
        )[:2]
        found = read.train_images[read.train_labels == label]
        expected = pixels["train"][label][[number for _, number in wanted]]
        assert (found == expected.transpose(0, 3, 1, 2)).all()


def test_a_smaller_draw_is_part_of_a_larger_one(pixels: dict[str, Pixels]) -> None:
    images = pixels["train"][0].transpose(0, 3, 1, 2)
    assert (drawn(images, 2) == drawn(images, 5)[:2]).all()


def test_some_classes_only(pixels: dict[str, Pixels], tmp_path: Path) -> None:
    source = as_arrays(pixels, tmp_path, 1)
    to = tmp_path / "to"
    write_subset("cifar10", source, to, train_per_class=1, test_per_class=1, every_class=5)
    assert sorted(p.name for p in (to / "train").iterdir()) == ["class00", "class05"]


def test_what_cannot_be_drawn_is_said_and_leaves_nothing(
    pixels: dict[str, Pixels], tmp_path: Path
) -> None:
    source, to = as_arrays(pixels, tmp_path, 1), tmp_path / "to"
    few = {"train_per_class": 7, "test_per_class": 1}
    with pytest.raises(UserError, match="class 0 of cifar10 has 6 train images"):
        write_subset("cifar10", source, to, **few)
    one = {"train_per_class": 1, "test_per_class": 1}
    with pytest.raises(UserError, match="is not cifar100"):
        write_subset("cifar100", source, to, **one)
    for content in (b"", b"PK\x03\x04 no archive", b"\x80\x04."):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(UserError, match=r"bad\.npz cannot be read"):
            write_subset("cifar10", tmp_path / "bad.npz", to, **one)
    with pytest.raises(UserError, match="cifar10 is missing or damaged"):
        write_subset("cifar10", tmp_path / "nowhere", to, **one)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.npz", "bad.npz"]
    to.mkdir()
    with pytest.raises(UserError, match="exists; remove it"):
        write_subset("cifar10", source, to, **one)


def test_an_archive_that_unpacks_to_gigabytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orc_repro.data.subset.LARGEST_ARRAY", 10**6)
    zeros = np.zeros((1000, 32, 32, 3), np.uint8)
    np.savez_compressed(
        tmp_path / "a.npz", x_train=zeros, y_train=[0], x_test=zeros[:1], y_test=[0]
    )
    assert (tmp_path / "a.npz").stat().st_size < 10**5
    with pytest.raises(UserError, match="x_train has more than 1000000 bytes"):
        write_subset(
            "cifar10", tmp_path / "a.npz", tmp_path / "to", train_per_class=1, test_per_class=1
        )
