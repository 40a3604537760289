"""Importances tell what makes accuracy high, with and without a second objective."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

from orc_repro.search import answer


@pytest.mark.parametrize("directions", [["maximize"], ["maximize", "minimize"]])
def test_what_lifts_the_best_counts_and_not_what_spoils_the_worst(
    directions: list[Any], tmp_path: Path
) -> None:
    def objective(trial: optuna.Trial) -> tuple[float, ...]:
        lifts, spoils = trial.suggest_float("lifts", 0, 1), trial.suggest_float("spoils", 0, 1)
        accuracy = 50.0 + 10 * (lifts > 0.9) - 5 * (spoils < 0.3)
        return (accuracy, 1.0)[: len(directions)]

    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(directions=directions, sampler=sampler)
    study.optimize(objective, n_trials=200)
    importances = answer._draw(study, tmp_path)
    assert importances["lifts"] > 0.9 > 0.1 > importances["spoils"]
    assert (tmp_path / "param_importances.svg").exists()
