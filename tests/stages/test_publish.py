"""Published weights answer what was evaluated, by the words of their card alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from orc_repro.cells import load_study
from orc_repro.errors import UserError
from orc_repro.fingerprint import file_digest
from orc_repro.project import WEIGHTS
from orc_repro.stages import publish as module
from orc_repro.stages.evaluate import evaluate_cell
from orc_repro.stages.publish import CARD, WEIGHTS_FILE, publish
from orc_repro.stages.train import train
from tests.reliability.machine import cell_of
from tests.stages.cards import classes_by_the_card, top1


def test_the_code_of_a_card_gives_its_accuracy(
    inside_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, key = load_study(), cell_of("kd")
    with pytest.raises(UserError, match="has no evaluated cell of any method"):
        publish(study, ())
    for cell in (cell_of("ce"), key):
        train(study, cell, "cpu")
        result = evaluate_cell(study, cell, "cpu")
    shutil.rmtree(WEIGHTS / cell_of("ce"))
    with pytest.raises(UserError, match="are not here; `orc-repro train"):
        publish(study, ())
    with pytest.raises(UserError, match="has no evaluated cell of orc"):
        publish(study, ["kd", "orc"])
    (folder,) = publish(study, ["kd"])
    assert folder == Path("reports/models") / key
    images, labels = (
        torch.from_numpy(np.load(f"data/prepared/digits/test_{kind}.npy"))
        for kind in ("images", "labels")
    )
    assert top1(classes_by_the_card(folder, images), labels) == result.target.last.top1
    text = (folder / CARD).read_text()
    assert f"| test top-1, last epoch | {result.target.last.top1:.2f} % |" in text
    assert file_digest(folder / WEIGHTS_FILE) in text
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    with pytest.raises(UserError, match="more than 1,000 are not published"):
        publish(study, ["kd"])
