"""Mend the files that DVC leaves torn when it is killed, and keep copies for that.

DVC empties ``dvc.lock`` and its list of readers and writers before it writes them anew. Killed in
between it leaves a beginning of them, and refuses that from then on.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from orc_repro.errors import UserError, say
from orc_repro.files import read_file, write_atomically
from orc_repro.interruption import alive

DVC = Path(".dvc")
RWLOCK = DVC / "tmp/rwlock"
COPIES = DVC / "tmp/orc-copies"
UNCHANGED_S = 1.0
"""What a DVC at work leaves torn is whole again sooner."""
SAME_TIME_S = 2.0


def mend_dvc() -> None:
    """Mend every file that a killed DVC has left torn, and say so.

    Raises:
        UserError: a ``dvc.lock`` is torn, and there is nothing to mend it with.
    """
    if DVC.is_dir():
        mend_rwlock()
        for path in _locks():
            mend_lock(path)


def mend_rwlock(path: Path = RWLOCK) -> bool:
    """Remove DVC's list of readers and writers if it is torn, or if it names other processes.

    DVC takes whatever process has a number of the list for the one that was noted, and is busy for
    as long as that lives. Processes that were noted in a torn list have ended, or note themselves
    again.

    Returns:
        Whether there was something to mend.
    """
    if not _stays(path, _is_torn_list) and not _stays(path, lambda _: _names_others(path)):
        return False
    path.unlink(missing_ok=True)
    return True


def mend_lock(path: Path) -> bool:
    """Put a ``dvc.lock`` that is torn back: from its copy here, or as the last commit has it.

    Returns:
        Whether there was something to mend.

    Raises:
        UserError: there is neither.
    """
    if not _stays(path, _is_torn_lock):
        _copy(path)
        return False
    torn = read_file(path)
    sources = {
        "as it last was here": _content(_copy_of(path)),
        "as the last commit has it": _committed(path),
    }
    sources = {name: content for name, content in sources.items() if not _is_torn_lock(content)}
    if not sources:
        raise UserError(
            f"{path} was cut short when DVC was killed, and no copy of it is left; remove it, and"
            " `orc-repro run` writes it anew"
        )
    # The copy may be of another branch; the right source begins most like what is left.
    best = max(sources, key=lambda name: _alike(torn, sources[name]))
    write_atomically(path, sources[best])
    say("warning", f"{path} was cut short when DVC was killed; it is {best} again")
    return True


def copy_locks(at_rest: bool) -> None:
    """Copy every ``dvc.lock`` that has changed since it was copied.

    Args:
        at_rest: whether no DVC writes now; otherwise what changed just now is left for later.
    """
    for path in _locks():
        with contextlib.suppress(OSError):
            if at_rest or time.time() - path.stat().st_mtime > UNCHANGED_S:
                _copy(path)


def holders(path: Path = RWLOCK) -> dict[int, str]:
    """Return the processes that DVC has noted as readers and writers and that are at work.

    Returns:
        Their commands by their numbers.
    """
    entries, written = _entries(path)
    return {pid: command for pid, command in entries.items() if _was_there(pid, written)}


def _locks() -> list[Path]:
    paths = [Path("dvc.lock"), *sorted(Path("studies").rglob("dvc.lock"))]
    return [path for path in paths if path.is_file()]


def _copy_of(path: Path) -> Path:
    return COPIES / "/".join(path.parts)


def _copy(path: Path) -> None:
    with contextlib.suppress(OSError):  # what cannot be copied now is copied another time
        copy, state = _copy_of(path), path.stat()
        if copy.exists() and copy.stat().st_mtime_ns == state.st_mtime_ns:
            return
        content = read_file(path)
        if not _is_torn_lock(content):
            write_atomically(copy, content)
            os.utime(copy, ns=(state.st_atime_ns, state.st_mtime_ns))


def _committed(path: Path) -> bytes:
    with contextlib.suppress(OSError):  # no git here
        shown = subprocess.run(["git", "show", f"HEAD:./{path.as_posix()}"], capture_output=True)
        if not shown.returncode:
            return shown.stdout
    return b""


def _alike(one: bytes, other: bytes) -> int:
    """Count the bytes with which both begin."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _content(path: Path) -> bytes:
    try:
        return read_file(path)
    except OSError:
        return b""


def _is_torn_list(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:  # not JSON, or not even text
        return True
    return False


def _is_torn_lock(content: bytes) -> bool:
    """Tell whether a lock ends within a line; DVC ends each, and so does whoever merges two."""
    return not content.endswith(b"\n")


def _stays(path: Path, torn: Callable[[bytes], bool]) -> bool:
    """Tell whether a file is torn for good: a DVC that writes it now soon changes it again."""

    def state() -> int | None:
        try:
            since, content = path.stat().st_mtime_ns, read_file(path)
        except OSError:
            return None
        return since if torn(content) else None

    before = state()
    if before is None:
        return False
    time.sleep(UNCHANGED_S)
    return state() == before


def _entries(path: Path) -> tuple[dict[int, str], float]:
    """Read DVC's list: commands by the numbers of their processes, and when it was written."""
    try:
        written, content = path.stat().st_mtime, json.loads(read_file(path))
        notes: list[Any] = [*content.get("write", {}).values()]
        for readers in content.get("read", {}).values():
            notes += readers
        return {int(note["pid"]): str(note["cmd"]) for note in notes}, written
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}, 0.0  # torn, or of another form, which DVC itself tells of


def _names_others(path: Path) -> bool:
    entries, written = _entries(path)
    there = [pid for pid in entries if psutil.pid_exists(pid)]
    return bool(there) and not any(_was_there(pid, written) for pid in there)


def _was_there(pid: int, written: float) -> bool:
    """Tell whether a process is the one that a list names which was written then."""
    if pid == os.getpid():
        return False
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        if not alive(process):
            return False
        if process.create_time() <= written + SAME_TIME_S:
            return True
        # A clock that was set makes a process look younger; a DVC is never taken for another.
        return "dvc" in [Path(word).name for word in process.cmdline()]
    return False
