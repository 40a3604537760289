"""What several commands are told in the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orc_repro.cli.completion import cells, studies, studies_and_pools
from orc_repro.ranges import MOST_PROCESSES
from orc_repro.studies import find_declared, find_study

STUDY = "A study: its name, how that begins, or its folder."
StudyOption = Annotated[
    Path,
    typer.Option(
        "--study",
        help=STUDY,
        metavar="STUDY",
        parser=find_study,
        autocompletion=studies_and_pools,
    ),
]
RunOption = Annotated[
    Path,
    typer.Option(
        "--study",
        "--table",
        help=STUDY,
        metavar="STUDY",
        parser=find_study,
        autocompletion=studies_and_pools,
    ),
]
ReportedOption = Annotated[
    Path,
    typer.Option(
        "--study", help=STUDY, metavar="STUDY", parser=find_declared, autocompletion=studies
    ),
]
StudiesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--study",
        help=f"{STUDY} Or a pattern, as 'table0*'; may be repeated.",
        metavar="STUDY",
        autocompletion=studies,
    ),
]
StudyArgument = Annotated[
    Path,
    typer.Argument(
        help=STUDY, metavar="STUDY", parser=find_study, autocompletion=studies_and_pools
    ),
]
StatusArgument = Annotated[
    Path | None,
    typer.Argument(
        help=f"{STUDY} All, if left out.",
        metavar="STUDY",
        parser=find_declared,
        autocompletion=studies,
    ),
]
DeviceOption = Annotated[
    str, typer.Option("--device", envvar="ORC_DEVICE", help="auto, cpu, cuda or cuda:N.")
]
ProcessesOption = Annotated[
    int | None,
    typer.Option(
        "--processes",
        min=1,
        max=MOST_PROCESSES,
        help="Of this machine, on this run; params.yaml's if not.",
    ),
]
CellArgument = Annotated[str, typer.Argument(help="A cell of cells.yaml.", autocompletion=cells)]
SearchArgument = Annotated[Path, typer.Argument(help="A file of studies/search.")]
RestartOption = Annotated[
    bool, typer.Option("--restart", help="Forget what was trained before, and start over.")
]
