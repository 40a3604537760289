"""A cell that was begun under another config, code or dataset: said, not silently begun again."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from orc_repro.errors import UserError, say
from orc_repro.project import scratch
from orc_repro.stages.identity import Identity
from orc_repro.tracking.outcome import read_outcome
from orc_repro.training.checkpoints import differences, saved

_FLAT = TypeAdapter(dict[str, str])


def note_unfinished(identity: Identity) -> None:
    """Tell of the newest unfinished run of the same cell, and why it is not continued."""
    found = [
        (checkpoint.stat().st_mtime, folder, made_from)
        for folder in (scratch() / "runs").glob("*")
        if folder.name != identity.fingerprint
        and (made_from := _made_from(folder)) is not None
        and (made_from.get("study"), made_from.get("cell")) == (identity.study, identity.key)
        and not _is_finished(folder)
        for checkpoint in saved(folder)[-1:]
    ]
    if found:
        _, folder, made_from = max(found, key=lambda entry: entry[0])
        change = differences(made_from, identity.made_from)
        say(
            "note",
            f"{identity.key} starts over, because {change}; the run that was begun before is kept"
            f" in {folder}",
        )


def _is_finished(folder: Path) -> bool:
    try:
        ended = read_outcome(folder)
    except UserError:
        return False
    return ended is not None and ended.status == "FINISHED"


def _made_from(folder: Path) -> dict[str, str] | None:
    try:
        return _FLAT.validate_json((folder / "made_from.json").read_bytes())
    except (OSError, ValidationError):
        return None
