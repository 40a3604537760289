"""How a run ended; kept in the run folder as ``outcome.json`` until the run is resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from orc_repro.ranges import Cost, Milliseconds
from orc_repro.validation import Strict, read_json

OUTCOME = "outcome.json"
SECONDS = "cost/seconds"


class Outcome(Strict):
    """How a run ended.

    ``reason`` is a sentence why it did not finish, ``figures`` what the run cost (at least
    ``SECONDS`` if it finished),
    ``weights_digest`` which weights came out (empty if none), ``outputs`` the SHA-256 of every
    file that was written, by its path.
    """

    status: Literal["FINISHED", "FAILED", "KILLED"]
    reason: str
    ended_ms: Milliseconds
    figures: dict[str, Cost]
    weights_digest: str
    outputs: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _finished_with_its_cost(self) -> Self:
        if self.status == "FINISHED" and SECONDS not in self.figures:
            raise ValueError(f"figures has no {SECONDS}, which a finished run has")
        return self


def read_outcome(folder: Path) -> Outcome | None:
    """How the run in a folder ended, or None if it has not.

    Raises:
        UserError: the file that says so is damaged.
    """
    path = folder / OUTCOME
    return read_json(Outcome, path) if path.exists() else None
