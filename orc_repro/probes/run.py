"""Run probes and print their digests, as the process that ``run_probes`` starts.

Everything is computed in float64 and rounded to six significant digits before it is hashed, so
that a digest is a fact about the code and not about the processor.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from orc_repro.cells import Study
from orc_repro.config import Params
from orc_repro.errors import Interrupted
from orc_repro.fingerprint import digest
from orc_repro.probes import parts
from orc_repro.probes.catalogue import Probe, probes
from orc_repro.probes.project import load_parameters, make_images, study_of
from orc_repro.progress import Progress
from orc_repro.project import ASSISTANTS, PIVOTS, ROLES, WEIGHTS, trained

CUT_AT = 5  # a run is stopped after so many of its 9 steps, within an epoch, and resumed
LEAST = 1e-9
"""What is smaller is taken for zero: of it, rounding errors can be all there is."""


def main(names: list[str]) -> None:
    """Run probes in a temporary project; print a JSON object of digests as the last line."""
    listed = {str(probe): probe for probe in probes()}
    chosen = [listed[name] for name in names] if names else list(listed.values())
    torch.set_default_dtype(torch.float64)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ORC_SCRATCH"] = f"{folder}/scratch"
        os.chdir(folder)
        make_images(Path(folder))
        params = load_parameters(Path(folder))
        with _no_fingerprints(), _silence():
            digests = {str(probe): _digest(probe, params) for probe in chosen if _can_run(probe)}
    print(json.dumps(digests))


def _can_run(probe: Probe) -> bool:
    feature = probe.subject == "method" and probe.name.startswith("feature")
    return not feature or find_spec("torchdistill") is not None


def _digest(probe: Probe, params: Params) -> str:
    look: dict[str, Callable[[], Any]] = {
        "prepare": lambda: parts.prepared(params, probe.name),
        "network": lambda: parts.network(probe.name),
    }
    if probe.subject in look:
        content = look[probe.subject]()
    elif probe.subject == "recipe" and probe.name in ("exact", "fast", "bf16"):
        content = parts.settings(params.recipes["probe" if probe.name == "exact" else probe.name])
    elif str(probe) == "stage/evaluate":
        content = parts.evaluation(*_prepared_study(params, probe))
    else:
        content = _trained(*_prepared_study(params, probe), probe)
    return digest(rounded(content))[:16]


def _prepared_study(params: Params, probe: Probe) -> tuple[Study, str]:
    from orc_repro.stages.prepare import prepare

    study, key = study_of(params, probe)
    dataset = study.cell(key).dataset
    if not (Path("data/prepared") / dataset).exists():
        prepare(params, dataset)
    return study, key


def _trained(study: Study, key: str, probe: Probe) -> Any:
    """Train a cell and what it needs, stopping it once on the way; return what came out."""
    from orc_repro.stages.pretrain import assist, pretrain
    from orc_repro.stages.train import train

    for pivot in study.cells.pivots:
        pretrain(study, pivot, "cpu")
        if str(probe) == "stage/pretrain":
            return _written(pivot, PIVOTS / f"{pivot}.safetensors")
    for assistant in study.cells.assistants:
        assist(study, assistant, "cpu")
        if str(probe) == "stage/assist":
            return _written(assistant, ASSISTANTS / f"{assistant}.safetensors")
    with _stopped_at(CUT_AT), suppress(Interrupted):
        train(study, key, "cpu")
    train(study, key, "cpu")
    content = [_written(key, WEIGHTS / key), parts.table(ROLES / f"{key}.parquet")]
    if probe.subject == "method":
        content.append(parts.edge_cases(study.parts(study.cell(key))[2]))
    return content


def _written(key: str, weights: Path) -> Any:
    """Return what a training stage wrote for git, without names, and a summary of its weights."""
    history = json.loads((trained("probe") / f"{key}.json").read_text())
    for name in parts.NAMES:
        history.pop(name, None)
    files = sorted(weights.rglob("*.safetensors")) if weights.is_dir() else [weights]
    return [history, [parts.summary_of_file(file) for file in files]]


def rounded(value: Any) -> Any:
    """Write every fraction with six significant digits, in nested dictionaries and lists."""
    if isinstance(value, Mapping):
        return {str(key): rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(part) for part in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return f"{value if abs(value) >= LEAST else 0.0:.6g}"
    return value


@contextmanager
def _stopped_at(step: int) -> Iterator[None]:
    """Ask a run to stop after a number of steps, as a person would: by a signal."""
    original, done = Progress.step, 0

    def counted(progress: Progress) -> None:
        nonlocal done
        original(progress)
        done += 1
        if done == step:
            os.kill(os.getpid(), signal.SIGTERM)

    with patch.object(Progress, "step", counted):
        yield


@contextmanager
def _no_fingerprints() -> Iterator[None]:
    """Leave the digests out of the fingerprints of the probes' own runs."""
    with patch("orc_repro.stages.identity.digests_of", lambda names: {}):
        yield


@contextmanager
def _silence() -> Iterator[None]:
    """Hide the progress of the probes' runs; errors are raised."""
    with open(os.devnull, "w") as nothing, redirect_stderr(nothing), redirect_stdout(nothing):
        yield


if __name__ == "__main__":
    main(sys.argv[1:])
