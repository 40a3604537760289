"""Files that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from glob import escape
from pathlib import Path
from typing import Any, BinaryIO

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


def read_file(path: Path) -> bytes:
    """All of a file that fits into memory; see :func:`open_file`."""
    with open_file(path) as file:
        if not fits_into_memory(os.fstat(file.fileno()).st_size):
            raise OSError("it is larger than the memory of this machine")
        return file.read()


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
