"""``publish``: a few trained targets as weights with a card, small enough for git."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from orc_repro.cells import Study
from orc_repro.config import architecture_of
from orc_repro.errors import UserError, one_line
from orc_repro.files import write_atomically
from orc_repro.project import REPORTS
from orc_repro.registry.release import Release
from orc_repro.report.runs import read_runs
from orc_repro.stages.register import best_of_each_method

MODELS = REPORTS / "models"
WEIGHTS_FILE, CARD = "model.safetensors", "README.md"
MOST_BYTES = 1_000_000


def publish(study: Study, methods: Collection[str], to: Path = MODELS) -> list[Path]:
    """Write ``to/<cell>/{model.safetensors,README.md}`` for each method's best seed by validation.

    Args:
        study: whose cells.
        methods: which of its methods; all, if there are none.
        to: where.

    Returns:
        the folders.

    Raises:
        UserError: nothing is evaluated, a method is not in the study, weights are missing or not
            those that were evaluated, or a network is larger than a megabyte.
    """
    releases = [*best_of_each_method(study, methods)]
    unknown = set(methods) - {release.result.method for release in releases}
    if unknown or not releases:
        named = one_line(", ".join(sorted(unknown)) or "any method")
        raise UserError(f"{study.folder} has no evaluated cell of {named}")
    found = []
    for release in releases:
        size = release.weights.stat().st_size
        if size > MOST_BYTES:
            raise UserError(
                f"{release.weights} has {size:,} bytes; more than {MOST_BYTES:,} are not published"
            )
        folder = to / release.result.cell
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(release.weights, folder / WEIGHTS_FILE)
        write_atomically(folder / CARD, card(release).encode())
        found.append(folder)
    return found


def card(release: Release) -> str:
    """What the network is, what it reached, how it was made, how to load it, what it is not for."""
    about, result, manifest = release.about, release.result, release.manifest
    run = read_runs().get(result.fingerprint, {})
    rows = {
        "cell": f"`{about['cell']}`",
        "architecture": f"`{about['architecture']}`, {result.target.parameters:,} parameters",
        "method": f"`{about['method']}`, group `{about['group']}`, recipe `{about['recipe']}`",
        "epochs, seed": f"{result.epochs}, {result.seed}",
        "data": f"`{about['dataset']}`: {manifest.version}; {result.training_images:,} training"
        f" images, manifest `{about['data.manifest_sha256'][:16]}`",
        "test top-1, last epoch": f"{result.target.last.top1:.2f} %",
        "validation top-1, last epoch": f"{release.validation_top1:.2f} %",
        "run": f"`{run.get('run_id', 'unknown')}`, commit `{run.get('commit', 'unknown')}`",
        "fingerprint": f"`{about['fingerprint']}`",
        "SHA-256 of the weights": f"`{about['weights_sha256']}`",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    mean, std = list(manifest.mean), list(manifest.std)
    return f"""# {about["dataset"]} · {architecture_of(result.target_name)} · {about["method"]}

| | |
| --- | --- |
{table}

## Use

```python
import torch
from safetensors.torch import load_file

from orc_repro.models import build

network = build(
    "{about["architecture"]}",
    num_classes={manifest.num_classes},
    in_channels={manifest.in_channels},
)
network.load_state_dict(load_file("{WEIGHTS_FILE}"))
network.eval()
# images: uint8 [N, {", ".join(map(str, manifest.image_shape))}]
mean = torch.tensor({mean})
std = torch.tensor({std})
logits = network((images / 255 - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1))
```

Classes, in the order of the logits: {", ".join(manifest.class_names)}.

## Made for

Checking the published number, and starting points. It is the seed of its method with the highest
validation accuracy, and so no sample of the method: means over seeds are in the report. How good a
classifier it is, is what its recipe and data made of it, above. Licence: MIT, like the code; the
images that it learned from have their own.
"""
