"""What a run calls: start tracking it, and end it however it ends."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from orc_repro.config import Tracking
from orc_repro.errors import UserError
from orc_repro.files import write_json
from orc_repro.interruption import Interruption
from orc_repro.tracking.description import Description
from orc_repro.tracking.outcome import OUTCOME, Outcome
from orc_repro.tracking.runlog import ARTIFACTS
from orc_repro.tracking.sender import Sender
from orc_repro.tracking.store import has_answered, open_client
from orc_repro.validation import read_json

ABOUT = "run.json"


def ask_new_store(settings: Tracking) -> None:
    """Ask a store that never answered: a wrong address is found before hours of training.

    A store that is known and just now away costs nothing but a later ``orc-repro sync``.

    Raises:
        UserError: the store does not answer, or its address is wrong.
    """
    if settings.enabled and not has_answered():
        open_client()


class Tracker:
    """One run's tracking. With tracking off, the run's own files are still complete."""

    def __init__(
        self,
        folder: Path,
        description: Description,
        settings: Tracking,
        resumed: bool,
        stop: Interruption,
    ) -> None:
        self._folder, self._stop = folder, stop
        self._sender: Sender | None = None
        if settings.enabled:
            self._sender = Sender(folder, settings)
        about = folder / ABOUT
        if resumed and about.exists():  # it stays the same MLflow run
            first = _first(about)
            same = {"attempt": first.attempt, "started_ms": first.started_ms}
            description = description.model_copy(update=same)
        write_json(about, description.model_dump(mode="json"))
        (folder / OUTCOME).unlink(missing_ok=True)
        if self._sender is not None:
            self._sender.start()

    def end(
        self,
        status: str,
        reason: str = "",
        figures: Mapping[str, float] | None = None,
        artifacts: Mapping[str, Path] | None = None,
        weights_digest: str = "",
        outputs: Mapping[str, str] | None = None,
    ) -> None:
        """Write down how the run ended.

        Args:
            status: ``FINISHED``, ``FAILED`` or ``KILLED``.
            reason: a sentence why, if it did not finish.
            figures: what it cost.
            artifacts: files to keep, by ``<folder>/<name>``.
            weights_digest: which weights came out.
            outputs: SHA-256 of the files it wrote, by path.

        Raises:
            OSError: it cannot be written.
        """
        for name, source in (artifacts or {}).items():
            goal = self._folder / ARTIFACTS / name
            goal.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, goal)
        outcome = Outcome.model_validate(
            {
                "status": status,
                "reason": reason,
                "ended_ms": time.time_ns() // 1_000_000,
                "figures": dict(figures or {}),
                "weights_digest": weights_digest,
                "outputs": dict(outputs or {}),
            }
        )
        write_json(self._folder / OUTCOME, outcome.model_dump())

    def deliver(self) -> str | None:
        """Wait until MLflow has everything, within reason; a sentence if it does not."""
        return None if self._sender is None else self._sender.stop(self._stop)

    def finish(self, status: str, reason: str) -> str | None:
        """End a run that did not come to its end; no problem here hides what ended it."""
        with contextlib.suppress(OSError):  # a full disk, most likely what ended the run
            self.end(status, reason)
        return self.deliver()


def _first(about: Path) -> Description:
    try:
        return read_json(Description, about)
    except UserError:
        raise UserError(
            f"{about} is damaged; it says which MLflow run this is: `--restart` starts over"
        ) from None
