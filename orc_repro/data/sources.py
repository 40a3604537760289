"""Where images come from: scikit-learn's digits, CIFAR through torchvision, or a class-folder tree.

Every reader returns the same thing, :class:`SourceImages`, in an order that depends on nothing but
the images themselves.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Literal
from unicodedata import category

import numpy as np
import numpy.typing as npt
from PIL import Image

from orc_repro._torchvision import import_torchvision
from orc_repro.deadline import download_within
from orc_repro.errors import UserError, one_line
from orc_repro.memory import fits_into_memory
from orc_repro.progress import Work
from orc_repro.project import dvc_cache

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Bounds = tuple[Path, ...]

# What file managers leave behind, besides hidden files.
_LITTER = frozenset({"Thumbs.db", "desktop.ini"})
# Control characters, line breaks and bytes that are no text.
_UNSHOWN = frozenset({"Cc", "Cs", "Zl", "Zp"})
# Of all that Pillow reads: it starts Ghostscript for a PostScript file.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
# Modes with at most 8 bits a value; 16 bits would be clipped to white without a word.
_EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
_GREY_MODES = frozenset({"1", "L"})


@dataclass(frozen=True)
class SourceImages:
    """A dataset as its source gives it.

    Attributes:
        train_images: uint8 [N, C, H, W], values 0..255.
        train_labels: int64 [N], index into ``class_names``.
        validation_images: the source's own validation split, or None.
        validation_labels: its labels, or None.
        test_images: uint8 [M, C, H, W].
        test_labels: int64 [M].
        class_names: one name a label.
        source: which reader this came from.
        version: what it read; differs where the images may differ.
    """

    train_images: Images
    train_labels: Labels
    validation_images: Images | None
    validation_labels: Labels | None
    test_images: Images
    test_labels: Labels
    class_names: tuple[str, ...]
    source: str
    version: str


def draw_stratified(
    labels: Labels, fraction: float, generator: np.random.Generator
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Draw the same fraction of every class, rounded to whole images.

    Returns:
        Two masks over ``labels``: what stays, and what was drawn.
    """
    drawn = np.zeros(len(labels), dtype=np.bool_)
    for label in range(labels.max() + 1):
        members = np.flatnonzero(labels == label)
        drawn[generator.permutation(members)[: round(fraction * len(members))]] = True
    return ~drawn, drawn


# --- digits -----------------------------------------------------------------------------------


def read_digits(test_fraction: float, split_seed: int) -> SourceImages:
    """The 1,797 handwritten digits that come with scikit-learn: [1, 8, 8], no download.

    They have no official test split; one is drawn, stratified, from ``split_seed``.

    Raises:
        UserError: ``test_fraction`` leaves a class without a test or a training image.
    """
    from sklearn.datasets import load_digits  # here: slow to import, and no other source needs it

    digits = load_digits()
    images = np.rint(digits.images[:, np.newaxis] * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.int64)
    generator = np.random.default_rng(np.random.SeedSequence([split_seed, 0]))
    train, test = draw_stratified(labels, test_fraction, generator)
    if len(np.unique(labels[train])) < 10 or len(np.unique(labels[test])) < 10:
        raise UserError(
            f"test_fraction {test_fraction} leaves a digit without a training or a test image"
        )
    return SourceImages(
        train_images=images[train],
        train_labels=labels[train],
        validation_images=None,
        validation_labels=None,
        test_images=images[test],
        test_labels=labels[test],
        class_names=tuple(str(digit) for digit in range(10)),
        source="digits",
        version="UCI optical recognition of handwritten digits, 1797 images",
    )


# --- CIFAR ------------------------------------------------------------------------------------


def read_cifar(name: Literal["cifar10", "cifar100"], root: Path, download: bool) -> SourceImages:
    """CIFAR-10 or CIFAR-100, [3, 32, 32], with the official test split.

    Raises:
        UserError: the files below ``root`` are missing or damaged, or cannot be downloaded.
    """
    import_torchvision()
    from torchvision import datasets

    reader = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    try:
        if download:
            download_within(lambda: reader(root, train=True, download=True))
        train = reader(root, train=True, download=False)
        test = reader(root, train=False, download=False)
    # torchvision checks MD5 sums (RuntimeError) and reads what it downloads (EOFError: cut short).
    except (RuntimeError, OSError, EOFError, HTTPException) as error:
        if download:
            reason = " ".join(str(error).split())
            raise UserError(
                f"{name} cannot be downloaded to {root} ({reason}); with a network, remove damaged"
                f" files there and try again, or put the unpacked {reader.filename} there"
            ) from None
        raise UserError(
            f"{name} is missing or damaged in {root}; set download to true, or put the unpacked"
            f" {reader.filename} there"
        ) from None
    return SourceImages(
        train_images=np.ascontiguousarray(train.data.transpose(0, 3, 1, 2)),
        train_labels=np.asarray(train.targets, dtype=np.int64),
        validation_images=None,
        validation_labels=None,
        test_images=np.ascontiguousarray(test.data.transpose(0, 3, 1, 2)),
        test_labels=np.asarray(test.targets, dtype=np.int64),
        class_names=tuple(train.classes),
        source=name,
        version=f"archive MD5 {reader.tgz_md5}",
    )


# --- class folders ----------------------------------------------------------------------------


def read_folder(root: Path) -> SourceImages:
    """A tree ``train/<class>/*`` and ``test/<class>/*`` or ``val/<class>/*`` of equal-sized images.

    With both ``test`` and ``val``, ``val`` is the validation split; alone, either is the test
    split. Images become RGB, or stay one channel if all of them are grey. Hidden files are left
    out. Classes and files are read in the order of their names.

    Raises:
        UserError: an image is damaged or has another size than the first; see also
            :func:`list_folder`.
    """
    files = list_folder(root)
    class_names, held_out = tuple(files["train"]), [name for name in files if name != "train"]
    decoded = {name: _decode(split) for name, split in files.items()}
    # Equal sizes across splits, too; the first file of each stands for its split.
    first_file = next(iter(files["train"].values()))[0]
    for split in held_out:
        file = next(iter(files[split].values()))[0]
        _check_size(file, _size(decoded[split][0]), first_file, _size(decoded["train"][0]))
    grey = all(is_grey for _, _, is_grey in decoded.values())
    channels = slice(0, 1) if grey else slice(None)
    images = {name: np.ascontiguousarray(part[0][:, channels]) for name, part in decoded.items()}
    validation = "val" if len(held_out) == 2 else None
    test = held_out[-1]
    return SourceImages(
        train_images=images["train"],
        train_labels=decoded["train"][1],
        validation_images=images[validation] if validation else None,
        validation_labels=decoded[validation][1] if validation else None,
        test_images=images[test],
        test_labels=decoded[test][1],
        class_names=class_names,
        source="folder",
        version=f"class folders, {sum(len(part) for part in images.values())} images",
    )


def list_folder(root: Path) -> dict[str, dict[str, list[Path]]]:
    """List the images of a tree by split and class, sorted by name; reads none of them.

    Raises:
        UserError: a folder, split, class or image is missing, or a link must not be followed (see
            :func:`enter` and :func:`images_of`).
    """
    if not root.is_dir():
        raise UserError(f"the image folder {root} does not exist")
    held_out = [name for name in ("val", "test") if (root / name).is_dir()]
    if not (root / "train").is_dir() or not held_out:
        raise UserError(f"{root} needs a folder train and a folder test or val")
    files = {}
    for split in ("train", *held_out):
        bounds = enter(root / split, (root.resolve(),))
        folders = [path for path in visible(root / split) if path.is_dir()]
        files[split] = {folder.name: images_of(folder, bounds) for folder in folders}
    class_names = tuple(files["train"])
    if len(class_names) < 2:
        raise UserError(f"{root / 'train'} needs two class folders or more; has {len(class_names)}")
    for split in held_out:
        for name in sorted(set(class_names) ^ set(files[split])):
            lacking = split if name in class_names else "train"
            raise UserError(f"class '{name}' has no folder in {root / lacking}")
    return files


def visible(folder: Path) -> list[Path]:
    """List what a folder holds, by name, without hidden files.

    Raises:
        UserError: the folder cannot be read, or a name cannot be shown.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be read: {error.strerror}") from None
    names = [name for name in names if name[0] != "." and name not in _LITTER]
    for name in names:
        if any(category(character) in _UNSHOWN for character in name):
            shown = one_line(name)
            raise UserError(f"{folder} has a name with a character that cannot be shown: {shown}")
    return [folder / name for name in names]


def enter(folder: Path, bounds: Bounds) -> Bounds:
    """Extend the bounds, resolved folders, by the one that a split or class is a link to.

    A link out of the bounds is followed if the user of this process made it, or if its maker owns
    the folder: another user's link must not lead to what that user could not read.

    Raises:
        UserError: the link must not be followed.
    """
    if not folder.is_symlink() or _is_within(folder, bounds):
        return bounds
    maker = folder.lstat().st_uid
    if hasattr(os, "geteuid") and maker not in (os.geteuid(), folder.stat().st_uid):
        raise UserError(
            f"{folder} is a link of another user that leads out of {bounds[0]}; make the link"
            " yourself, or copy the folder"
        )
    return (*bounds, folder.resolve())


def images_of(folder: Path, bounds: Bounds) -> list[Path]:
    """List the images of a class by name.

    A link to a file must stay within the bounds or lead into DVC's cache.

    Raises:
        UserError: there are none, or one is a link to elsewhere; see also :func:`enter`.
    """
    bounds, paths = enter(folder, bounds), visible(folder)
    if not paths:
        raise UserError(f"the class folder {folder} has no images")
    for path in paths:
        if path.is_symlink() and not (_is_within(path, bounds) or _is_within(path, (dvc_cache(),))):
            raise UserError(
                f"{path} is a link that leads out of {bounds[0]}; copy the file, or link its class"
                " folder"
            )
    return paths


def _is_within(path: Path, bounds: Bounds) -> bool:
    real = Path(os.path.realpath(path))
    return any(real.is_relative_to(folder) for folder in bounds)


def _decode(files: dict[str, list[Path]]) -> tuple[Images, Labels, bool]:
    """A split's images as RGB [N, 3, H, W], its labels, and whether all images are grey."""
    paths = [(path, label) for label, found in enumerate(files.values()) for path in found]
    images: Images | None = None
    grey = True
    with Work(str(paths[0][0].parents[1]), len(paths), "images") as work:
        for i, (path, _) in enumerate(paths):
            pixels, mode = _decode_file(path)
            if images is None:
                images = _allocate(len(paths), pixels)
            _check_size(path, _size(pixels), paths[0][0], _size(images))
            images[i] = pixels
            grey = grey and mode in _GREY_MODES
            work.done()
    assert images is not None  # no class folder is empty
    labels = np.array([label for _, label in paths], dtype=np.int64)
    return images, labels, grey


def _allocate(count: int, first: Images) -> Images:
    # Asked first: a system that promises more memory than it has would end the process instead.
    if not fits_into_memory(count * first.size):
        raise UserError(f"{count} images of {_size(first)} pixels do not fit into memory")
    return np.empty((count, *first.shape), dtype=np.uint8)


def _decode_file(path: Path) -> tuple[Images, str]:
    """An image as RGB [3, H, W], and Pillow's mode of the file."""
    if not path.is_file():
        raise UserError(f"{path} is not a file; a class folder holds images only")
    try:
        with warnings.catch_warnings():
            # Pillow only warns of an image that would fill a good part of the memory.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as image:
                image.load()  # to the last pixel: opening reads only the header
                mode = image.mode
                pixels = np.asarray(image.convert("RGB"))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UserError(f"the image {path} is too large to be read safely") from None
    # Pillow's decoders meet damage with OSError, SyntaxError, ValueError, struct.error and others.
    except Exception as error:
        empty = path.exists() and path.stat().st_size == 0
        reason = "the file is empty" if empty else one_line(" ".join(str(error).split()))
        raise UserError(f"the image {path} cannot be read: {reason}") from None
    if mode not in _EIGHT_BIT_MODES:
        raise UserError(
            f"the image {path} has pixels of mode {mode}; save it with 8 bits a channel"
        )
    return pixels.transpose(2, 0, 1), mode


def _size(images: Images) -> str:
    return f"{images.shape[-1]}x{images.shape[-2]}"


def _check_size(path: Path, size: str, first: Path, first_size: str) -> None:
    if size != first_size:
        raise UserError(f"{path} is {size} pixels, but {first} is {first_size}; sizes must agree")
