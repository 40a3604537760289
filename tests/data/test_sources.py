"""Digits and CIFAR come as images, labels and splits; what is missing is one clear sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orc_repro._torchvision import import_torchvision
from orc_repro.data.sources import draw_stratified, read_cifar, read_digits
from orc_repro.errors import UserError

# --- digits -----------------------------------------------------------------------------------


def test_digits_are_all_there_and_stratified() -> None:
    digits = read_digits(0.2, 0)
    assert len(digits.train_images) + len(digits.test_images) == 1797
    assert digits.train_images.shape[1:] == (1, 8, 8)
    assert digits.train_images.dtype == np.uint8
    assert (digits.train_images.min(), digits.train_images.max()) == (0, 255)
    assert digits.class_names == tuple("0123456789")
    tests = np.bincount(digits.test_labels)
    classes = tests + np.bincount(digits.train_labels)
    assert classes.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.abs(tests - 0.2 * classes).max() < 1


def test_digits_keep_scikit_learns_pixels() -> None:
    from sklearn.datasets import load_digits

    digits = read_digits(0.2, 0)
    original = np.rint(load_digits().images * 255 / 16).astype(np.uint8)
    both = np.concatenate([digits.train_images, digits.test_images])
    assert sorted(image.tobytes() for image in both) == sorted(i.tobytes() for i in original)
    assert original[0, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]  # 0 0 5 13 9 1 0 0 sixteenths


def test_digits_split_depends_on_the_seed_alone() -> None:
    first, again, other = read_digits(0.2, 7), read_digits(0.2, 7), read_digits(0.2, 8)
    assert np.array_equal(first.test_images, again.test_images)
    assert np.array_equal(first.train_labels, again.train_labels)
    assert len(first.test_images) == len(other.test_images) == 359
    assert not np.array_equal(first.test_images, other.test_images)


def test_digits_without_a_test_image_are_refused() -> None:
    with pytest.raises(UserError, match=r"test_fraction 0\.001 leaves a digit"):
        read_digits(0.001, 0)


def test_a_stratified_draw_is_disjoint_and_has_the_fraction_of_each_class() -> None:
    labels = np.repeat(np.arange(3), [10, 20, 31])
    kept, drawn = draw_stratified(labels, 0.1, np.random.default_rng(0))
    assert np.array_equal(kept, ~drawn)
    assert np.bincount(labels[drawn]).tolist() == [1, 2, 3]


# --- CIFAR ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_that_is_not_there_says_what_to_do(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_cifar(name, tmp_path, download=False)  # type: ignore[arg-type]
    message = str(caught.value)
    assert message.startswith(f"{name} is missing or damaged in {tmp_path}; set download to true")
    assert "\n" not in message


def test_damaged_cifar_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in ("data_batch_1", "data_batch_2", "test_batch", "batches.meta"):
        (folder / name).write_bytes(b"damaged")
    with pytest.raises(UserError, match="cifar10 is missing or damaged"):
        read_cifar("cifar10", tmp_path, download=False)


class FakeCifar:
    """What torchvision's class offers, with 4 images a split."""

    filename = "cifar-10-python.tar.gz"
    tgz_md5 = "c58f"

    def __init__(self, root: Path, train: bool, download: bool) -> None:
        start = 0 if train else 100
        self.data = np.arange(4 * 32 * 32 * 3).reshape(4, 32, 32, 3).astype(np.uint8) + start
        self.targets = [1, 0, 1, 0]
        self.classes = ["cat", "dog"]


def test_cifar_becomes_channels_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(import_torchvision().datasets, "CIFAR10", FakeCifar)
    cifar = read_cifar("cifar10", tmp_path, download=False)
    assert cifar.train_images.shape == (4, 3, 32, 32)
    assert cifar.train_images[0, :, 0, 1].tolist() == [3, 4, 5]
    assert cifar.test_images[0, :, 0, 1].tolist() == [103, 104, 105]
    assert cifar.train_labels.dtype == np.int64
    assert cifar.train_labels.tolist() == [1, 0, 1, 0]
    assert cifar.class_names == ("cat", "dog")
    assert (cifar.source, cifar.version) == ("cifar10", "archive MD5 c58f")


def test_a_failed_download_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_network(*args: object, **kwargs: object) -> None:
        raise OSError("<urlopen error\nno route>")

    monkeypatch.setattr(FakeCifar, "__init__", no_network)
    monkeypatch.setattr(import_torchvision().datasets, "CIFAR100", FakeCifar)
    with pytest.raises(UserError) as caught:
        read_cifar("cifar100", tmp_path, download=True)
    message = str(caught.value)
    assert message.startswith(f"cifar100 cannot be downloaded to {tmp_path} (<urlopen error no")
    assert "\n" not in message
