"""The exceptions that the command line shows as a sentence."""

from __future__ import annotations

import re
import sys
from signal import Signals

LONGEST = 500
LONGEST_SENTENCE = 1500


def one_line(text: str, longest: int = LONGEST) -> str:
    """A stranger's words within a sentence: no line break, no escape sequence, no endless name."""
    plain = "".join(c if c.isprintable() else "?" for c in text[: longest + 1])
    return plain if len(plain) <= longest else f"{plain[:longest]}…"


def sentence(text: str) -> str:
    """Make one line of a text that may quote an argument, a file or a library."""
    return one_line(re.sub(r"\s*[\r\n]\s*", " ", text.strip()), LONGEST_SENTENCE)


def say(kind: str, text: str) -> None:
    """Print one line on standard error: an error, a ``warning`` or a ``note``."""
    print(f"{kind}: {sentence(text)}", file=sys.stderr, flush=True)


class UserError(Exception):
    """A mistake a user can correct: one sentence, exit code 2, no traceback.

    It is one line whatever it quotes, as it is printed, logged and quoted in turn.
    """

    def __init__(self, text: str) -> None:
        super().__init__(sentence(text))


class Interrupted(BaseException):
    """The process was asked to stop: one sentence, exit code 128 + the signal's number.

    No error, so that nothing that handles errors of any kind takes it for one.
    """

    def __init__(self, by: Signals, words: str = "") -> None:
        super().__init__(words or f"stopped by {by.name}")
        self.by = by

    @property
    def exit_code(self) -> int:
        """130 for SIGINT, 143 for SIGTERM, as a shell counts."""
        return 128 + self.by


class NotWorthwhile(Exception):
    """A run is stopped because whoever started it has seen enough; the words say what."""
