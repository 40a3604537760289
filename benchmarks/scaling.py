"""ImageNet on many devices, planned from what this machine does; needs no ImageNet.

``python -m benchmarks.scaling [imagenet-r34-r18-orc-imagenet-s0 ...] [--assume NAME=VALUE ...]``
prints what ``orc-repro train CELL --plan --devices 1,8,64,512`` prints where ImageNet is prepared:
steps are timed on noise of its shape, and images are counted as in the whole set. The loader is
assumed, or none.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from orc_repro.cells import load_study
from orc_repro.data.manifest import ARRAYS, SPLITS, Manifest
from orc_repro.rehearsal import noise_images
from orc_repro.scaling.assumptions import assumed, devices_of
from orc_repro.stages.forecast import forecast_of
from orc_repro.stages.forecast_devices import Wishes, lines_of
from orc_repro.stages.place import take_place

CLASSES, TRAINING, SHAPE = 1000, 1_281_167, (3, 224, 224)
HELD_OUT = 0.02  # for validation, as in params.yaml
NOISE = 512


def imagenet() -> Manifest:
    """The form of ImageNet; of its images only their number."""
    return Manifest(
        dataset="imagenet",
        source="noise",
        version="",
        image_shape=SHAPE,
        class_names=tuple(f"class{i}" for i in range(CLASSES)),
        counts={split: (1,) * CLASSES for split in SPLITS},
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        sha256={name: "0" * 64 for name in ARRAYS},
        split_seed=0,
        validation_fraction=HELD_OUT,
    )


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cells", nargs="*", default=["imagenet-r34-r18-orc-imagenet-s0"])
    parser.add_argument("--devices", default="1,8,64,512")
    parser.add_argument("--batch-per-device", type=int)
    parser.add_argument("--assume", action="append", default=[])
    options = parser.parse_args()
    study = load_study(Path("studies/pools/imagenet"))
    images = round(TRAINING * (1 - HELD_OUT))
    wishes = Wishes(
        devices_of(options.devices), options.batch_per_device, images, assumed(options.assume)
    )
    for key in options.cells:
        place = take_place("auto", study.parts(study.cell(key))[1])
        train, validation = (
            noise_images(count, SHAPE, CLASSES, place) for count in (NOISE, round(NOISE * HELD_OUT))
        )
        noise = forecast_of(study, key, imagenet(), train, validation)
        found = replace(noise, data_bytes=0)  # ImageNet's images stay on the disk
        print(f"{key}\n", *lines_of(found, train, wishes), "", sep="\n", flush=True)


if __name__ == "__main__":
    main()
