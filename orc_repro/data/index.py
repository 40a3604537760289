"""Which images a split of photographs has, as a few arrays.

No Python object an image: worker processes share the arrays as they are, and a million images take
about a hundred megabytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from orc_repro.data.manifest import damaged
from orc_repro.data.photo_manifest import PhotoManifest, index_name
from orc_repro.errors import UserError
from orc_repro.files import read_file


@dataclass(frozen=True)
class Index:
    """The images of a split; row i of each array is of image i.

    Attributes:
        text: uint8, the paths below the root one after another, as the file system has them.
        ends: int64 [N], where in ``text`` each path ends.
        labels: int64 [N].
        sizes: int64 [N, 2], height and width of the pixels that are read.
        sha256: uint8 [N, 32], of the file.
    """

    text: npt.NDArray[np.uint8]
    ends: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    sha256: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)

    def path(self, image: int) -> str:
        """Of an image, below the root."""
        start = self.ends[image - 1] if image else 0
        return os.fsdecode(self.text[start : self.ends[image]].tobytes())

    def content(self) -> bytes:
        """What is written; the same for the same images."""
        from safetensors.numpy import save

        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        content: bytes = save({k: np.ascontiguousarray(array) for k, array in arrays.items()})
        return content


def make_index(
    paths: Sequence[str],
    labels: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    sha256: npt.NDArray[np.uint8],
) -> Index:
    """An index of images in an order."""
    encoded = [os.fsencode(path) for path in paths]
    return Index(
        text=np.frombuffer(b"".join(encoded), dtype=np.uint8),
        ends=np.cumsum([len(path) for path in encoded], dtype=np.int64),
        labels=labels,
        sizes=sizes,
        sha256=sha256,
    )


def digest_of(content: bytes) -> str:
    """SHA-256 of an index as it is written."""
    return hashlib.sha256(content).hexdigest()


def load_index(folder: Path, split: str, manifest: PhotoManifest) -> Index:
    """Read and verify the index of a split of a prepared set.

    Raises:
        UserError: it is missing, or not the one that the manifest describes.
    """
    from safetensors.numpy import load

    path = folder / index_name(split)
    try:
        content = read_file(path)
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist; run `orc-repro prepare {folder.name}` again"
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if digest_of(content) != manifest.sha256[index_name(split)]:
        raise damaged(path, folder, "its SHA-256 is not the manifest's")
    index = Index(**load(content))
    counts = np.bincount(index.labels, minlength=manifest.num_classes)
    if tuple(counts.tolist()) != manifest.counts[split]:
        raise damaged(path, folder, "its images are not as many as the manifest says")
    return index
