"""Numbers in the reports, computed again from what the networks predicted."""

from __future__ import annotations

import numpy as np
import pytest

from orc_repro.report.results import read_results
from orc_repro.stages.predictions import read_predictions, top1
from tests.project import ROOT

# Drawn subsets have their test images class by class, as many of each.
DRAWN = ("cifar10-3k", "cifar100-3k")


def test_every_accuracy_is_that_of_its_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    seen = 0
    for dataset in DRAWN:
        for result in read_results(ROOT / "results" / dataset / "evaluated"):
            predicted = read_predictions(dataset, result)
            assert predicted is not None, result.cell
            by_class = result.target.last.class_top1
            labels = np.repeat(np.arange(len(by_class)), len(predicted) // len(by_class))
            assert top1(predicted, labels) == result.target.last.top1
            again = [top1(predicted[labels == c], labels[labels == c]) for c in set(labels)]
            assert again == pytest.approx(by_class)
            seen += 1
    assert seen >= 2
