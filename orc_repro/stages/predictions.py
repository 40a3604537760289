"""What a cell's target predicted for each test image.

Written beside every result, a file of a few kilobytes for git. With the labels of the test split
anybody can compute the accuracy again, compare two methods image by image, or test a difference.
"""

from __future__ import annotations

import base64
import zlib
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from orc_repro.cells import Study
from orc_repro.errors import UserError, one_line
from orc_repro.files import write_json
from orc_repro.project import RESULTS, WEIGHTS
from orc_repro.report.results import Result
from orc_repro.stages.evaluate import evaluate_cell
from orc_repro.stages.origin import check_origin
from orc_repro.stages.place import take_place
from orc_repro.stages.run import manifest_of, open_split
from orc_repro.stages.train import check_weights, weights_digest
from orc_repro.training.evaluate import BATCH_SIZE
from orc_repro.training.networks import build_network, load_weights
from orc_repro.validation import Strict, read_json

Classes = npt.NDArray[np.int64]
_STORED = np.dtype("<u2")


class Predictions(Strict):
    """``results/<study>/predictions/<cell>.json``.

    ``weights_digest`` is that of the result it belongs to; ``network`` is its target, with the
    weights after the last epoch; ``dataset_sha256`` is the digest of the prepared set's manifest,
    in the order of whose test images ``classes`` are: base64 of 16-bit little-endian numbers,
    compressed by zlib.
    """

    cell: str
    weights_digest: str
    network: str
    images: Annotated[int, Field(ge=0, le=10**7)]
    dataset_sha256: str
    classes: str


def path_of(study: str, cell: str) -> Path:
    """Where a cell's predictions lie."""
    return RESULTS / study / "predictions" / f"{cell}.json"


def evaluate_and_keep(study: Study, key: str, device: str = "auto") -> Result:
    """Write what a trained cell's target predicts, then evaluate it (:func:`evaluate_cell`).

    In this order, as a cell counts as measured once its result is there: whatever cuts this short
    leaves no result without predictions.

    Raises:
        UserError: see :func:`evaluate_cell`, ``check_origin`` and ``check_weights``.
    """
    check_origin(study.params, study.cell(key).dataset)
    check_weights(study, key)
    kept = _predict(study, key, device)
    write_json(path_of(study.name, key), kept.model_dump(mode="json"))
    return evaluate_cell(study, key, device)


def _predict(study: Study, key: str, device: str) -> Predictions:
    cell = study.cell(key)
    group, recipe, _ = study.parts(cell)
    place = take_place(device, recipe)
    manifest = manifest_of(cell.dataset)
    network = build_network(group.target, manifest, 0, place).eval()
    load_weights(network, WEIGHTS / key / "last" / f"{group.target}.safetensors")
    images = open_split(study.params, cell.dataset, "test", manifest, recipe, place)
    with torch.no_grad():
        found = [network(batch).argmax(dim=1) for batch, _ in images.plain_batches(BATCH_SIZE)]
    return Predictions(
        cell=key,
        weights_digest=weights_digest(WEIGHTS / key),
        network=group.target,
        images=len(images),
        dataset_sha256=manifest.digest,
        classes=pack(torch.cat(found).cpu().numpy()),
    )


def read_predictions(study: str, result: Result) -> Classes | None:
    """The predictions behind a result; None if there are none, or if they are another result's.

    Raises:
        UserError: the file is damaged.
    """
    path = path_of(study, result.cell)
    if not path.exists():
        return None
    kept = read_json(Predictions, path)
    if (kept.weights_digest, kept.network) != (result.weights_digest, result.target_name):
        return None
    try:
        return unpack(kept.classes, kept.images)
    except ValueError as error:
        raise UserError(f"{path} is damaged: {one_line(str(error))}") from None


def pack(classes: Classes) -> str:
    """int64 [N] -> text; the same classes are the same text.

    Raises:
        ValueError: a class is below 0 or above 65,535.
    """
    if len(classes) and not 0 <= classes.min() <= classes.max() <= np.iinfo(_STORED).max:
        raise ValueError(f"classes from {classes.min()} to {classes.max()} cannot be stored")
    return base64.b64encode(zlib.compress(classes.astype(_STORED).tobytes(), 9)).decode()


def unpack(text: str, images: int) -> Classes:
    """Undo :func:`pack`; of a text that would become more than these images, only so much.

    Raises:
        ValueError: it is not such a text, or not of so many images.
    """
    stream = zlib.decompressobj()
    size = images * _STORED.itemsize
    try:
        content = stream.decompress(base64.b64decode(text, validate=True), size + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(content) != size or not stream.eof or stream.unused_data:
        raise ValueError(f"its classes are not those of {images} images")
    return np.frombuffer(content, _STORED).astype(np.int64)


def top1(predicted: Classes, labels: Classes) -> float:
    """Percent of the images whose class was predicted.

    Raises:
        ValueError: there is not one prediction for each label.
    """
    if predicted.shape != labels.shape:
        raise ValueError(f"{len(predicted)} predictions for {len(labels)} labels")
    return 100 * int((predicted == labels).sum()) / len(labels)
