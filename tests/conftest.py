"""What every test starts from."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from orc_repro.instructions import use_portable

TESTS = Path(__file__).parent
LONGEST_FIRST = (
    "reliability/test_processes.py",
    "probes/test_mutants.py",
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


OF_THE_TESTS = ("ORC_KILLS", "ORC_REAL_DATA", "ORC_SCREENSHOTS")
COLOURS = ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "TTY_COMPATIBLE")


def pytest_configure() -> None:
    """What a shell outside has set is nothing to the tests.

    One that runs them in the background makes them, and theirs, deaf to SIGINT. Tests that need a
    GPU say so; all others are of the CPU.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in list(os.environ):
        ours = name.startswith(("ORC_", "DVC_", "MLFLOW_")) and name not in OF_THE_TESTS
        if ours or name in COLOURS:
            del os.environ[name]
    os.environ |= {"ORC_DEVICE": "cpu", "DVC_NO_ANALYTICS": "1"}
    os.environ |= {name: "localhost,127.0.0.1" for name in ("no_proxy", "NO_PROXY")}
    use_portable()  # now: once a test has computed, no other could


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long modules first, as the workers take them: whole, in this order."""
    ranks = {TESTS / name: rank for rank, name in enumerate(LONGEST_FIRST)}
    missing = [path.name for path in ranks if not path.is_file()]
    assert not missing, f"LONGEST_FIRST names what is not there: {missing}"
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))
