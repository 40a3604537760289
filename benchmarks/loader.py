"""Photographs a second: torchvision's reference loop, class folders as they are, and shards.

``python -m benchmarks.loader FOLDER [rounds]`` copies the JPEGs of a folder into a tree of a
thousand, prepares it in both forms, and reads epochs of all three in turn, each with one worker a
processor. A round is timed from its first batch to its last. The files are in memory by then: what
a disk takes comes on top, and is written in the page as bytes an image. Writes
``reports/benchmarks/loader.md``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.group import DEVICE
from benchmarks.machine import measured
from benchmarks.rows import Row, table
from benchmarks.timing import fastest
from orc_repro._torchvision import import_torchvision
from orc_repro.config import ImagenetData, Params, load_params
from orc_repro.data.photo_set import write_photo_set
from orc_repro.data.photo_split import open_photos
from orc_repro.data.photo_tree import read_tree
from orc_repro.data.streaming import StreamedImages, available_workers
from orc_repro.files import write_atomically
from orc_repro.project import PREPARED, REPORTS

CLASSES, IMAGES, BATCH = 8, 3072, 64
Batches = Iterator[tuple[Tensor, Tensor]]


def make_tree(photos: Path, root: Path) -> None:
    """``IMAGES`` training copies, and a few to satisfy the other splits."""
    files = sorted(photos.glob("*.JPEG"))
    for i in range(IMAGES + 2 * CLASSES):
        split = "train" if i < IMAGES else ("val", "test")[i % 2]
        folder = root / split / f"n{i // 2 % CLASSES:08d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i:05d}.JPEG").write_bytes(files[i % len(files)].read_bytes())


def reference(root: Path, train: bool) -> Batches:
    """As torchvision's reference training reads ImageNet: each image by itself, to its end."""
    import_torchvision()
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    views: list[Any] = (
        [v2.RandomResizedCrop(224), v2.RandomHorizontalFlip()]
        if train
        else [v2.Resize(256), v2.CenterCrop(224)]
    )
    last = [
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
    images = ImageFolder(root / "train", v2.Compose([*views, *last]))
    loader = torch.utils.data.DataLoader(
        images, BATCH, shuffle=train, num_workers=available_workers(), drop_last=True
    )
    batches: Batches = iter(loader)
    return batches


def seconds_an_image(make: Callable[[], Batches]) -> tuple[float, float]:
    """From the first batch to the last; and of processors, over all processes and their start."""
    before = os.times()
    batches = make()
    images, _ = next(batches)
    began, seen = time.perf_counter(), 0
    for images, _ in batches:
        seen += len(images)
    took = (time.perf_counter() - began) / seen
    del batches  # its processes end, and their time counts
    used = sum(os.times()[:4]) - sum(before[:4])
    return took, used / (seen + BATCH)


def measure(photos: Path, rounds: int, scratch: Path) -> list[Row]:
    """Images a second in training and in evaluation; ratios to the reference loop's."""
    os.chdir(scratch)
    make_tree(photos, scratch / "tree")
    params = load_params(Path(__file__).parents[1] / "params.yaml")
    ours = {form: _opened(form, params, scratch) for form in ("folder", "shards")}

    def epoch(form: str) -> Batches:
        return ours[form].augmented_batches(BATCH, torch.Generator().manual_seed(0))

    training: dict[str, Callable[[], Batches]] = {
        "torchvision's reference loop": lambda: reference(scratch / "tree", train=True),
        "class folders": lambda: epoch("folder"),
        "shards": lambda: epoch("shards"),
    }
    evaluation: dict[str, Callable[[], Batches]] = {
        "torchvision's reference loop": lambda: reference(scratch / "tree", train=False),
        "class folders": lambda: ours["folder"].plain_batches(BATCH),
        "shards": lambda: ours["shards"].plain_batches(BATCH),
    }
    return [
        row
        for bench, variants in (("training", training), ("evaluation", evaluation))
        for row in _rows(bench, variants, rounds)
    ]


def _opened(form: str, params: Params, scratch: Path) -> StreamedImages:
    config = params.data["imagenet"]
    assert isinstance(config, ImagenetData)
    changes: dict[str, Any] = {"root": "tree", "classes": CLASSES, "form": form}
    config = config.model_copy(update=changes)
    tree = read_tree(scratch / "tree", CLASSES)
    manifest = write_photo_set(tree, config, PREPARED / form, form)
    there = params.model_copy(update={"data": {form: config}})
    return open_photos(there, "train", manifest, params.recipes["imagenet"], DEVICE)


def _rows(bench: str, variants: dict[str, Callable[[], Batches]], rounds: int) -> list[Row]:
    times: dict[str, list[float]] = {name: [] for name in variants}
    work: dict[str, list[float]] = {name: [] for name in variants}
    for i in range(rounds + 1):
        for name in list(variants)[:: 1 if i % 2 else -1]:
            took, used = seconds_an_image(variants[name])
            if i:  # the first round brings the files into memory
                times[name].append(took)
                work[name].append(used)
    found = fastest(times)
    speed = {name: 1 / of.seconds for name, of in found.items()}
    names = list(variants)
    rows = [
        Row(bench, name, speed[name], "images/s", ratio=of.times_faster if i else None,
            noisy=of.noisy)
        for i, (name, of) in enumerate(found.items())
    ]  # fmt: skip
    ratio = speed[names[2]] / speed[names[1]]
    bound = (">=", 3.0) if bench == "training" else None
    rows.append(Row(bench, "shards to class folders", speed[names[2]], "images/s", ratio, bound))
    least = {name: min(used) for name, used in work.items()}
    rows += [
        Row(f"{bench}, processors' time", name, 1000 * used, "ms/image",
            ratio=least[names[0]] / used if i else None)
        for i, (name, used) in enumerate(least.items())
    ]  # fmt: skip
    return rows


def _page(rows: list[Row], rounds: int, sizes: tuple[float, float]) -> str:
    machine = measured(DEVICE)
    return (
        "# Reading photographs\n\n"
        f"`python -m benchmarks.loader FOLDER` writes this page: {IMAGES:,} copies of the JPEGs of"
        f" a folder, {available_workers()} workers, batches of {BATCH}, the fastest of {rounds}"
        " rounds of variants that took turns, a whole epoch each; the files are in memory."
        f" torch {machine.torch}, Python {machine.python}, {machine.threads} threads; copies"
        f" {machine.copy_bytes_per_second / 1e9:,.0f} GB/s, of the same run. Ratios are to"
        " torchvision's reference loop, except where two are named; a *noisy* one had a median"
        " half as long again. The processors' time is that of all processes, their start"
        " included.\n\n"
        f"{table(rows)}\n"
        f"On the disk an image takes {sizes[0] / 1e3:,.0f} kB as a JPEG and"
        f" {sizes[1] / 1e3:,.0f} kB in a shard.\n"
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="a folder of photographs, as *.JPEG")
    parser.add_argument("rounds", nargs="?", type=int, default=6)
    options = parser.parse_args()
    page = Path.cwd() / REPORTS / "benchmarks" / "loader.md"
    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(options.photos.resolve(), options.rounds, Path(scratch))
        sizes = tuple(
            sum(path.stat().st_size for path in Path(scratch).rglob(pattern)) / IMAGES
            for pattern in ("tree/train/*/*", "train-*.rgb")
        )
        os.chdir(page.parents[2])
    text = _page(rows, options.rounds, (sizes[0], sizes[1]))
    write_atomically(page, text.encode())
    print(text)


if __name__ == "__main__":
    main()
