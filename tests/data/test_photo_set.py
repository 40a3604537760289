"""Every file of a tree of photographs is looked at once; what cannot be used is one sentence."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orc_repro._torchvision import import_torchvision
from orc_repro.data import photo_set
from orc_repro.data.index import load_index
from orc_repro.data.manifest import load_manifest
from orc_repro.data.photo_manifest import PhotoManifest, load_any_manifest
from orc_repro.data.photo_tree import read_tree
from orc_repro.data.photos import checked_size, decode
from orc_repro.data.sources import draw_stratified
from orc_repro.errors import UserError
from tests.data.made import make_source, write
from tests.data.made_photos import (
    ODD,
    make_tree,
    odd_photo,
    photo,
    photo_config,
    pixels_of,
    prepare_photos,
)

WNID = "n00001001"


def tree_of(tmp_path: Path, splits: tuple[str, ...] = ("train", "val"), odd: bool = False) -> Path:
    return make_tree(tmp_path / "tree", classes=3, splits=splits, odd=odd, scale=0.1)


def prepared(root: Path, **changes: object) -> PhotoManifest:
    return prepare_photos(photo_config(root, 3, **changes), root.parent / "set")


def paths_of(manifest: PhotoManifest, folder: Path, split: str) -> list[str]:
    index = load_index(folder, split, manifest)
    return [index.path(i) for i in range(len(index))]


def test_val_alone_is_the_test_split_and_validation_is_drawn_from_train(tmp_path: Path) -> None:
    root = tree_of(tmp_path)
    (root / "test").mkdir()  # as ImageNet's: a hundred thousand files, no classes
    (root / "test" / "ILSVRC2012_test_00000001.JPEG").write_bytes(b"not looked at")
    manifest = prepared(root)
    assert manifest.class_names == ("n00001000", WNID, "n00001002")
    assert manifest.counts == {"train": (4,) * 3, "validation": (2,) * 3, "test": (2,) * 3}
    assert manifest.validation_fraction == 0.34
    assert manifest.image_shape == (3, 224, 224) and manifest.mean == (0.485, 0.456, 0.406)
    everything = sorted(path.relative_to(root).as_posix() for path in root.glob("train/*/*"))
    generator = np.random.default_rng(np.random.SeedSequence([0, 1]))
    _, drawn = draw_stratified(np.repeat([0, 1, 2], 6), 0.34, generator)
    expected = [path for path, chosen in zip(everything, drawn, strict=True) if chosen]
    assert paths_of(manifest, tmp_path / "set", "validation") == expected
    train = paths_of(manifest, tmp_path / "set", "train")
    assert sorted(train + expected) == everything and train == sorted(train)


def test_with_a_test_split_val_is_the_validation_split(tmp_path: Path) -> None:
    manifest = prepared(tree_of(tmp_path, ("train", "val", "test")))
    assert manifest.counts == {"train": (6,) * 3, "validation": (2,) * 3, "test": (2,) * 3}
    assert manifest.validation_fraction is None
    assert paths_of(manifest, tmp_path / "set", "validation")[0].startswith("val/n00001000/")
    assert paths_of(manifest, tmp_path / "set", "test")[0].startswith("test/n00001000/")


def test_a_manifest_is_the_same_again_and_another_for_other_pixels(tmp_path: Path) -> None:
    root = tree_of(tmp_path)
    first = prepared(root)
    assert load_any_manifest(tmp_path / "set") == first == prepared(root)
    assert prepared(root, crop=200).digest != first.digest
    moved = root.rename(tmp_path / "moved")
    assert prepared(moved).digest == first.digest
    (moved / "train" / WNID / f"{WNID}_0.JPEG").write_bytes(photo(99, (40, 30)))
    assert prepared(moved).digest != first.digest


def test_the_manifest_of_images_of_one_size_is_read_as_before(tmp_path: Path) -> None:
    write(make_source(), tmp_path / "set")
    assert load_any_manifest(tmp_path / "set") == load_manifest(tmp_path / "set")
    (tmp_path / "set" / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        load_any_manifest(tmp_path / "set")


def test_an_index_has_sizes_and_hashes_of_the_files(tmp_path: Path) -> None:
    root = tree_of(tmp_path, odd=True)
    manifest = prepared(root)
    index = load_index(tmp_path / "set", "train", manifest)
    for i in range(len(index)):
        content = (root / index.path(i)).read_bytes()
        assert index.sha256[i].tobytes() == hashlib.sha256(content).digest()
        with Image.open(io.BytesIO(content)) as image:
            assert index.sizes[i].tolist() == [image.height, image.width]
        assert manifest.class_names[index.labels[i]] == index.path(i).split("/")[1]


@pytest.mark.parametrize("kind", ODD)
def test_odd_files_are_read_as_torchvision_reads_them(kind: str, tmp_path: Path) -> None:
    import_torchvision()
    from torchvision.datasets.folder import default_loader

    path = tmp_path / "odd.JPEG"
    path.write_bytes(odd_photo(kind))
    found = decode(path.read_bytes(), path)
    assert found.mode == "RGB"
    assert np.array_equal(np.asarray(found), np.asarray(default_loader(str(path))))
    assert checked_size(path.read_bytes(), path) == (found.height, found.width)


def test_a_camera_s_turn_is_not_applied() -> None:
    turned = decode(odd_photo("turned"), Path("turned.JPEG"))
    assert turned.size == (120, 90)  # a quarter turn would make it 90 wide


def deep(content: bytes) -> bytes:
    written = io.BytesIO()
    Image.fromarray(np.full((20, 20), 40_000, dtype=np.uint16)).save(written, "PNG")
    return written.getvalue()


def wide(content: bytes) -> bytes:
    written = io.BytesIO()
    Image.new("L", (20_000, 4_000)).save(written, "PNG")
    return written.getvalue()


UNUSABLE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut short": (lambda content: content[: len(content) // 2], "cannot be read: "),
    "empty": (lambda content: b"", "cannot be read: the file is empty"),
    "text": (lambda content: b"<html>not found</html>", "cannot be read: it is no image"),
    "16 bits": (deep, "has pixels of mode I;16; save it with 8 bits a channel"),
    "too large": (wide, "has 20000x4000 pixels; more than 67,108,864 are not read"),
}


@pytest.mark.parametrize("fault", UNUSABLE)
def test_what_cannot_be_used_is_named_before_training(fault: str, tmp_path: Path) -> None:
    root, (spoil, reason) = tree_of(tmp_path), UNUSABLE[fault]
    path = root / "train" / WNID / f"{WNID}_2.JPEG"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(UserError) as caught:
        prepared(root)
    sentence = str(caught.value)
    assert str(path) in sentence and reason in sentence and "\n" not in sentence
    assert sentence.endswith("; replace or remove it")
    other = path.with_name(f"{WNID}_4.JPEG")
    other.write_bytes(b"")
    shutil.copy(path, root / "train" / "n00001002" / "last.JPEG")
    with pytest.raises(UserError, match=r"_2\.JPEG .*more images?\)"):
        prepared(root)
    assert not (tmp_path / "set").exists()


def one_class_less(root: Path) -> None:
    shutil.rmtree(root / "train" / WNID)
    shutil.rmtree(root / "val" / WNID)


def clear(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def lead_out(root: Path) -> None:
    (root / "val").rename(root.parent / "out")
    (root / "val").symlink_to(root.parent / "out")


def lead_out_of_a_linked_split(root: Path) -> None:
    lead_out(root)
    (root / "val" / WNID / "x.JPEG").symlink_to("/etc/passwd")


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "the image folder {root} does not exist"),
    "no train": (lambda root: shutil.rmtree(root / "train"), "needs class folders in train and"),
    "no val": (lambda root: shutil.rmtree(root / "val"), "needs class folders in train and in val"),
    "a class less": (one_class_less, "{root}/train has 2 class folders; there have to be 3"),
    "a class of val less": (
        lambda root: shutil.rmtree(root / "val" / WNID),
        f"class '{WNID}' has no folder in {{root}}/val",
    ),
    "a class of val more": (
        lambda root: shutil.copytree(root / "val" / WNID, root / "val" / "n9"),
        "class 'n9' has no folder in {root}/train",
    ),
    "an empty class": (
        lambda root: clear(root / "val" / WNID),
        f"the class folder {{root}}/val/{WNID} has no images",
    ),
    "a folder in a class": (
        lambda root: (root / "train" / WNID / "more").mkdir(),
        f"{{root}}/train/{WNID}/more is not a file; a class folder holds images only",
    ),
    "a pipe": (
        lambda root: os.mkfifo(root / "train" / WNID / "pipe.JPEG"),
        f"{{root}}/train/{WNID}/pipe.JPEG is not a file",
    ),
    "a link that leads out": (
        lambda root: (root / "train" / WNID / "x.JPEG").symlink_to("/etc/passwd"),
        "is a link that leads out of {root}",
    ),
    "a link that leads out of a linked split": (
        lead_out_of_a_linked_split,
        "is a link that leads out of {root}",
    ),
    "a broken link": (
        lambda root: (root / "train" / WNID / "x.JPEG").symlink_to(root / "nowhere"),
        "x.JPEG cannot be read: No such file or directory",
    ),
    "a name that cannot be shown": (
        lambda root: (root / "train" / WNID / "a\x1b[2J.JPEG").write_bytes(b""),
        "has a name with a character that cannot be shown: a?[2J.JPEG",
    ),
}


def test_a_split_may_be_a_link_to_a_folder_elsewhere(tmp_path: Path) -> None:
    root = tree_of(tmp_path)
    expected = read_tree(root, 3).listing
    lead_out(root)
    assert read_tree(root, 3).listing == expected


@pytest.mark.parametrize("fault", WRONG)
def test_a_tree_that_is_not_as_it_should_be(fault: str, tmp_path: Path) -> None:
    root, (change, sentence) = tree_of(tmp_path), WRONG[fault]
    change(root)
    with pytest.raises(UserError) as caught:
        read_tree(root, 3)
    assert sentence.format(root=root) in str(caught.value)


def test_a_class_that_is_all_drawn_away_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="class 'n00001000' would have no image in the validation"):
        prepared(tree_of(tmp_path), validation_fraction=0.01)


def test_a_listing_changes_with_names_and_sizes(tmp_path: Path) -> None:
    root = tree_of(tmp_path)
    first = read_tree(root, 3).listing
    files = [path for path in root.rglob("*") if path.is_file()]
    assert (first.files, first.bytes) == (24, sum(path.stat().st_size for path in files))
    lines = "".join(
        f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\n"
        for split in ("train", "val")
        for path in sorted((root / split).glob("*/*"))
    )
    assert first.sha256 == hashlib.sha256(lines.encode()).hexdigest()
    files[0].rename(files[0].with_name("other.JPEG"))
    second = read_tree(root, 3).listing
    files[1].write_bytes(files[1].read_bytes() + b"\0")
    third = read_tree(root, 3).listing
    assert len({first.sha256, second.sha256, third.sha256}) == 3


def test_an_index_that_is_not_the_manifest_s_is_refused(tmp_path: Path) -> None:
    manifest = prepared(tree_of(tmp_path))
    path = tmp_path / "set" / "train.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match="its SHA-256 is not the manifest's"):
        load_index(tmp_path / "set", "train", manifest)
    path.unlink()
    with pytest.raises(UserError, match=r"does not exist; run `orc-repro prepare set` again"):
        load_index(tmp_path / "set", "train", manifest)
    about = tmp_path / "set" / "manifest.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"form": "shards"}))
    with pytest.raises(UserError, match=r"is damaged \(form shards does not go with"):
        load_any_manifest(tmp_path / "set")


def test_as_many_pieces_as_there_are_are_worked_on_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(photo_set, "WINDOW", 3)
    assert list(photo_set.side_by_side(lambda i: i * i, range(8))) == [i * i for i in range(8)]
    assert pixels_of(0, (4, 3)).shape == (3, 4, 3)
