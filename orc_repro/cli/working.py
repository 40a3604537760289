"""Whole studies worked off, with DVC or without it, and how far they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from orc_repro.cells import DEFAULT_STUDY, load_study
from orc_repro.cli.completion import cells
from orc_repro.cli.options import DeviceOption, RunOption, StatusArgument, StudiesOption
from orc_repro.config import load_params
from orc_repro.errors import UserError, one_line
from orc_repro.memory import refuse_more_than_bearable
from orc_repro.ranges import MOST_PROCESSES

MINUTES = 0.01, 10_000_000
"""The least and the most that ``queue`` can be given: the system's clock takes no endless time."""


def run_command(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            help="Cells, or stages as train@CELL; all of the study if left out.",
            autocompletion=cells,
        ),
    ] = None,
    study: RunOption = DEFAULT_STUDY,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, max=MOST_PROCESSES, help="Stages side by side."),
    ] = None,
) -> None:
    """Run a study's pipeline through DVC; a signal ends all of it in order, to be continued."""
    from orc_repro.stages.jobs import (
        behaviour_stages,
        ends_of,
        find_jobs,
        jobs_of,
        with_all_before,
        write_pipelines_of,
    )
    from orc_repro.stages.pipeline import run_pipeline
    from orc_repro.stages.prepare import refresh_listings
    from orc_repro.stages.workers import run_side_by_side

    refuse_more_than_bearable(workers, "--workers")
    jobs = jobs_of(study)
    named = find_jobs(jobs, targets) if targets else ends_of(jobs)
    refresh_listings(load_study(study).params, with_all_before(named, jobs))
    write_pipelines_of(jobs)
    if workers is None:
        run_pipeline([job.address for job in named])
    else:
        # Workers run single stages, and do not look at what these depend on.
        run_pipeline(behaviour_stages(jobs))
        run_side_by_side(with_all_before(named, jobs), workers)


def queue_command(
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="Stop in order after so long.")
    ] = None,
    study: StudiesOption = None,
    share: Annotated[
        str, typer.Option("--share", help="I/N: one of N machines that share nothing.")
    ] = "1/1",
    device: DeviceOption = "auto",
    show: Annotated[bool, typer.Option("--list", help="Show the queue, and do nothing.")] = False,
) -> None:
    """Work off the cells of all studies, the most wanted first, and without DVC."""
    from orc_repro.probes.behaviour import ensure_current
    from orc_repro.queue.order import read_entries, shared
    from orc_repro.queue.show import lines
    from orc_repro.queue.work import work

    least, most = MINUTES
    if minutes is not None and not least <= minutes <= most:  # which NaN is not, either
        raise UserError(f"--minutes is {minutes}; it must be {least} to {most:,}")
    part = re.fullmatch(r"([1-9]\d{0,3})/([1-9]\d{0,3})", share)
    if part is None or int(part[1]) > int(part[2]):
        raise UserError(f"--share is '{one_line(share)}'; it must be I/N, as 2/3")
    if not show:
        ensure_current()
    entries = shared(read_entries(study or [], load_params()), int(part[1]), int(part[2]))
    print("\n".join(lines(entries) if show else work(entries, device, minutes)))


def import_command(folder: Path) -> None:
    """Take over what was trained in another copy of the project, after it was verified."""
    from orc_repro.probes.behaviour import ensure_current
    from orc_repro.queue.bring import bring

    ensure_current()
    taken, refused = bring(folder)
    for line in [*taken, *refused]:
        print(line)
    if refused:
        raise UserError(f"{len(refused)} of the runs in {folder} do not fit, and were left there")


def certify_command(study: StudiesOption = None) -> None:
    """Tell DVC of results that were made without it, where they are what it would have made."""
    from orc_repro.probes.behaviour import ensure_current
    from orc_repro.queue.certify import certify
    from orc_repro.queue.order import read_entries

    ensure_current()
    for line in certify(read_entries(study or [], load_params())):
        print(line)


def status_command(study: StatusArgument = None) -> None:
    """Show what is measured, running, stopped or missing; a study's cells, or every study."""
    from orc_repro.stages.status import lines

    for line in lines(study):
        print(line)


def check_command() -> None:
    """Check that the code, dvc.lock, the cells and the results agree; needs no data."""
    from orc_repro.stages.check import check

    check()
    print(
        "every stage is as dvc.lock says, the code computes what its digests are of, and the report"
        " is that of the results"
    )
