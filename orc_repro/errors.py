"""The exceptions that the command line shows as a sentence."""

from __future__ import annotations

from signal import Signals

LONGEST = 500


def one_line(text: str, longest: int = LONGEST) -> str:
    """A stranger's words within a sentence: no line break, no escape sequence, no endless name."""
    plain = "".join(c if c.isprintable() else "?" for c in text[: longest + 1])
    return plain if len(plain) <= longest else f"{plain[:longest]}…"


class UserError(Exception):
    """A mistake a user can correct: one sentence, exit code 2, no traceback."""


class Interrupted(BaseException):
    """The process was asked to stop: one sentence, exit code 128 + the signal's number.

    No error, so that nothing that handles errors of any kind takes it for one.
    """

    def __init__(self, by: Signals, sentence: str = "") -> None:
        super().__init__(sentence or f"stopped by {by.name}")
        self.by = by

    @property
    def exit_code(self) -> int:
        """130 for SIGINT, 143 for SIGTERM, as a shell counts."""
        return 128 + self.by


class NotWorthwhile(Exception):
    """A run is stopped because whoever started it has seen enough; the words say what."""
