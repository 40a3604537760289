"""How much these tests try."""

from __future__ import annotations

from tests.hostile import (
    test_checkpoints,
    test_config_files,
    test_fuzz,
    test_prepared_sets,
    test_run_folders,
    test_weights,
)

MODULES = (
    test_checkpoints,
    test_config_files,
    test_fuzz,
    test_prepared_sets,
    test_run_folders,
    test_weights,
)


def test_ten_thousand_inputs_and_more_are_tried() -> None:
    assert sum(module.INPUTS for module in MODULES) >= 10_000
