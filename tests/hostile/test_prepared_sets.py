"""A prepared set may come from someone else, or from a disk that lost a bit.

Promised: a set is read as exactly the pixels and labels that were written, or refused in one plain
sentence, before memory is taken for what its files only claim to hold.
"""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orc_repro.data.manifest import ARRAYS, SPLITS, load_manifest
from orc_repro.data.prepared import load_split, write_prepared
from orc_repro.data.sources import SourceImages
from tests.data.made import make_source, write
from tests.hostile.contract import TOKENS, attempt, inputs, spoiled, trees_near

SPOILT_MANIFESTS, CHANGED_MANIFESTS = 1200, 400
SPOILT_ARRAYS, HEADERS, FLIPS, SETS = 1000, 600, 900, 60
INPUTS = SPOILT_MANIFESTS + CHANGED_MANIFESTS + SPOILT_ARRAYS + HEADERS + FLIPS + SETS


# numpy says so of a spoilt header before it is refused.
pytestmark = pytest.mark.filterwarnings("ignore:Reading `.npy`")


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A set of 6 test images of 4x5 pixels."""
    write(make_source(), tmp_path / "set")
    return tmp_path / "set"


def test_a_spoilt_manifest_is_read_or_refused(prepared: Path) -> None:
    path, draw = prepared / "manifest.json", Random(3)
    whole, refused = path.read_bytes(), []
    for _ in range(SPOILT_MANIFESTS):
        path.write_bytes(spoiled(whole, draw))
        manifest, _ = attempt(lambda: load_manifest(prepared), prepared.parent)
        refused.append(manifest is None)
        if manifest is not None:  # and what it says of the arrays need not be true
            attempt(lambda: load_split(prepared, "test"), prepared.parent)
    assert any(refused) and not all(refused)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set whose manifest is replaced for each input."""
    folder = tmp_path_factory.mktemp("shared") / "set"
    write(make_source(), folder)
    return folder


@inputs(CHANGED_MANIFESTS)
@given(data=st.data())
def test_a_manifest_of_another_form_is_read_or_refused(data: st.DataObject, shared: Path) -> None:
    path = shared / "manifest.json"
    whole = path.read_text()
    try:
        path.write_text(json.dumps(data.draw(trees_near(json.loads(whole)))), encoding="utf-8")
        for split in SPLITS:
            found, sentence = attempt(partial(load_split, shared, split), shared.parent)
            assert (found is None) == bool(sentence)
    finally:
        path.write_text(whole)


def test_a_spoilt_array_is_found_wherever_it_is_spoilt(prepared: Path) -> None:
    draw = Random(4)
    for _ in range(SPOILT_ARRAYS):
        path = prepared / f"{draw.choice(('test_images', 'test_labels'))}.npy"
        whole = path.read_bytes()
        # Mostly the header: numpy reads it before anything can be compared.
        cut = draw.choice((128, 128, len(whole)))
        content = spoiled(whole[:cut], draw, TOKENS) + whole[cut:]
        path.write_bytes(content)
        _, sentence = attempt(lambda: load_split(prepared, "test"), prepared.parent)
        assert (content == whole) or f"{path} is damaged" in sentence
        path.write_bytes(whole)


SHAPES = (
    *("(6,)", "(6, 3, 4, 5)", "()", "(-1,)", "(6.0,)", "None", "(2**63,)"),
    *(f"({10**18},)", f"({'9' * 5000},)", "(" * 500, f"({'1,' * 4000})"),
)
TYPES = (
    *("'|u1'", "'<i8'", "'>i8'", "'|O'", "[('a', '|O')]", "'<U99'", "'|V8'", "'M8[s]'", "'x'"),
    *("None", "__import__('os').mkdir('owned')"),
)


def header(draw: Random) -> bytes:
    """An array file's beginning that numpy may take for one, with claims of any size."""
    shape, descr = draw.choice(SHAPES), draw.choice(TYPES)
    order = draw.choice(("False", "False", "True", "None"))
    more = draw.choice(("", "", ", 'more': 1"))
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}{more}}}\n".encode()
    version = draw.choice(((1, 0), (1, 0), (2, 0), (3, 0), (9, 9)))
    length = draw.choice((len(text), len(text), 2**16 - 1)).to_bytes(
        2 if version == (1, 0) else 4, "little"
    )
    body = draw.randbytes(draw.choice((0, 48, 360)))
    return b"\x93NUMPY" + bytes(version) + length + text + body


def test_no_header_is_believed(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prepared.parent)
    path, draw = prepared / "test_images.npy", Random(5)
    for _ in range(HEADERS):
        path.write_bytes(header(draw))
        _, sentence = attempt(lambda: load_split(prepared, "test"), prepared.parent)
        assert f"{path} is damaged" in sentence


def test_a_byte_that_flipped_anywhere_is_found(tmp_path: Path) -> None:
    draw = Random(6)
    write(make_source(per_class=4), tmp_path / "set", fraction=0.25)
    for i in range(FLIPS):
        name = ARRAYS[i % len(ARRAYS)]
        path = tmp_path / "set" / f"{name}.npy"
        whole = path.read_bytes()
        # Every byte of a header has its turn, and bytes of the pixels in between.
        at = i // len(ARRAYS) if i // len(ARRAYS) < 128 else draw.randrange(len(whole))
        flipped = bytes([whole[at] ^ draw.randrange(1, 256)])
        path.write_bytes(whole[:at] + flipped + whole[at + 1 :])
        _, sentence = attempt(partial(load_split, path.parent, name.split("_")[0]), tmp_path)
        assert f"{path} is damaged" in sentence, f"byte {at} as {flipped!r}"
        path.write_bytes(whole)


# Each of these is the same array to numpy: a header says it in other words.
@pytest.mark.parametrize(("old", "new"), [(b"  \n", b"# \n"), (b"<i8", b"=i8"), (b" ", b"\t")])
def test_a_header_in_other_words_is_found(old: bytes, new: bytes, prepared: Path) -> None:
    path = prepared / "test_labels.npy"
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    assert np.array_equal(np.load(path), np.repeat(np.arange(3), 2))
    _, sentence = attempt(lambda: load_split(prepared, "test"), prepared.parent)
    assert f"{path} is damaged" in sentence


@pytest.mark.parametrize("name", ["manifest.json", "test_images.npy"])
def test_what_would_never_end_is_refused(name: str, prepared: Path) -> None:
    path = prepared / name
    path.unlink()
    os.mkfifo(path)  # to open it is to wait until someone writes
    _, sentence = attempt(lambda: load_split(prepared, "test"), prepared.parent)
    assert f"{path} " in sentence
    path.unlink()
    path.symlink_to("/dev/zero")
    _, sentence = attempt(lambda: load_split(prepared, "test"), prepared.parent)
    assert f"{path} " in sentence


def test_a_file_larger_than_the_memory_is_refused(prepared: Path) -> None:
    os.truncate(prepared / "manifest.json", 2**43)  # a hole: it takes no room on the disk
    _, sentence = attempt(lambda: load_manifest(prepared), prepared.parent)
    assert "manifest.json cannot be read: it is larger than the memory" in sentence


@st.composite
def sources(draw: st.DrawFn) -> SourceImages:
    """Small images of any size, one or three channels, two to four classes in any order."""
    classes, channels = draw(st.integers(2, 4)), draw(st.sampled_from((1, 3)))
    height, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))

    def split(smallest: int) -> tuple[Any, Any]:
        labels = np.repeat(np.arange(classes), draw(st.integers(smallest, 5)))
        shape = (len(labels), channels, height, width)
        images = generator.integers(0, 256, shape, dtype=np.uint8)
        images[0], images[1] = 0, 255  # no channel has one value only
        return images, generator.permutation(labels)

    train, test = split(2), split(1)
    own = split(1) if draw(st.booleans()) else (None, None)
    return SourceImages(
        train_images=train[0],
        train_labels=train[1],
        validation_images=own[0],
        validation_labels=own[1],
        test_images=test[0],
        test_labels=test[1],
        class_names=tuple(f"class {i}" for i in range(classes)),
        source="made",
        version="1",
    )


def images_of(images: Any, labels: Any) -> list[tuple[bytes, int]]:
    """Each image with its label, in an order that says nothing."""
    pairs = zip(images, labels, strict=True)
    return sorted((image.tobytes(), int(label)) for image, label in pairs)


@inputs(SETS)
@given(source=sources())
def test_what_is_prepared_is_read_back_exactly(
    source: SourceImages, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any" / "set"
    manifest = write_prepared(source, folder, dataset="any", validation_fraction=0.5, split_seed=1)
    assert load_manifest(folder) == manifest
    test = load_split(folder, "test")
    assert np.array_equal(test[0], source.test_images)
    assert np.array_equal(test[1], source.test_labels)
    train, validation = load_split(folder, "train"), load_split(folder, "validation")
    whole = images_of(source.train_images, source.train_labels)
    if source.validation_images is None:
        assert sorted(images_of(*train) + images_of(*validation)) == whole
    else:
        assert np.array_equal(train[0], source.train_images)
        assert np.array_equal(train[1], source.train_labels)
        assert np.array_equal(validation[0], source.validation_images)
        assert images_of(*validation) == images_of(
            source.validation_images, source.validation_labels
        )
