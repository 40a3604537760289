"""Ten thousand spoilt files: each is accepted, or refused in one sentence.

No traceback, no hang, nothing written. ``make fuzz`` goes on with other ones.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from tests.hostile.fuzz import inputs
from tests.hostile.readers import readers

INPUTS = 10_000
SEED = 2026


def test_spoilt_files_are_read_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    every = readers(project)
    tried, accepted = Counter[str](), Counter[str]()
    for one in every:
        assert one.try_one(one.content, project, tmp_path), f"{one.name} as it was written"
    for one, content in islice(inputs(SEED, every), INPUTS):
        tried[one.name] += 1
        accepted[one.name] += one.try_one(content, project, tmp_path)
    assert sum(tried.values()) == INPUTS and len(tried) == len(every)
    for name, count in tried.items():
        assert 0 < accepted[name] < count, name  # both happen, or nothing is tried
