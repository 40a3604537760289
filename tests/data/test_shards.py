"""Shards hold what torchvision's Resize makes of an image; what is damaged is made again."""

from __future__ import annotations

import hashlib
import shutil
from collections import namedtuple
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orc_repro._torchvision import import_torchvision
from orc_repro.data import photo_set, shards
from orc_repro.data.index import load_index
from orc_repro.data.photo_manifest import PhotoManifest
from orc_repro.data.shards import ShardPhotos, planned_shards, shrunk
from orc_repro.errors import UserError
from tests.data.made_photos import make_tree, photo_config, prepare_photos

SIDE = 24
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of 24 + 8 + 8 images; a few fit into a shard."""
    monkeypatch.setattr(photo_set, "planned_shards", partial(planned_shards, shard_bytes=20_000))
    return make_tree(tmp_path / "tree", splits=("train", "val", "test"), scale=0.16)


def prepared(root: Path, side: int = SIDE) -> PhotoManifest:
    place = {"root": str(root.parent / "shards"), "side": side}
    config = photo_config(root, form="shards", shards=place, resize=20, crop=16)
    return prepare_photos(config, root.parent / "set")


def opened(root: Path, manifest: PhotoManifest, split: str = "train") -> ShardPhotos:
    index = load_index(root.parent / "set", split, manifest)
    planned = planned_shards(split, index.sizes, index.sha256, SIDE, shard_bytes=20_000)
    described = [(shard, manifest.shards.get(shard.name, "")) for shard in planned]
    return ShardPhotos(root.parent / "shards" / "photos", "photos", index.sizes, described)


def files(root: Path) -> dict[str, tuple[int, bytes]]:
    """Of each shard when it was written, and its content."""
    return {
        path.name: (path.stat().st_mtime_ns, path.read_bytes())
        for path in (root.parent / "shards" / "photos").iterdir()
    }


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((375, 500), (256, 341)),  # 256 * 500 / 375 = 341.3
        ((500, 333), (384, 256)),  # 256 * 500 / 333 = 384.4
        ((256, 900), (256, 900)),
        ((20, 9000), (20, 9000)),
        ((600, 600), (256, 256)),
    ],
)
def test_the_shorter_side_becomes_the_shards_and_none_grows(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert tuple(shrunk(np.array([size]), 256)[0]) == expected


def test_a_shard_has_what_torchvision_s_resize_makes(root: Path) -> None:
    import_torchvision()
    from torchvision.datasets.folder import default_loader
    from torchvision.transforms import v2

    manifest = prepared(root)
    for split in ("train", "validation", "test"):
        index = load_index(root.parent / "set", split, manifest)
        photos = opened(root, manifest, split)
        shrank = 0
        for i in range(len(index)):
            image: Image.Image = default_loader(str(root / index.path(i)))
            expected = v2.Resize(SIDE)(image) if min(image.size) > SIDE else image
            assert np.array_equal(photos.pixels(i), np.asarray(expected))
            shrank += expected is not image
        assert 0 < shrank <= len(index)


def test_images_follow_each_other_until_a_shard_is_full() -> None:
    sizes = np.array([[1, 2], [2, 2], [10, 10], [1, 1], [1, 1]])  # 6, 12, 300, 3 and 3 bytes
    planned = planned_shards("train", sizes, np.zeros((5, 32), np.uint8), 256, shard_bytes=18)
    assert [(s.start, s.stop, s.bytes) for s in planned] == [(0, 2, 18), (2, 3, 300), (3, 5, 6)]
    assert [s.name[:11] for s in planned] == ["train-00000", "train-00001", "train-00002"]
    other = planned_shards("train", sizes, np.ones((5, 32), np.uint8), 256, shard_bytes=18)
    assert not {s.name for s in planned} & {s.name for s in other}


def test_a_shard_is_pixels_and_their_hash(root: Path) -> None:
    manifest = prepared(root)
    written = files(root)
    assert set(written) == set(manifest.shards) and len(written) > 5
    for name, (_, content) in written.items():
        assert hashlib.sha256(content[:-32]).digest() == content[-32:]
        assert content[-32:].hex() == manifest.shards[name]


def test_a_preparation_that_was_killed_goes_on_with_what_is_done(root: Path) -> None:
    manifest = prepared(root)
    before = files(root)
    folder = root.parent / "shards" / "photos"
    lost, cut, flipped, *_ = sorted(before)
    (folder / lost).unlink()
    (folder / cut).write_bytes(before[cut][1][:-1])
    (folder / flipped).write_bytes(b"\1" + before[flipped][1][1:])
    (folder / f".{lost}.1234.partial").write_bytes(b"half of one")
    assert prepared(root) == manifest
    after = files(root)
    assert {name: content for name, (_, content) in after.items()} == {
        name: content for name, (_, content) in before.items()
    }
    kept = {name for name, entry in before.items() if after[name] == entry}
    assert kept == set(before) - {lost, cut, flipped}


def test_an_error_on_the_way_leaves_whole_shards_and_the_former_set(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = shards.write_shard
    done: list[str] = []

    def fails(*about: object) -> str:
        if len(done) == 2:
            raise OSError(28, "No space left on device")
        done.append("one")
        return write(*about)  # type: ignore[arg-type]

    monkeypatch.setattr(photo_set, "write_shard", fails)
    with pytest.raises(UserError, match=r"cannot be written to .*: .*No space left on device"):
        prepared(root)
    assert not (root.parent / "set").exists()
    written = files(root)
    assert len(written) == 2
    assert all(hashlib.sha256(c[:-32]).digest() == c[-32:] for _, c in written.values())


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9 - 50_000, 50_000))
    with pytest.raises(UserError, match=r"the shards of photos need 0\.0 GB in .*, where 0\.0 GB"):
        prepared(root)
    assert files(root) == {}


def test_another_preparation_takes_the_former_one_s_place(root: Path) -> None:
    prepared(root)
    before = files(root)
    (root.parent / "shards" / "photos" / "notes.txt").write_text("somebody's own")
    manifest = prepared(root, side=20)
    assert set(files(root)) == {*manifest.shards, "notes.txt"}
    assert not set(manifest.shards) & set(before)


def test_a_shard_that_is_not_as_it_was_written_is_refused(root: Path) -> None:
    manifest = prepared(root)
    before = files(root)
    path = root.parent / "shards" / "photos" / min(n for n in before if n.startswith("train"))
    content = before[path.name][1]
    again = "run `orc-repro prepare photos` again"
    for spoiled, reason in (
        (content[:-1], f"it does not hold {len(content) - 32} bytes"),
        (content + b"\0", f"it does not hold {len(content) - 32} bytes"),
        (content[:-1] + bytes([content[-1] ^ 1]), "its SHA-256 is not the manifest's"),
    ):
        path.write_bytes(spoiled)
        with pytest.raises(UserError) as caught:
            opened(root, manifest)
        assert str(caught.value) == f"{path} is damaged ({reason}); {again}"
    path.unlink()
    with pytest.raises(UserError, match=rf"{path.name} does not exist; {again}"):
        opened(root, manifest)
    opened(root, manifest, "test")  # the other splits' are not looked at
