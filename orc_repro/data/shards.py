"""Photographs stored once, resized, as raw pixels in large files that are mapped into memory.

To read an image then is to read the pixels of its crop: no file is opened and nothing decoded. A
shard is the pixels (uint8, row by row, RGB) of some consecutive images and, at the end, the SHA-256
of all of them. Its name has a hash of what it was made from, so that a preparation that was killed
goes on with the shards that are done, and never with another one's.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from orc_repro.data.photos import Pixels
from orc_repro.errors import UserError
from orc_repro.files import PARTIAL, remove_partials, sync_folder
from orc_repro.fingerprint import digest

SHARD_BYTES = 2**30  # at which the next one begins
TRAILER = hashlib.sha256().digest_size
_NAME = re.compile(r"^[a-z]+-[0-9]{5}-[0-9a-f]{16}\.rgb$")
_BLOCK = 2**22


def shrunk(sizes: npt.NDArray[np.int64], side: int) -> npt.NDArray[np.int64]:
    """Heights and widths after torchvision's Resize to ``side``, of those whose sides are longer.

    The shorter side becomes ``side``, the longer one keeps the ratio, rounded down. No image
    becomes larger, so a strip of any length takes no more than it did.
    """
    short = sizes.min(axis=1, keepdims=True)
    scaled = np.where(sizes == short, side, (side * sizes / short).astype(np.int64))
    return np.where(short > side, scaled, sizes)


@dataclass(frozen=True)
class Shard:
    """A shard to be: images ``start`` to ``stop`` (exclusive) of a split, ``bytes`` of pixels."""

    name: str
    start: int
    stop: int
    bytes: int


def planned_shards(
    split: str,
    sizes: npt.NDArray[np.int64],
    sha256: npt.NDArray[np.uint8],
    side: int,
    shard_bytes: int = SHARD_BYTES,
) -> list[Shard]:
    """The shards of a split, from the sizes of the images in them and the hashes of their files."""
    ends = np.cumsum(3 * sizes.prod(axis=1))
    found: list[Shard] = []
    start = done = 0
    while start < len(sizes):
        # As many images as fit, and one in any case.
        stop = max(int(np.searchsorted(ends, done + shard_bytes, side="right")), start + 1)
        key = digest({"side": side, "files": sha256[start:stop].tobytes().hex()})
        name = f"{split}-{len(found):05d}-{key[:16]}.rgb"
        found.append(Shard(name, start, stop, int(ends[stop - 1]) - done))
        start, done = stop, int(ends[stop - 1])
    return found


# --- writing ----------------------------------------------------------------------------------


def finished(folder: Path, shard: Shard) -> str | None:
    """SHA-256 of a shard's pixels, if it was written before and is as it was written."""
    path = folder / shard.name
    if not path.is_file() or path.stat().st_size != shard.bytes + TRAILER:
        return None
    found, left = hashlib.sha256(), shard.bytes
    with path.open("rb") as file:
        while left:
            block = file.read(min(left, _BLOCK))
            found.update(block)
            left -= len(block)
        return found.hexdigest() if file.read() == found.digest() else None


def write_shard(folder: Path, shard: Shard, images: Iterable[Pixels]) -> str:
    """Write a shard; it is there whole, and on the disk, or not at all.

    Returns:
        SHA-256 of its pixels.
    """
    path = folder / shard.name
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    found, size = hashlib.sha256(), 0
    try:
        with partial.open("wb") as file:
            for pixels in images:
                content = pixels.tobytes()
                found.update(content)
                size += len(content)
                file.write(content)
            file.write(found.digest())
            file.flush()
            os.fsync(file.fileno())
        if size != shard.bytes:
            raise AssertionError(f"{shard.name} has {size} bytes, not {shard.bytes}")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(folder)
    return found.hexdigest()


def make_room(folder: Path, missing: Iterable[Shard], dataset: str) -> None:
    """Make the folder, without what a killed process left behind.

    Raises:
        UserError: its disk cannot hold what is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_partials(folder)
    needed = sum(shard.bytes + TRAILER for shard in missing)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"the shards of {dataset} need {needed / 1e9:,.1f} GB in {folder}, where"
            f" {free / 1e9:,.1f} GB are free; use another shards.root, or form: folder"
        )


def remove_others(folder: Path, wanted: Iterable[str]) -> None:
    """Remove the shards of an earlier preparation."""
    kept = set(wanted)
    for path in folder.iterdir():
        if _NAME.match(path.name) and path.name not in kept:
            path.unlink(missing_ok=True)


# --- reading ----------------------------------------------------------------------------------


class ShardPhotos:
    """Pixels of a split's images from its shards, which are mapped when first read."""

    def __init__(
        self,
        folder: Path,
        dataset: str,
        sizes: npt.NDArray[np.int64],
        shards: list[tuple[Shard, str]],
    ) -> None:
        """Look at every shard's size and trailer; the pixels are verified by ``prepare``.

        Args:
            folder: where the shards are.
            dataset: what to prepare again if they are not as they were written.
            sizes: height and width of each image.
            shards: with the SHA-256 of each one's pixels.

        Raises:
            UserError: a shard is missing, or is not the one that was written.
        """
        for shard, found in shards:
            _check(folder / shard.name, shard.bytes, found, dataset)
        self._paths = [folder / shard.name for shard, _ in shards]
        self._bytes = [shard.bytes for shard, _ in shards]
        self._sizes = sizes
        self._starts = np.array([shard.start for shard, _ in shards], dtype=np.int64)
        ends = np.cumsum(3 * sizes.prod(axis=1))
        begins = np.concatenate([[0], ends[:-1]])
        self._shard = np.searchsorted(self._starts, np.arange(len(sizes)), side="right") - 1
        self._begin = begins - begins[self._starts][self._shard]
        self._maps: dict[int, npt.NDArray[np.uint8]] = {}

    def pixels(self, image: int) -> Pixels:
        """An image; only the pages that are looked at are read."""
        number = int(self._shard[image])
        if number not in self._maps:
            self._maps[number] = np.memmap(
                self._paths[number], dtype=np.uint8, mode="r", shape=(self._bytes[number],)
            )
        begin = int(self._begin[image])
        height, width = self._sizes[image].tolist()
        flat = self._maps[number][begin : begin + 3 * height * width]
        return flat.reshape(height, width, 3)


def _check(path: Path, size: int, found: str, dataset: str) -> None:
    again = f"run `orc-repro prepare {dataset}` again"
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != size + TRAILER:
                raise UserError(f"{path} is damaged (it does not hold {size} bytes); {again}")
            file.seek(size)
            if file.read().hex() != found:
                raise UserError(f"{path} is damaged (its SHA-256 is not the manifest's); {again}")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; {again}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
