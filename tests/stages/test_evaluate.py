"""A trained cell on the test split: what is looked at, and how often."""

from __future__ import annotations

from pathlib import Path

import pytest

from orc_repro.cells import load_study
from orc_repro.fingerprint import file_digest
from orc_repro.stages import evaluate as module
from orc_repro.stages.train import train
from orc_repro.training.evaluate import evaluate
from tests.reliability.machine import cell_of


def test_the_same_weights_are_evaluated_once(
    inside_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, key = load_study(), cell_of("kd")
    train(study, key, "cpu")
    looks: list[str] = []

    def counting(*words: object) -> object:
        looks.append("look")
        return evaluate(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "evaluate", counting)
    result = module.evaluate_cell(study, key, "cpu")
    files = [*Path("weights/cells", key).glob("*/*.safetensors")]
    assert len(looks) == len({file_digest(file) for file in files}) < len(files)
    # The pivot is frozen: before, after and at its best it is one network.
    (pivot,) = (name for name, net in result.networks.items() if net.role == "pivot")
    seen = result.networks[pivot]
    assert result.pivot_before == seen.last.top1 == seen.best.top1
    assert result.pivot_before_class_top1 == seen.last.class_top1
    # Another architecture's weights never stand for them.
    target = module.evaluate_cell(study, key, "cpu").target
    assert target == result.target and target.last.top1 != seen.last.top1
