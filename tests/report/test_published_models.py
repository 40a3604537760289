"""Each published network is the one whose accuracy stands in the tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
import torch

from orc_repro.config import load_params
from orc_repro.data.sources import SourceImages, read_folder
from orc_repro.data.subset import write_subset
from orc_repro.fingerprint import file_digest
from orc_repro.project import REPORTS
from orc_repro.report.results import Result, read_results
from orc_repro.stages.predictions import read_predictions
from orc_repro.stages.publish import CARD, MOST_BYTES, WEIGHTS_FILE
from tests.project import REAL, ROOT
from tests.stages.cards import classes_by_the_card, top1

MODELS = sorted((ROOT / REPORTS / "models").glob("*/"))
SETS: dict[str, tuple[Literal["cifar10", "cifar100"], dict[str, int]]] = {
    "cifar10-3k": ("cifar10", {"test_per_class": 200}),
    "cifar100-3k": ("cifar100", {"test_per_class": 100, "every_class": 5}),
}
"""As `make scaled-data` draws them."""
MOST_TIES = 5


def result_of(model: Path) -> Result:
    for path in ROOT.glob("results/*/evaluated"):
        for result in read_results(path):
            if result.cell == model.name:
                return result
    raise AssertionError(f"{model.name} has no result")


@pytest.fixture(scope="module")
def drawn_sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SourceImages]:
    if not (REAL / "unpack.py").exists():
        pytest.skip("real CIFAR images are not beside the checkout")
    folder, found = tmp_path_factory.mktemp("drawn"), {}
    for name, (real, counts) in SETS.items():
        packed = folder / f"{real}.npz"
        subprocess.run(
            [sys.executable, REAL / "unpack.py", real, "--to", packed],
            check=True,
            capture_output=True,
        )
        write_subset(real, packed, folder / name, train_per_class=1, **counts)
        found[name] = read_folder(folder / name)
    return found


@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.name)
def test_a_card_tells_of_the_weights_beside_it(model: Path) -> None:
    text, result = (model / CARD).read_text(), result_of(model)
    assert (model / WEIGHTS_FILE).stat().st_size <= MOST_BYTES
    assert file_digest(model / WEIGHTS_FILE) in text
    assert f"| {result.target.last.top1:.2f} % |" in text and result.fingerprint in text
    assert load_params(ROOT / "params.yaml").methods[result.method].kind in text


@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.name)
def test_a_published_network_answers_as_it_was_evaluated(
    model: Path, drawn_sets: dict[str, SourceImages], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    result = result_of(model)
    source = drawn_sets[result.dataset]
    images, labels = torch.from_numpy(source.test_images), torch.from_numpy(source.test_labels)
    found = classes_by_the_card(model, images)
    predicted = read_predictions(result.dataset, result)
    assert predicted is not None
    # Another processor may round an answer that is nearly a tie differently.
    assert (found != torch.from_numpy(predicted)).sum() <= MOST_TIES
    assert abs(top1(found, labels) - result.target.last.top1) <= 100 * MOST_TIES / len(labels)
