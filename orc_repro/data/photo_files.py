"""Pixels of photographs from their files, each of which is verified when it is read."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from orc_repro.data.index import Index
from orc_repro.data.photos import Pixels, decode
from orc_repro.errors import UserError


class FilePhotos:
    """A split's images from a tree of class folders."""

    def __init__(self, root: Path, index: Index, dataset: str) -> None:
        self._root, self._index, self._dataset = root, index, dataset

    def pixels(self, image: int) -> Pixels:
        """An image, whole.

        Raises:
            UserError: its file is not there, or not the one that was prepared.
        """
        path = self._root / self._index.path(image)
        again = f"put it back, or run `orc-repro prepare {self._dataset}` again"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"the image {path} cannot be read: {error.strerror}; {again}") from None
        if hashlib.sha256(content).digest() != self._index.sha256[image].tobytes():
            raise UserError(f"the image {path} has changed since it was prepared; {again}")
        return np.asarray(decode(content, path))
