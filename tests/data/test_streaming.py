"""A batch of photographs is a function of the epoch's generator, and what torchvision makes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from orc_repro._torchvision import import_torchvision
from orc_repro.data.photo_manifest import PhotoManifest, load_any_manifest
from orc_repro.data.photo_split import open_photos
from orc_repro.data.split import Batch
from orc_repro.data.streaming import (
    StreamedImages,
    available_workers,
    draw_samples,
    lost_worker,
)
from orc_repro.errors import UserError
from tests.data.made_photos import make_tree, photo_config, photo_params, prepare_photos
from tests.project import ROOT

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {"crop": 20, "resize": 24, "shards": {"root": "shards", "side": 24}}
BATCH = 5


def opened(split: str = "train", workers: int = 0, root: str = "tree") -> StreamedImages:
    """The prepared set below the current folder."""
    manifest = load_any_manifest(Path("data/prepared/photos"))
    assert isinstance(manifest, PhotoManifest)
    config = photo_config(Path(root), **SMALL | {"form": manifest.form})
    params = photo_params(config, workers)
    return open_photos(params, split, manifest, params.recipes["imagenet"], CPU)


@pytest.fixture(params=["folder", "shards"])
def form(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A prepared set of 24 images of many sizes and kinds in the current folder."""
    monkeypatch.chdir(tmp_path)
    prepared(str(request.param))
    return str(request.param)


def prepared(form: str, scale: float = 0.16) -> PhotoManifest:
    root = make_tree(Path("tree"), scale=scale, splits=("train", "val", "test"))
    config = photo_config(root, **SMALL | {"form": form})
    return prepare_photos(config, Path("data/prepared/photos"))


def epoch(images: StreamedImages, first: int = 0, part: slice = slice(None)) -> list[Batch]:
    generator = torch.Generator().manual_seed(7)
    return list(images.augmented_batches(BATCH, generator, first, part))


def assert_equal(found: list[Batch], expected: list[Batch]) -> None:
    assert len(found) == len(expected) > 0
    for (images, labels), (others, their_labels) in zip(found, expected, strict=True):
        assert torch.equal(images, others) and torch.equal(labels, their_labels)


def test_a_batch_is_the_same_for_any_number_of_workers_any_first_and_any_part(form: str) -> None:
    whole = epoch(opened())
    assert [len(labels) for _, labels in whole] == [5, 5, 5, 5]  # 24 images; four are left out
    assert whole[0][0].shape == (5, 3, 20, 20)
    assert whole[0][0].is_contiguous(memory_format=torch.channels_last)
    assert_equal(epoch(opened(workers=1)), whole)
    assert_equal(epoch(opened(workers=2), first=2), whole[2:])
    for part in (slice(0, 2), slice(2, 5)):
        expected = [(images[part], labels[part]) for images, labels in whole]
        assert_equal(epoch(opened(workers=2), part=part), expected)
        assert_equal(epoch(opened(), first=3, part=part), expected[3:])


def test_only_images_of_the_part_and_of_batches_still_to_come_are_read(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = opened()
    read: list[int] = []
    pixels = images._photos.pixels

    def noted(image: int) -> np.ndarray:
        read.append(image)
        return pixels(image)

    monkeypatch.setattr(images._photos, "pixels", noted)
    epoch(images, first=2, part=slice(1, 3))
    order, _ = draw_samples(24, BATCH, torch.Generator().manual_seed(7))
    assert read == order[2:, 1:3].flatten().tolist()


def test_an_epoch_has_every_image_once_and_the_next_epoch_other_crops(form: str) -> None:
    order, seeds = draw_samples(24, 4, torch.Generator().manual_seed(0))
    assert sorted(order.flatten().tolist()) == list(range(24))
    assert len(set(seeds.flatten().tolist())) == 24
    images, generator = opened(), torch.Generator().manual_seed(0)
    first, second = (list(images.augmented_batches(24, generator)) for _ in range(2))
    assert not torch.equal(first[0][0], second[0][0])
    with pytest.raises(UserError, match="a batch of 25 is more than the 24 training images"):
        images.augmented_batches(25, generator)


def test_the_random_numbers_of_the_process_are_left_as_they_were(form: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    epoch(opened())
    epoch(opened(workers=1))
    list(opened("test").plain_batches(4))
    assert torch.equal(torch.rand(3), expected)


def test_training_crops_are_torchvisions_under_the_same_seed(form: str) -> None:
    import_torchvision()
    from torchvision.transforms import v2

    views = v2.Compose(
        [
            v2.RandomResizedCrop(20, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    images = opened()
    order, seeds = draw_samples(24, BATCH, torch.Generator().manual_seed(7))
    flipped = 0
    for (batch, labels), chosen, drawn in zip(epoch(images), order, seeds, strict=True):
        for found, label, image, seed in zip(batch, labels, chosen, drawn, strict=True):
            pixels = torch.from_numpy(images._photos.pixels(int(image)).copy()).permute(2, 0, 1)
            torch.manual_seed(int(seed))
            assert torch.allclose(found, views(pixels), atol=1e-6)
            assert label == images.labels[int(image)]
            torch.manual_seed(int(seed))
            v2.RandomResizedCrop(20).make_params([pixels])
            flipped += int(torch.rand(1) < 0.5)
    assert 3 <= flipped <= 17  # of 20: both ways were met


def test_evaluation_is_what_torchvisions_image_folder_gives(form: str) -> None:
    import_torchvision()
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    views = v2.Compose(
        [
            *(v2.Resize(24), v2.CenterCrop(20), v2.PILToTensor()),
            *(v2.ToDtype(torch.float32, scale=True),),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    for split in ("train", "test"):
        expected = [*ImageFolder(Path("tree") / split, views)]
        batches = list(opened(split, workers=2).plain_batches(5))
        found = torch.cat([images for images, _ in batches])
        assert torch.cat([labels for _, labels in batches]).tolist() == [y for _, y in expected]
        # Also of shards: their side is that of the resize.
        assert torch.allclose(found, torch.stack([image for image, _ in expected]), atol=1e-6)


def test_plain_batches_are_in_order_and_each_image_once(form: str) -> None:
    images = opened("test")
    whole = torch.cat([batch for batch, _ in images.plain_batches(3)])
    assert len(whole) == len(images) == 8
    part = torch.cat([batch for batch, _ in images.plain_batches(2, 3, 8)])
    assert torch.equal(part, whole[3:])
    assert list(images.plain_batches(2, 4, 4)) == []


def test_shards_are_the_folder_where_no_image_is_larger_than_their_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = make_tree(Path("tree"), scale=0.05)
    for path in root.rglob("*.JPEG"):
        with Image.open(path) as image:
            if min(image.size) > 24:
                path.write_bytes((root / "train/n00001000/n00001000_1.JPEG").read_bytes())
    found = []
    for form in ("folder", "shards"):
        prepare_photos(photo_config(root, **SMALL | {"form": form}), Path("data/prepared/photos"))
        found.append(epoch(opened()))
    assert_equal(*found)


def children() -> set[psutil.Process]:
    return {p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE}


def test_whoever_stops_listening_ends_the_workers(form: str) -> None:
    before = children()
    batches = opened(workers=2).augmented_batches(4, torch.Generator().manual_seed(0))
    next(batches)
    workers = children() - before
    assert len(workers) == 2
    batches.close()
    assert not workers & children()


def test_workers_leave_signals_to_the_process_that_trains(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked_to_stop_at_once(worker: int) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)

    monkeypatch.setattr("orc_repro.data.streaming.settle", asked_to_stop_at_once)
    before, others = signal.pthread_sigmask(signal.SIG_BLOCK, ()), children()
    batches = opened(workers=2).augmented_batches(2, torch.Generator().manual_seed(0))
    found = [next(batches)]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    for worker in children() - others:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            worker.send_signal(number)
    found += batches
    generator = torch.Generator().manual_seed(0)
    assert_equal(found, list(opened().augmented_batches(2, generator)))


KILLED = """
import os, signal, psutil, torch
from orc_repro import cli
from tests.data.test_streaming import opened

def work():
    batches = opened(workers=2).augmented_batches(1, torch.Generator().manual_seed(0))
    next(batches)
    os.kill(psutil.Process().children()[0].pid, signal.SIGKILL)
    list(batches)

cli.app = work
cli.main()
"""


def test_a_worker_that_is_killed_is_one_sentence(form: str) -> None:
    # By a process of its own: torch raises it wherever that is when it hears of the worker's end.
    words = [sys.executable, "-c", KILLED]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 2
    assert re.fullmatch(
        r"orc-repro: a process that reads images has ended \(.*\); if memory is short, a lower"
        r" loader.workers in params.yaml helps; the same command goes on\n",
        done.stderr,
    )
    assert lost_worker(RuntimeError("another one")) is None


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_changed_since_is_named(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    prepared("folder")
    path = Path("tree/train/n00001002/n00001002_3.JPEG")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\0")
    with pytest.raises(UserError) as caught:
        epoch(opened(workers=workers))
    assert str(caught.value) == (
        f"the image {path} has changed since it was prepared; put it back, or run"
        " `orc-repro prepare photos` again"
    )
    path.unlink()
    with pytest.raises(UserError, match="cannot be read: No such file or directory; put it back"):
        epoch(opened(workers=workers))


def test_processors_are_shared_by_the_processes_of_a_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert available_workers() == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert available_workers() == 2
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "16")
    assert available_workers() == 1
