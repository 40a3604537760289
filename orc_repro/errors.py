"""The one exception that the command line shows as a sentence."""

from __future__ import annotations


class UserError(Exception):
    """A mistake a user can correct: one sentence, exit code 2, no traceback."""
