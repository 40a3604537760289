"""What every test starts from."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
LONGEST_FIRST = (
    "reliability/test_processes.py",
    "test_pipeline_cifar.py",
    "docs/test_tutorial.py",
    "search/test_postgresql.py",
    "test_pipeline_dvc.py",
    "test_tables_small.py",
    "test_pipeline_photos.py",
    "processes/test_training.py",
    "reliability/test_kills.py",
    "reliability/test_signals.py",
    "stages/test_run.py",
    "queue/test_work.py",
    "tracking/test_ui.py",
)
"""Modules that take minutes. They come first, so that at the end no worker waits for another's."""


def pytest_configure() -> None:
    """Hear SIGINT: a shell that runs the tests in the background makes them, and theirs, deaf."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long modules first, as the workers take them: whole, in this order."""
    ranks = {TESTS / name: rank for rank, name in enumerate(LONGEST_FIRST)}
    missing = [path.name for path in ranks if not path.is_file()]
    assert not missing, f"LONGEST_FIRST names what is not there: {missing}"
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))
