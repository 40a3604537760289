"""Files that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
import zipfile
from collections.abc import Iterable, Iterator
from glob import escape
from pathlib import Path
from typing import Any, BinaryIO

from orc_repro.errors import UserError
from orc_repro.memory import fits_into_memory

PARTIAL = ".partial"


def open_file(path: Path) -> BinaryIO:
    """Open a file to read from it; no pipe or device, which may never end.

    Raises:
        OSError: it is none, or cannot be read.
    """
    if path.exists() and not path.is_file():
        raise OSError("it is not a file")
    return path.open("rb")


def read_file(path: Path, largest: int | None = None) -> bytes:
    """Read all of a file that fits into memory; see :func:`open_file`.

    Raises:
        OSError: it cannot be read, or has more than ``largest`` bytes.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if not fits_into_memory(size):
            raise OSError("it is larger than the memory of this machine")
        if largest is not None and size > largest:
            raise OSError(f"it has {size} bytes, more than {largest}")
        return file.read()


def read_text(path: Path) -> str:
    """Read a text that was written by this project, and may have been damaged since.

    Raises:
        UserError: it cannot be read, or is no text.
    """
    try:
        return read_file(path).decode("utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is damaged: it is no UTF-8") from None


def refuse_packed(file: BinaryIO) -> None:
    """Refuse an archive whose members are compressed: unpacked, a small one may fill the memory.

    Raises:
        ValueError: it is such an archive, which torch does not write, or a damaged one.
    """
    size = os.fstat(file.fileno()).st_size
    if zipfile.is_zipfile(file):
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
        except Exception as error:  # a damaged one is met with many an exception
            raise ValueError(f"it is a damaged archive: {type(error).__name__}") from None
        if sum(member.file_size for member in members) > size or any(
            member.compress_type != zipfile.ZIP_STORED for member in members
        ):
            raise ValueError("it is packed, as torch's own files are not")
    file.seek(0)


def write_atomically(path: Path, *parts: bytes | memoryview) -> None:
    """Replace a file in one step; it is on the disk when this returns.

    Whoever reads meanwhile, or after a kill at any instant, sees the former file or the new one.

    Raises:
        OSError: it cannot be written, and names the file; the former file is as it was.
    """
    with _written_beside(path, parts) as partial:
        partial.replace(path)


def create_atomically(path: Path, *parts: bytes | memoryview) -> None:
    """Create a file with its content in one step, where there is none; see `write_atomically`.

    Raises:
        FileExistsError: there is one; it is as it was.
        OSError: it cannot be written.
    """
    with _written_beside(path, parts) as partial:
        try:
            os.link(partial, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links; there a kill may leave half of it
            with path.open("xb") as file:
                file.write(partial.read_bytes())


@contextlib.contextmanager
def _written_beside(path: Path, parts: Iterable[bytes | memoryview]) -> Iterator[Path]:
    """Write a file's content beside it, to be put in its place within the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Unique: threads, and processes of several machines, may write the same file.
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PARTIAL}")
    try:
        with partial.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        yield partial
    except OSError as error:
        if error.filename is None:  # a full disk, met by a write
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def discard(path: Path) -> None:
    """Remove a file, if it exists; its removal is on the disk when this returns."""
    if path.exists():
        path.unlink()
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries (a file's new name) to the disk, where the system can."""
    if os.name != "posix":  # Windows opens no folder
        return
    entries = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems refuse, and need none
            os.fsync(entries)
    finally:
        os.close(entries)


def remove_partials(folder: Path, name: str | None = None) -> None:
    """Remove what writers (of one file) that were killed have left behind in a folder."""
    for path in folder.glob(f".{'*' if name is None else escape(name) + '.*'}{PARTIAL}"):
        path.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON for people and git: indented, sorted, replaced in one step."""
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_atomically(path, text.encode())
