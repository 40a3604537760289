"""A run's checkpoints on the disk: whole or not at all, the last two kept, verified when read.

A file is a line that says what it is, the SHA-256 of the rest, and the rest: a :class:`State` as
torch writes it, read back with ``weights_only=True``, so that a file from someone else runs no
code. The hash is compared before anything is parsed.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import ValidationError

from orc_repro.errors import UserError, one_line
from orc_repro.files import read_file, write_atomically
from orc_repro.memory import is_out_of_memory
from orc_repro.progress import Progress
from orc_repro.tracking.runlog import Log
from orc_repro.training.state import State

MAGIC = b"orc_repro checkpoint 1\n"
KEPT = 2
NAMES = "checkpoint-*.pt"


class Damaged(Exception):
    """A file that is not a checkpoint as it was written."""


class Checkpoints:
    """The checkpoints in one run's folder."""

    def __init__(
        self,
        folder: Path,
        fingerprint: str,
        made_from: Mapping[str, str],
        made_with: Mapping[str, str],
        every_seconds: float,
        progress: Progress,
    ) -> None:
        self._folder, self._every_seconds, self._progress = folder, every_seconds, progress
        self.fingerprint = fingerprint
        self.made_from, self.made_with = dict(made_from), dict(made_with)
        self._saved = time.monotonic()
        self._latest: Path | None = None

    @property
    def due(self) -> bool:
        """Whether the last one is old enough for another."""
        return time.monotonic() - self._saved >= self._every_seconds

    def save(self, state: State) -> bool:
        """Write a checkpoint and drop all but the last two; False if it is there already.

        Raises:
            UserError: it cannot be written. The ones before it are as they were.
        """
        at = state.progressed
        path = self._folder / f"checkpoint-{at.epoch:06d}-{at.step:09d}.pt"
        self._saved = time.monotonic()
        if path == self._latest:
            return False
        body = io.BytesIO()
        torch.save(state.model_dump(), body)
        view = body.getbuffer()
        try:
            write_atomically(path, MAGIC, hashlib.sha256(view).hexdigest().encode(), b"\n", view)
            for old in saved(self._folder)[:-KEPT]:
                old.unlink()
        except OSError as error:
            raise UserError(
                f"the checkpoint {path} cannot be written: {error}; make space or correct the"
                " folder, and the same command goes on from the checkpoint before"
            ) from None
        self._latest, self._saved = path, time.monotonic()
        return True

    def load(self, log: Log) -> State | None:
        """The newest state that is whole and fits the run's log; None if there is none.

        Raises:
            UserError: there are checkpoints, but none can be used, or one is of another run.
        """
        paths = saved(self._folder)
        for stale in paths[:-KEPT]:  # a kill came between a checkpoint and the clearing up
            stale.unlink()
        damaged: dict[Path, str] = {}
        for path in reversed(paths[-KEPT:]):
            try:
                state = read_state(path)
                self._refuse_another_run(path, state)
                if not log.matches(state.marks):
                    raise Damaged("the run's log beside it is not the one it was written with")
            except Damaged as error:
                damaged[path] = str(error)
                continue
            self._warn_of_another_machine(state)
            for bad, reason in damaged.items():
                at = state.progressed
                self._progress.warn(
                    f"{bad} is damaged ({reason}); going on from the checkpoint before it, epoch"
                    f" {at.epoch + 1}, step {at.step}"
                )
                bad.unlink()
            self._latest = path
            return state
        for bad, reason in damaged.items():
            raise UserError(
                f"{bad} is damaged ({reason}), and there is no whole one before it; `--restart`"
                " starts over"
            )
        return None

    def _refuse_another_run(self, path: Path, state: State) -> None:
        if state.fingerprint != self.fingerprint:
            difference = differences(state.made_from, self.made_from) or "it is of another run"
            raise UserError(
                f"{path} cannot be continued here: {difference}; `--restart` starts over"
            )

    def _warn_of_another_machine(self, state: State) -> None:
        change = differences(
            {key: value for key, value in state.made_with.items() if key != "commit"},
            {key: value for key, value in self.made_with.items() if key != "commit"},
        )
        if change:
            self._progress.warn(f"{change}; from here on results may differ in their last bits")


def saved(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the oldest first."""
    return sorted(folder.glob(NAMES))


def clear(folder: Path) -> None:
    """Remove every checkpoint in a folder."""
    for path in saved(folder):
        path.unlink(missing_ok=True)


def read_state(path: Path) -> State:
    """Read and verify one checkpoint. Runs no code from it.

    Raises:
        Damaged: says what is wrong with it.
        UserError: it cannot be read at all.
    """
    try:
        content = read_file(path)
    except OSError as error:
        raise UserError(f"the checkpoint {path} cannot be read: {error}") from None
    head = len(MAGIC) + 65
    if not content.startswith(MAGIC) or content[head - 1 : head] != b"\n":
        raise Damaged("it does not begin as one")
    view = memoryview(content)[head:]
    if hashlib.sha256(view).hexdigest().encode() != content[len(MAGIC) : head - 1]:
        raise Damaged("its SHA-256 is another")
    try:
        plain = torch.load(io.BytesIO(view), map_location="cpu", weights_only=True)
        return State.model_validate(plain)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = one_line(".".join(map(str, first["loc"])))
        raise Damaged(f"{place}: {first['msg']}") from None
    except Exception as error:  # torch meets a malformed archive with nearly any exception
        if is_out_of_memory(error):
            raise
        raise Damaged(f"torch cannot read it: {type(error).__name__}") from None


def differences(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """What differs between two flat mappings, as half a sentence; empty if nothing does."""
    keys = [
        key
        for key in [*ours, *(key for key in theirs if key not in ours)]
        if theirs.get(key) != ours.get(key)
    ]
    if not keys:
        return ""
    shown = [
        f"{key} was {_short(theirs.get(key))} and is {_short(ours.get(key))}" for key in keys[:3]
    ]
    more = f" (and {len(keys) - 3} more)" if len(keys) > 3 else ""
    return ", ".join(shown) + more


def _short(value: str | None) -> str:
    if value is None:
        return "not there"
    short = value[:12] if len(value) in (32, 64) else value[:60]  # a hash is known by its beginning
    return "".join(c if c.isprintable() else "?" for c in short) or "empty"
