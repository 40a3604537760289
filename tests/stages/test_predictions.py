"""A result's number, computed again from what was predicted."""

from __future__ import annotations

import json
import signal
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from orc_repro.cells import load_study
from orc_repro.errors import Interrupted, UserError
from orc_repro.queue.standing import is_measured
from orc_repro.stages.predictions import (
    evaluate_and_keep,
    pack,
    path_of,
    read_predictions,
    top1,
    unpack,
)
from orc_repro.stages.run import manifest_of
from orc_repro.stages.train import train
from tests.reliability.machine import cell_of


def test_what_is_packed_is_unpacked() -> None:
    classes = np.array([0, 9, 999, 65535, 3], dtype=np.int64)
    assert unpack(pack(classes), 5).tolist() == [0, 9, 999, 65535, 3]
    assert unpack(pack(classes[:0]), 0).tolist() == []
    with pytest.raises(ValueError, match="classes from 0 to 65536"):
        pack(np.array([0, 65536], dtype=np.int64))
    for damaged in ("%", "aGVsbG8="):
        with pytest.raises(ValueError):
            unpack(damaged, 1)


def test_a_text_that_becomes_more_than_its_images_is_not_unpacked() -> None:
    packed = pack(np.zeros(10**7, dtype=np.int64))
    tracemalloc.start()
    with pytest.raises(ValueError, match="not those of 5 images"):
        unpack(packed, 5)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


def test_top1_counts_hits() -> None:
    assert top1(np.array([1, 2, 3, 0]), np.array([1, 2, 0, 0])) == 75.0
    with pytest.raises(ValueError, match="3 predictions for 2 labels"):
        top1(np.array([1, 2, 3]), np.array([1, 2]))


def test_a_result_is_computed_again_from_its_predictions(inside_project: Path) -> None:
    study, key = load_study(), cell_of("kd")
    train(study, key, "cpu")
    result = evaluate_and_keep(study, key, "cpu")
    predicted = read_predictions(study.name, result)
    assert predicted is not None
    labels = np.load("data/prepared/digits/test_labels.npy")
    assert top1(predicted, labels) == result.target.last.top1 > 50
    by_class = [100 * (predicted[labels == c] == c).mean() for c in range(10)]
    assert by_class == pytest.approx(list(result.target.last.class_top1))
    # Of another result's weights they say nothing.
    other = result.model_copy(update={"weights_digest": "0" * 64})
    assert read_predictions(study.name, other) is None
    assert read_predictions(study.name, result.model_copy(update={"cell": "another"})) is None
    path = path_of(study.name, key)
    content = json.loads(path.read_text())
    assert content["dataset_sha256"] == manifest_of("digits").digest
    for changed in ({"images": 3}, {"classes": "%"}):
        path.write_text(json.dumps(content | changed))
        with pytest.raises(UserError, match="is damaged"):
            read_predictions(study.name, result)


def test_a_cut_leaves_no_result_without_predictions(inside_project: Path) -> None:
    study, key = load_study(), cell_of("ce")
    train(study, key, "cpu")

    def end(*_: object) -> None:
        raise Interrupted(signal.SIGALRM)

    for cut in ("predictions", "evaluate"):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted):
            patch.setattr(f"orc_repro.stages.{cut}.write_json", end)
            evaluate_and_keep(study, key, "cpu")
        assert not is_measured(study, key)
    result = evaluate_and_keep(study, key, "cpu")
    assert is_measured(study, key) and read_predictions(study.name, result) is not None
