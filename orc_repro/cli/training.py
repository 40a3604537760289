"""One pivot, assistant or cell trained, many of them searched over, one evaluated."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from orc_repro.cells import DEFAULT_STUDY, load_study, load_study_of
from orc_repro.cli.completion import assistants, pivots
from orc_repro.cli.options import (
    CellArgument,
    DeviceOption,
    ProcessesOption,
    RestartOption,
    SearchArgument,
    StudyOption,
)
from orc_repro.config import load_params
from orc_repro.errors import UserError
from orc_repro.memory import refuse_more_than_bearable
from orc_repro.ranges import LARGEST_BATCH, MOST_IMAGES, MOST_PROCESSES


def pretrain_command(
    pivot: Annotated[str, typer.Argument(help="A pivot of cells.yaml.", autocompletion=pivots)],
    study: StudyOption = DEFAULT_STUDY,
    device: DeviceOption = "auto",
    restart: RestartOption = False,
    processes: ProcessesOption = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Where a given pivot's file lies.")
    ] = None,
) -> None:
    """Train a pivot alone, or take it from elsewhere, once, for every cell that needs it."""
    if _runs_side_by_side(processes, device):
        return
    from orc_repro.stages.pretrain import pretrain

    if not pretrain(load_study(study), pivot, device, restart, weights):
        print(f"{pivot} is there already; --restart makes it again")


def assist_command(
    assistant: Annotated[
        str, typer.Argument(help="An assistant of cells.yaml.", autocompletion=assistants)
    ],
    study: StudyOption = DEFAULT_STUDY,
    device: DeviceOption = "auto",
    restart: RestartOption = False,
    processes: ProcessesOption = None,
) -> None:
    """Train a chain's assistant, once, for every cell that needs it."""
    if _runs_side_by_side(processes, device):
        return
    from orc_repro.stages.pretrain import assist

    if not assist(load_study(study), assistant, device, restart):
        print(f"{assistant} is trained already; --restart trains it again")


def train_command(
    cell: CellArgument,
    study: StudyOption = DEFAULT_STUDY,
    device: DeviceOption = "auto",
    restart: RestartOption = False,
    preview: Annotated[
        bool, typer.Option("--plan", help="Say what it will take, and train nothing.")
    ] = False,
    processes: ProcessesOption = None,
    devices: Annotated[
        str | None, typer.Option("--devices", help="With --plan: on so many, as 1,8,64,512.")
    ] = None,
    batch_per_device: Annotated[
        int | None,
        typer.Option(
            min=1, max=LARGEST_BATCH, help="With --devices: a global batch that grows with them."
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_IMAGES, help="With --devices: of an epoch, if not those here."
        ),
    ] = None,
    assume: Annotated[
        list[str] | None, typer.Option(help="With --devices: NAME=VALUE instead of measuring it.")
    ] = None,
) -> None:
    """Train one cell (dataset x group x method x seed), continuing where it was stopped."""
    from orc_repro.stages.forecast import forecast
    from orc_repro.stages.train import train

    if devices is not None and preview:
        from orc_repro.scaling.assumptions import assumed, devices_of
        from orc_repro.stages.forecast_devices import Wishes, forecast_devices

        wishes = Wishes(devices_of(devices), batch_per_device, images, assumed(assume or []))
        print("\n".join(forecast_devices(load_study_of(cell, study), cell, wishes, device)))
        return
    if devices or batch_per_device or images or assume:
        raise UserError("--devices needs --plan; what else is said of a plan needs both")
    if preview:
        print("\n".join(forecast(load_study_of(cell, study), cell, device).lines()))
        return
    if _runs_side_by_side(processes, device):
        return
    if not train(load_study_of(cell, study), cell, device, restart):
        print(f"{cell} is trained already; --restart trains it again")


def _runs_side_by_side(processes: int | None, device: str) -> bool:
    """Start this command again on several processes, if so many are wanted; False for one."""
    from orc_repro.probes.behaviour import ensure_current
    from orc_repro.processes.launch import run_side_by_side

    ensure_current()
    wanted = load_params().train
    count, name = processes, "--processes"
    if count is None:
        count, name = wanted.processes, "params.yaml's train.processes"
    refuse_more_than_bearable(count, name)
    return run_side_by_side(count, wanted.max_restarts, device, sys.argv[1:])


def search_command(
    search: SearchArgument,
    workers: Annotated[
        int, typer.Option(min=1, max=MOST_PROCESSES, help="How many side by side.")
    ] = 1,
    device: DeviceOption = "auto",
    worker: Annotated[bool, typer.Option("--worker", hidden=True)] = False,
) -> None:
    """Search parameters as a file in studies/search says; the same command goes on with it."""
    from orc_repro.probes.behaviour import ensure_current
    from orc_repro.search.answer import answer
    from orc_repro.search.work import Worker, work_side_by_side

    refuse_more_than_bearable(workers, "--workers")
    if not worker:
        ensure_current()
    one = Worker(search, device)  # whatever is wrong is found before anything is started
    if workers == 1 or worker:
        one.run()
    else:
        work_side_by_side(search, workers, device)
    if not one.finished:
        raise UserError(f"{search}: not all trials were made; the same command goes on with it")
    if not worker:
        print(f"{answer(search, device)}: page.md, trials.csv, best.yaml and figures")


def promote_command(search: SearchArgument) -> None:
    """Put a search's best values into params.yaml, as a change to review."""
    from orc_repro.search.promotion import promote

    for line in promote(search):
        print(line)


def evaluate_command(
    cell: CellArgument, study: StudyOption = DEFAULT_STUDY, device: DeviceOption = "auto"
) -> None:
    """Evaluate a trained cell on the test split; keep what its target predicted."""
    from orc_repro.probes.behaviour import ensure_current
    from orc_repro.stages.predictions import evaluate_and_keep

    ensure_current()
    result = evaluate_and_keep(load_study_of(cell, study), cell, device)
    last = result.target.last.top1
    print(f"{cell}: {result.target_name} {last:.2f} % after epoch {result.epochs}")
