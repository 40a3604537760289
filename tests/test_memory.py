"""What is refused on the machine at hand."""

from __future__ import annotations

import os

import pytest

from orc_repro.config import load_params
from orc_repro.errors import UserError
from orc_repro.memory import PER_PROCESSOR, refuse_more_than_bearable
from orc_repro.stages.place import take_place
from tests.project import ROOT


def test_threads_and_processes_are_limited_by_the_processors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for count in (None, 1, 2 * PER_PROCESSOR):
        refuse_more_than_bearable(count, "--workers")
    with pytest.raises(UserError, match=rf"--workers is 17; .* 2 processors.* {2 * PER_PROCESSOR}"):
        refuse_more_than_bearable(2 * PER_PROCESSOR + 1, "--workers")


def test_a_recipe_of_far_more_threads_than_processors_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = load_params(ROOT / "params.yaml").recipes["digits"]
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with pytest.raises(UserError, match="cpu_threads is 512"):
        take_place("cpu", recipe.model_copy(update={"cpu_threads": 512}))
