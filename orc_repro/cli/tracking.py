"""What MLflow is sent, and its UI."""

from __future__ import annotations

from typing import Annotated

import typer

from orc_repro.cells import DEFAULT_STUDY, load_study
from orc_repro.cli.options import StudyArgument
from orc_repro.config import load_params
from orc_repro.errors import UserError


def sync_command() -> None:
    """Deliver to MLflow whatever of this machine's runs has not arrived there yet."""
    from orc_repro.stages.sync import sync

    delivered, problems = sync(load_params().tracking)
    if problems:
        raise UserError(problems[0])
    print(f"{delivered} runs are delivered")


def register_command(
    study: StudyArgument = DEFAULT_STUDY,
) -> None:
    """Register a study's best target networks in MLflow, as models that load anywhere."""
    from orc_repro.stages.register import register

    for line in register(load_study(study)):
        print(line)


def publish_command(
    study: StudyArgument,
    method: Annotated[
        list[str] | None, typer.Option("--method", help="One of its methods; may be repeated.")
    ] = None,
) -> None:
    """Write the best target of each method, with a model card, to reports/models/.

    For git: of at most a megabyte (ResNet14, not ResNet20).
    """
    from orc_repro.stages.publish import publish

    for folder in publish(load_study(study), method or ()):
        print(folder)


def ui_command(port: Annotated[int, typer.Option(min=1, max=65535)] = 5000) -> None:
    """Open the MLflow UI on the run store; listens on this machine's loopback address only."""
    from orc_repro.tracking.ui import serve

    serve(port)
