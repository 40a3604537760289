"""What several commands are told in the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orc_repro.cli.completion import cells

StudyOption = Annotated[
    Path, typer.Option("--study", help="The folder of a study.yaml and its cells.yaml.")
]
StudiesOption = Annotated[
    list[str] | None, typer.Option("--study", help="Only studies of this name, as 'table0*'.")
]
DeviceOption = Annotated[
    str, typer.Option("--device", envvar="ORC_DEVICE", help="auto, cpu, cuda or cuda:N.")
]
ProcessesOption = Annotated[
    int | None,
    typer.Option(
        "--processes", min=1, max=4096, help="Of this machine, on this run; params.yaml's if not."
    ),
]
CellArgument = Annotated[str, typer.Argument(help="A cell of cells.yaml.", autocompletion=cells)]
SearchArgument = Annotated[Path, typer.Argument(help="A file of studies/search.")]
RestartOption = Annotated[
    bool, typer.Option("--restart", help="Forget what was trained before, and start over.")
]
