"""What is to be trained, and on what: studies, and the data they name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orc_repro.cells import DEFAULT_STUDY, load_study
from orc_repro.cli.options import STUDY, StudyOption
from orc_repro.errors import UserError, one_line
from orc_repro.ranges import MOST_IMAGES
from orc_repro.studies import find_study


def plan_command(
    studies: Annotated[
        list[str] | None, typer.Argument(help="Write the DVC pipelines of these, too.")
    ] = None,
) -> None:
    """Expand every study's declaration into cells.yaml, and the pools that studies share."""
    from orc_repro.plan import plan

    for line in plan(wanted=[find_study(study) for study in studies or ()]):
        print(line)


def probe_command(
    names: Annotated[
        list[str] | None, typer.Argument(help="Probes, as method/kd: run these, write nothing.")
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option(
            "--study",
            help=f"{STUDY} Writes what its stages depend on, and runs no probe.",
            metavar="STUDY",
            parser=find_study,
        ),
    ] = None,
) -> None:
    """Run the code on tiny data, and write a digest of what each part of it computes."""
    from orc_repro.probes.behaviour import DIGESTS, probe, read_digests, run_probes
    from orc_repro.probes.entries import write_behaviour

    if names and study is not None:
        raise UserError("name probes to run, or a study to write for, not both")
    if study is not None:
        print(f"{write_behaviour(load_study(study))}: written")
    elif names:
        before = read_digests()
        for name, value in run_probes(names).items():
            print(f"{name}: {'as before' if before.get(name) == value else 'changed'} ({value})")
    else:
        changed = probe()
        print(f"{DIGESTS.name}: changed: {', '.join(changed)}" if changed else "as before")


def prepare_command(
    dataset: Annotated[str, typer.Argument(help="A name below data in params.yaml.")],
    study: StudyOption = DEFAULT_STUDY,
) -> None:
    """Turn a dataset of params.yaml into arrays, splits and a manifest."""
    from orc_repro.probes.behaviour import ensure_current
    from orc_repro.stages.prepare import prepare

    ensure_current()
    manifest = prepare(load_study(study).params, dataset)
    counts = ", ".join(f"{manifest.count(s)} {s}" for s in ("train", "validation", "test"))
    print(f"{dataset}: {counts}; {manifest.num_classes} classes")


def list_command(dataset: str, study: StudyOption = DEFAULT_STUDY) -> None:
    """List the photographs of a dataset, so that DVC prepares it again where they changed."""
    from orc_repro.stages.prepare import listing_of, write_listing

    listing = write_listing(load_study(study).params, dataset)
    if listing is None:
        raise UserError(f"{dataset} needs no listing; DVC looks at its files")
    print(f"{listing_of(dataset)}: {listing.files:,} files, {listing.bytes / 1e9:,.1f} GB")


def subset_command(
    name: str,
    source: Annotated[
        Path, typer.Option("--from", help="torchvision's folder, a train/ test/ tree, or an .npz.")
    ],
    to: Annotated[Path, typer.Option("--to", help="The folder to make.")],
    train_per_class: Annotated[int, typer.Option(min=1, max=MOST_IMAGES)],
    test_per_class: Annotated[int, typer.Option(min=1, max=MOST_IMAGES)],
    every_class: Annotated[int, typer.Option(min=1, max=50, help="Each N-th class only.")] = 1,
) -> None:
    """Draw a few images of each class of cifar10 or cifar100, the same from any copy of it."""
    from orc_repro.data.subset import CLASSES, write_subset

    if name not in CLASSES:
        raise UserError(f"'{one_line(name)}' must be one of {', '.join(CLASSES)}")
    counts = write_subset(
        "cifar10" if name == "cifar10" else "cifar100",
        source,
        to,
        train_per_class=train_per_class,
        test_per_class=test_per_class,
        every_class=every_class,
    )
    print(f"{to}: {counts['train']:,} train, {counts['test']:,} test")
