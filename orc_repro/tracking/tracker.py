"""What a stage calls: start a run, end it, and deliver whatever has not arrived yet."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from orc_repro.config import Tracking
from orc_repro.fingerprint import write_json
from orc_repro.project import scratch
from orc_repro.tracking.delivery import Delivery, Outcome
from orc_repro.tracking.description import Description
from orc_repro.tracking.finals import send_finals
from orc_repro.tracking.runlog import forget
from orc_repro.tracking.sender import Sender
from orc_repro.tracking.store import open_client, shown, store_uri
from orc_repro.validation import read_json


class Tracker:
    """One run's tracking. With tracking off, the run's own files are still complete.

    Raises:
        UserError: the tracking store does not answer when the run starts.
    """

    def __init__(
        self, folder: Path, description: Description, settings: Tracking, resumed: bool = False
    ) -> None:
        self.folder, self._settings = folder, settings
        self._started = time.monotonic()
        self._sender: Sender | None = None
        if settings.enabled:
            open_client()  # a wrong address is found before hours of training, not after
            self._sender = Sender(folder, store_uri(), settings.role_changes == "all")
        folder.mkdir(parents=True, exist_ok=True)
        if not resumed:
            forget(folder)
        write_json(folder / "run.json", description.model_dump(mode="json"))
        (folder / "outcome.json").unlink(missing_ok=True)
        if self._sender is not None:
            self._sender.start()

    def finish(
        self,
        status: str,
        reason: str = "",
        figures: Mapping[str, float] | None = None,
        artifacts: Mapping[str, Path] | None = None,
        weights_digest: str = "",
    ) -> str | None:
        """End the run and deliver the rest.

        Args:
            status: ``FINISHED``, ``FAILED`` or ``KILLED``.
            reason: a sentence why, if it did not finish.
            figures: what it cost; ``cost/seconds`` is added.
            artifacts: files to keep, by ``<folder>/<name>``.
            weights_digest: which weights came out.

        Returns:
            None, or a sentence saying what could not be delivered.
        """
        for name, source in (artifacts or {}).items():
            goal = self.folder / "artifacts" / name
            goal.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, goal)
        outcome = Outcome(
            status=status,
            reason=reason,
            ended_ms=time.time_ns() // 1_000_000,
            figures={"cost/seconds": time.monotonic() - self._started} | dict(figures or {}),
            weights_digest=weights_digest,
        )
        write_json(self.folder / "outcome.json", outcome.model_dump())
        if self._sender is None:
            return None
        self._sender.stop()
        return deliver(self.folder, self._settings)


def deliver(folder: Path, settings: Tracking) -> str | None:
    """Bring MLflow up to what a run folder and the results hold. Sending twice changes nothing.

    Returns:
        None, or a sentence saying why it could not be done.
    """
    uri = store_uri()
    try:
        delivery = Delivery(open_client(uri), folder, settings.role_changes == "all")
        delivery.drain()
        outcome = folder / "outcome.json"
        if outcome.exists():
            ended = read_json(Outcome, outcome)
            send_finals(delivery, ended)
            delivery.finish(ended)
    except Exception as error:  # a store may raise anything; the run's files are safe
        why = " ".join(str(error).split())[:200]
        return f"{folder.name} is not delivered to {shown(uri)} ({why}); `orc-repro sync` will"
    return None


def run_folders() -> list[Path]:
    """The folders of every run made on this machine."""
    return sorted(path.parent for path in (scratch() / "runs").glob("*/run.json"))
