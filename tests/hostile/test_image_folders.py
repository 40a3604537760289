"""A folder of images may come from someone else.

Promised: nothing outside of it is read but the folders that its user links as a split or class, no
program is started to read an image, and each fault is
one plain sentence. What else can be wrong with a folder: ``tests/data/test_folders.py``.
"""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from orc_repro.data.sources import read_folder
from tests.data.test_folders import make_tree, save_image
from tests.hostile.contract import attempt

BEE = Path("train/bee")


def link_within_a_linked_split(root: Path) -> None:
    save_image(root.parent / "outside.png", 0)
    (root / "train").rename(root.parent / "elsewhere")
    (root / "train").symlink_to(root.parent / "elsewhere")
    (root / BEE / "2.png").symlink_to(root.parent / "outside.png")


def link_through_a_link(root: Path) -> None:
    save_image(root.parent / "outside" / "0.png", 0)
    (root / ".hidden").symlink_to(root.parent / "outside")
    (root / BEE / "2.png").symlink_to(root / ".hidden" / "0.png")


def link_to_a_device(root: Path) -> None:
    (root / BEE / "2.png").symlink_to("/dev/zero")


def pipe(root: Path) -> None:
    os.mkfifo(root / BEE / "2.png")


def pipe_within(root: Path) -> None:
    os.mkfifo(root / ".pipe")
    (root / BEE / "2.png").symlink_to(root / ".pipe")


def png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def bomb(root: Path) -> None:
    """A few bytes that claim 50,000 x 50,000 pixels."""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(bytes(1000))) + png_chunk(b"IEND", b"")
    (root / BEE / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + body)


def text_bomb(root: Path) -> None:
    """A PNG whose comment unpacks to 200 MB."""
    whole = (root / BEE / "0.png").read_bytes()
    comment = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(200_000_000)))
    (root / BEE / "2.png").write_bytes(whole[:33] + comment + whole[33:])


def archive(root: Path) -> None:
    with zipfile.ZipFile(root / BEE / "2.png", "w") as file:
        file.write(root / BEE / "0.png", "0.png")


def drawing(root: Path) -> None:
    (root / BEE / "2.png").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")


class Evil:
    """Unpickling one makes a folder."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("owned",)


def pickled(root: Path) -> None:
    (root / BEE / "2.png").write_bytes(pickle.dumps(Evil()))


def postscript(root: Path) -> None:
    """Pillow gives such a file to Ghostscript."""
    program = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 5\n%%EndComments\nshowpage\n%%EOF\n"
    (root / BEE / "2.png").write_text(program)


def named(name: str) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        for split in ("train", "test"):
            (root / split / "bee").rename(root / split / name)

    return spoil


def file_named(name: bytes) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        source = os.fsencode(root / BEE / "0.png")
        os.rename(source, os.path.join(os.fsencode(root / BEE), name))

    return spoil


UNPRINTABLE = "a name with a character that cannot be shown"
FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "link in a linked split": (
        link_within_a_linked_split,
        "{bee}/2.png is a link that leads out of {root}",
    ),
    "link through a link": (link_through_a_link, "{bee}/2.png is a link that leads out of {root}"),
    "device": (link_to_a_device, "{bee}/2.png is a link that leads out of {root}"),
    "pipe": (pipe, "{bee}/2.png is not a file"),
    "link to a pipe within": (pipe_within, "{bee}/2.png is not a file"),
    "bomb": (bomb, "the image {bee}/2.png is too large to be read safely"),
    "bomb in a comment": (text_bomb, "the image {bee}/2.png cannot be read: "),
    "archive": (archive, "the image {bee}/2.png cannot be read: cannot identify image file"),
    "drawing": (drawing, "the image {bee}/2.png cannot be read: cannot identify image file"),
    "pickle": (pickled, "the image {bee}/2.png cannot be read: cannot identify image file"),
    "program": (postscript, "the image {bee}/2.png cannot be read: cannot identify image file"),
    "class with a line break": (named("b\nee"), UNPRINTABLE),
    "class with an escape sequence": (named("\x1b[2J"), UNPRINTABLE),
    "class with a line separator": (named("b\u2028ee"), UNPRINTABLE),
    "class that is hidden": (named(".bee"), "needs two class folders or more; has 1"),
    "file with a line break": (file_named(b"0\n.png"), UNPRINTABLE),
    "file whose name is no text": (file_named(b"0\xff.png"), UNPRINTABLE),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_hostile_folder_is_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = make_tree(tmp_path / "images")
    spoil, expected = FAULTS[case]
    spoil(root)
    _, sentence = attempt(lambda: read_folder(root), tmp_path)
    assert expected.format(root=root, bee=root / BEE) in sentence


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's link")
@pytest.mark.parametrize("linked", ["train", "train/bee"])
def test_another_users_link_leads_to_that_users_folders_alone(linked: str, tmp_path: Path) -> None:
    root, outside = make_tree(tmp_path / "images"), tmp_path / "elsewhere"
    (root / linked).rename(outside)
    (root / linked).symlink_to(outside)
    for maker, owner, allowed in ((0, 1234, True), (1234, 1234, True), (1234, 4321, False)):
        os.lchown(root / linked, maker, -1)
        os.chown(outside, owner, -1)
        found, sentence = attempt(lambda: read_folder(root), tmp_path)
        assert (found is not None) == allowed
        assert allowed or "is a link of another user" in sentence


def test_folders_nested_deeply_within_a_class_are_refused(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "images")
    (root / BEE / Path(*(200 * ["a"]))).mkdir(parents=True)
    _, sentence = attempt(lambda: read_folder(root), tmp_path)
    assert f"{root / BEE}/a is not a file" in sentence


def test_names_in_any_language_are_read(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "images")
    named("пчела 蜂 🐝\u202f")(root)  # the last is a space that one system puts into names
    found, _ = attempt(lambda: read_folder(root), tmp_path)
    assert found is not None and "пчела 蜂 🐝\u202f" in found.class_names


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "tif", "webp", "ppm"])
def test_the_usual_formats_are_read(suffix: str, tmp_path: Path) -> None:
    root = make_tree(tmp_path / "images")
    with Image.open(root / BEE / "0.png") as image:
        image.save(root / BEE / f"2.{suffix}")
    found, _ = attempt(lambda: read_folder(root), tmp_path)
    assert found is not None and len(found.train_images) == 5
