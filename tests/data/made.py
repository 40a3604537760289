"""A small made-up dataset for the tests of the prepared set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from orc_repro.data.manifest import Manifest
from orc_repro.data.prepared import write_prepared
from orc_repro.data.sources import SourceImages


def make_source(per_class: int = 20, classes: int = 3, **changes: Any) -> SourceImages:
    """Random 4x5 colour images, each of its own."""
    generator = np.random.default_rng(0)

    def images(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return generator.integers(0, 256, (count, 3, 4, 5), dtype=np.uint8)

    source = SourceImages(
        train_images=images(per_class * classes),
        train_labels=np.tile(np.arange(classes), per_class),
        validation_images=None,
        validation_labels=None,
        test_images=images(2 * classes),
        test_labels=np.repeat(np.arange(classes), 2),
        class_names=tuple(f"class {i}" for i in range(classes)),
        source="made",
        version="1",
    )
    return replace(source, **changes)


def write(source: SourceImages, folder: Path, seed: int = 0, fraction: float = 0.1) -> Manifest:
    return write_prepared(
        source, folder, dataset="small", validation_fraction=fraction, split_seed=seed
    )
