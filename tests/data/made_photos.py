"""Trees of photographs at ImageNet's sizes: real ones where there are any, else gradients.

``make_tree`` makes class folders as ImageNet has them, with the odd files that ImageNet has too;
``photo_config`` and ``photo_params`` are what params.yaml would say of such a tree.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from orc_repro.config import ImagenetData, Params, load_params
from orc_repro.data.photo_manifest import PhotoManifest
from orc_repro.data.photo_set import write_photo_set
from orc_repro.data.photo_tree import read_tree
from orc_repro.validation import parse
from tests.project import REAL, ROOT

SAMPLE = REAL / "imagenet-sample"
SIZES = ((500, 375), (375, 500), (500, 333), (640, 480), (300, 280), (400, 279))
ODD = ("grey", "cmyk", "turned", "tiny", "strip", "png", "palette", "transparent")


def make_tree(
    root: Path,
    classes: int = 4,
    per_class: int = 6,
    held_out: int = 2,
    splits: tuple[str, ...] = ("train", "val"),
    odd: bool = True,
    real: bool = True,
    scale: float = 1.0,
) -> Path:
    """``root/<split>/<wnid>/*.JPEG``; returns ``root``.

    Args:
        per_class: training images of a class; ``held_out`` of it in every other split.
        odd: whether the first training images are those of :func:`odd_photo`, each once.
        real: whether to take photographs from the sample, where it lies beside the checkout.
        scale: of the sides of made images; small ones are soon read.
    """
    sample = sorted(SAMPLE.glob("*.JPEG")) if real and scale == 1.0 else []
    made = 0
    for split in splits:
        for kind in range(classes):
            folder = root / split / f"n{1000 + kind:08d}"
            folder.mkdir(parents=True)
            for number in range(per_class if split == "train" else held_out):
                path = folder / f"{folder.name}_{number}.JPEG"
                if sample:
                    path.write_bytes(sample[made % len(sample)].read_bytes())
                else:
                    width, height = SIZES[made % len(SIZES)]
                    path.write_bytes(photo(made, (int(scale * width), int(scale * height))))
                made += 1
    if odd:
        files = sorted((root / "train").glob("*/*.JPEG"))
        for path, kind_of in zip(files[:: max(1, len(files) // len(ODD))], ODD, strict=False):
            path.write_bytes(odd_photo(kind_of))
    return root


def pixels_of(seed: int, size: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Gradients with some noise, [height, width, 3]."""
    draw = np.random.default_rng(seed)
    width, height = size
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [
        127 + 90 * np.sin((rows * a + columns * b) / 40) for a, b in draw.uniform(-1, 1, (3, 2))
    ]
    noise = draw.normal(0, 12, (height, width, 3))
    found: np.ndarray[Any, np.dtype[np.uint8]] = np.clip(np.stack(waves, 2) + noise, 0, 255).astype(
        np.uint8
    )
    return found


def photo(seed: int, size: tuple[int, int] = (500, 375)) -> bytes:
    """A JPEG of its own for each seed."""
    return _encoded(Image.fromarray(pixels_of(seed, size)), "JPEG", quality=90)


def odd_photo(kind: str) -> bytes:
    """A file that ImageNet might hold: see ``ODD``."""
    image = Image.fromarray(pixels_of(len(kind), (120, 90)))
    match kind:
        case "grey":
            return _encoded(image.convert("L"), "JPEG")
        case "cmyk":
            return _encoded(image.convert("CMYK"), "JPEG")
        case "turned":
            exif = Image.Exif()
            exif[0x0112] = 6  # to be turned by a quarter, says the camera
            return _encoded(image, "JPEG", exif=exif)
        case "tiny":
            return _encoded(image.resize((3, 2)), "JPEG")
        case "strip":
            return _encoded(image.resize((700, 9)), "JPEG")
        case "png":
            return _encoded(image, "PNG")
        case "palette":
            return _encoded(image.convert("P"), "PNG")
        case "transparent":
            return _encoded(image.convert("RGBA"), "PNG")
    raise AssertionError(kind)


def _encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    written = io.BytesIO()
    image.save(written, form, **options)
    return written.getvalue()


def photo_entry(root: Path, classes: int = 4, **changes: Any) -> dict[str, Any]:
    """An entry of params.yaml's data, with the numbers of the project's own."""
    entry = {
        "source": "imagenet",
        "root": str(root),
        "classes": classes,
        "validation_fraction": 0.34,
        "split_seed": 0,
        "form": "folder",
        "shards": {"root": str(root.parent / "shards"), "side": 256},
        "resize": 256,
        "crop": 224,
        "crop_area": [0.08, 1.0],
        "crop_ratio": [0.75, 1.3333333333333333],
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    return entry | changes


def photo_config(root: Path, classes: int = 4, **changes: Any) -> ImagenetData:
    return parse(ImagenetData, photo_entry(root, classes, **changes), "test")


def photo_params(config: ImagenetData, workers: int = 0) -> Params:
    """The project's own params.yaml, with the tree as its dataset ``photos``."""
    params = load_params(ROOT / "params.yaml")
    loader = params.loader.model_copy(update={"workers": workers})
    return params.model_copy(update={"data": {"photos": config}, "loader": loader})


def prepare_photos(config: ImagenetData, folder: Path) -> PhotoManifest:
    return write_photo_set(read_tree(Path(config.root), config.classes), config, folder, "photos")
