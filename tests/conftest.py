"""What every test starts from."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Hear SIGINT: a shell that runs the tests in the background makes them, and theirs, deaf."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
