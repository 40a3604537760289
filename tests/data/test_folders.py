"""A class-folder tree is read in the order of names; every fault in one is one clear sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orc_repro.data.manifest import load_manifest
from orc_repro.data.prepared import load_split, write_prepared
from orc_repro.data.sources import Images, read_folder
from orc_repro.errors import UserError

CHECKOUT = Path(__file__).parents[2]
REAL_DATA = Path(os.environ.get("ORC_REAL_DATA", CHECKOUT.parent / "shared" / "data"))


def save_image(path: Path, seed: int, size: tuple[int, int] = (6, 5), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def make_tree(root: Path, splits: tuple[str, ...] = ("train", "test"), mode: str = "RGB") -> Path:
    """Classes ``bee`` and ``ant``, two images each; 6 pixels wide and 5 high."""
    seed = 0
    for split in splits:
        for name in ("bee", "ant"):
            for number in (1, 0):
                save_image(root / split / name / f"{number}.png", seed, mode=mode)
                seed += 1
    return root


def pixels_of(path: Path) -> Images:
    return np.asarray(Image.open(path)).transpose(2, 0, 1)


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    images = read_folder(make_tree(tmp_path))
    assert images.class_names == ("ant", "bee")
    assert images.train_images.shape == (4, 3, 5, 6)
    assert images.train_labels.tolist() == [0, 0, 1, 1]
    for i, file in enumerate(("ant/0.png", "ant/1.png", "bee/0.png", "bee/1.png")):
        assert np.array_equal(images.train_images[i], pixels_of(tmp_path / "train" / file))
        assert np.array_equal(images.test_images[i], pixels_of(tmp_path / "test" / file))
    assert images.validation_images is None


def test_the_order_of_the_file_system_does_not_matter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_tree(tmp_path)
    before = read_folder(tmp_path)
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: sorted(listdir(folder), reverse=True))
    after = read_folder(tmp_path)
    assert before.class_names == after.class_names
    assert np.array_equal(before.train_images, after.train_images)


def test_val_alone_is_the_test_split_and_beside_test_the_validation_split(tmp_path: Path) -> None:
    alone = read_folder(make_tree(tmp_path / "alone", ("train", "val")))
    first_val = pixels_of(tmp_path / "alone" / "val" / "ant" / "0.png")
    assert alone.validation_images is None
    assert np.array_equal(alone.test_images[0], first_val)

    both = read_folder(make_tree(tmp_path / "both", ("train", "val", "test")))
    assert both.validation_images is not None and both.validation_labels is not None
    assert np.array_equal(both.validation_images[0], first_val)
    assert both.validation_labels.tolist() == [0, 0, 1, 1]
    first_test = pixels_of(tmp_path / "both" / "test" / "ant" / "0.png")
    assert np.array_equal(both.test_images[0], first_test)


def test_grey_images_keep_one_channel_unless_one_has_colour(tmp_path: Path) -> None:
    make_tree(tmp_path, mode="L")
    grey = read_folder(tmp_path)
    file = tmp_path / "train" / "ant" / "0.png"
    assert grey.train_images.shape == grey.test_images.shape == (4, 1, 5, 6)
    assert np.array_equal(grey.train_images[0, 0], np.asarray(Image.open(file)))

    save_image(tmp_path / "test" / "bee" / "1.png", 99)
    mixed = read_folder(tmp_path)
    assert mixed.train_images.shape == (4, 3, 5, 6)
    assert np.array_equal(mixed.train_images[0, 2], grey.train_images[0, 0])


def test_hidden_files_and_files_beside_the_classes_are_left_out(tmp_path: Path) -> None:
    make_tree(tmp_path)
    for path in ("train/.DS_Store", "train/ant/.DS_Store", "test/bee/Thumbs.db", "train/list.txt"):
        (tmp_path / path).write_bytes(b"no image")
    (tmp_path / "train" / ".cache").mkdir()
    assert read_folder(tmp_path).train_labels.tolist() == [0, 0, 1, 1]


def test_links_inside_the_root_are_followed(tmp_path: Path) -> None:
    make_tree(tmp_path)
    (tmp_path / "train" / "ant" / "2.png").symlink_to(tmp_path / "train" / "ant" / "0.png")
    images = read_folder(tmp_path)
    assert images.train_labels.tolist() == [0, 0, 0, 1, 1]
    assert np.array_equal(images.train_images[2], images.train_images[0])


@pytest.mark.parametrize("linked", ["*", "*/*"])
def test_splits_and_classes_may_be_links_to_folders_elsewhere(linked: str, tmp_path: Path) -> None:
    root = make_tree(tmp_path / "images")
    expected = read_folder(root)
    for number, folder in enumerate(sorted(root.glob(linked))):
        folder.rename(tmp_path / str(number))
        folder.symlink_to(tmp_path / str(number))
    images = read_folder(root)
    assert images.class_names == expected.class_names
    assert np.array_equal(images.train_images, expected.train_images)
    assert np.array_equal(images.test_images, expected.test_images)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_files_that_dvc_checked_out_as_links_are_read(
    elsewhere: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, cache = make_tree(tmp_path / "images"), tmp_path / ".dvc" / "cache"
    expected = read_folder(root)
    (tmp_path / ".dvc").mkdir()
    if elsewhere:
        cache = tmp_path / "shared"
        (tmp_path / ".dvc" / "config.local").write_text("[cache]\n    dir = ../shared\n")
    for number, path in enumerate(sorted(root.glob("*/*/*"))):
        kept = cache / "files" / "md5" / f"{number:02x}" / "1"
        kept.parent.mkdir(parents=True)
        path.rename(kept)
        path.symlink_to(kept)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert np.array_equal(read_folder(root).train_images, expected.train_images)
    monkeypatch.setenv("DVC_ROOT", str(root))  # another project's cache is none of this one's
    with pytest.raises(UserError, match="is a link that leads out of"):
        read_folder(root)


def remove_class(root: Path) -> None:
    for file in (root / "test" / "bee").iterdir():
        file.unlink()
    (root / "test" / "bee").rmdir()


def empty_class(root: Path) -> None:
    for file in (root / "train" / "bee").iterdir():
        file.unlink()
    (root / "train" / "bee" / ".keep").touch()


def rename(old: str, new: str) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        (root / old).rename(root / new)

    return spoil


def resize_test(root: Path) -> None:
    for file in root.glob("test/*/*"):
        save_image(file, 0, size=(5, 6))


def truncate(root: Path) -> None:
    file = root / "train" / "bee" / "0.png"
    file.write_bytes(file.read_bytes()[:-40])


def damage(root: Path) -> None:
    file = root / "train" / "bee" / "0.png"
    content = bytearray(file.read_bytes())
    content[content.index(b"IDAT") + 20] ^= 1
    file.write_bytes(content)


def sixteen_bits(root: Path) -> None:
    Image.fromarray(np.full((5, 6), 40000, np.uint16)).save(root / "train" / "bee" / "0.png")


def link_out(root: Path) -> None:
    outside = root.parent / "outside.png"
    save_image(outside, 0)
    (root / "train" / "bee" / "2.png").symlink_to(outside)


FOLDER_ERRORS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing root": (rename(".", "../gone"), "the image folder {root} does not exist"),
    "no train": (rename("train", "training"), "{root} needs a folder train and a folder test or"),
    "no test": (rename("test", "tests"), "{root} needs a folder train and a folder test or val"),
    "no classes": (
        lambda root: [rename(f"train/{name}", name)(root) for name in ("ant", "bee")],
        "{root}/train needs two class folders or more; has 0",
    ),
    "one class": (
        rename("train/ant", "ant"),
        "{root}/train needs two class folders or more; has 1",
    ),
    "class without test": (remove_class, "class 'bee' has no folder in {root}/test"),
    "class without train": (
        lambda root: save_image(root / "test" / "cow" / "0.png", 0),
        "class 'cow' has no folder in {root}/train",
    ),
    "empty class": (empty_class, "the class folder {root}/train/bee has no images"),
    "empty file": (
        lambda root: (root / "train" / "bee" / "0.png").write_bytes(b""),
        "the image {root}/train/bee/0.png cannot be read: the file is empty",
    ),
    "truncated": (truncate, "the image {root}/train/bee/0.png cannot be read: "),
    "damaged": (damage, "the image {root}/train/bee/0.png cannot be read: "),
    "not an image": (
        lambda root: (root / "test" / "ant" / "notes.txt").write_text("a\nb"),
        "the image {root}/test/ant/notes.txt cannot be read: cannot identify image file",
    ),
    "folder in a class": (
        lambda root: (root / "train" / "ant" / "more").mkdir(),
        "{root}/train/ant/more is not a file",
    ),
    "mixed sizes": (
        lambda root: save_image(root / "train" / "bee" / "1.png", 0, size=(7, 5)),
        "{root}/train/bee/1.png is 7x5 pixels, but {root}/train/ant/0.png is 6x5",
    ),
    "another size in test": (
        resize_test,
        "{root}/test/ant/0.png is 5x6 pixels, but {root}/train/ant/0.png is 6x5",
    ),
    "16 bits": (sixteen_bits, "the image {root}/train/bee/0.png has pixels of mode I;16"),
    "link out of the root": (link_out, "{root}/train/bee/2.png is a link that leads out of"),
    "broken link": (
        lambda root: (root / "train" / "bee" / "2.png").symlink_to(root / "nothing.png"),
        "{root}/train/bee/2.png is not a file",
    ),
}


@pytest.mark.parametrize("case", FOLDER_ERRORS)
def test_a_fault_in_a_folder_is_one_sentence_that_names_it(case: str, tmp_path: Path) -> None:
    spoil, expected = FOLDER_ERRORS[case]
    root = make_tree(tmp_path / "images")
    spoil(root)
    with pytest.raises(UserError) as caught:
        read_folder(root)
    message = str(caught.value)
    assert expected.format(root=root) in message
    assert "\n" not in message


@pytest.mark.parametrize("limit", [20, 10])  # 30 pixels: a warning above 20, an error above 2*10
def test_an_absurdly_large_image_is_refused(
    limit: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_tree(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(UserError) as caught:
        read_folder(tmp_path)
    file = tmp_path / "train" / "ant" / "0.png"
    assert str(caught.value) == f"the image {file} is too large to be read safely"


def rows(images: Images) -> set[bytes]:
    return {image.tobytes() for image in images}


def test_real_cifar_images_as_a_folder(tmp_path: Path) -> None:
    unpack = REAL_DATA / "unpack.py"
    if not unpack.exists():
        pytest.skip(f"no real images in {REAL_DATA}; set ORC_REAL_DATA")
    sizes = ("--train-per-class", "20", "--test-per-class", "5")
    command = [sys.executable, str(unpack), "cifar10", "--to", str(tmp_path / "tree"), *sizes]
    subprocess.run(command, check=True, capture_output=True)
    images = read_folder(tmp_path / "tree")
    written = write_prepared(
        images, tmp_path / "set", dataset="small", validation_fraction=0.1, split_seed=0
    )
    manifest = load_manifest(tmp_path / "set")
    assert manifest == written
    assert manifest.counts == {"train": 10 * (18,), "validation": 10 * (2,), "test": 10 * (5,)}
    assert manifest.image_shape == (3, 32, 32)
    animals = ("bird", "cat", "deer", "dog", "frog", "horse")
    assert manifest.class_names == ("airplane", "automobile", *animals, "ship", "truck")
    train, _ = load_split(tmp_path / "set", "train")
    validation, _ = load_split(tmp_path / "set", "validation")
    assert rows(train) | rows(validation) == rows(images.train_images)
    assert rows(train) & rows(validation) == set()
    # CIFAR-10's published means; 180 images come near them.
    assert np.abs(np.array(manifest.mean) - [0.4914, 0.4822, 0.4465]).max() < 0.06
