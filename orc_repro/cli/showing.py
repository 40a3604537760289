"""What was measured, as pages, tables and files; and what there is to be measured against."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from orc_repro.cells import DEFAULT_STUDY, load_study, load_study_of
from orc_repro.cli.options import CellArgument, ReportedOption, StudyOption
from orc_repro.config import load_params
from orc_repro.errors import UserError, say
from orc_repro.files import read_text
from orc_repro.project import reports
from orc_repro.stages.roles import Form


def report_command(study: ReportedOption = DEFAULT_STUDY) -> None:
    """Write a study's tables and figures, and the page of all; tell MLflow the end figures."""
    from orc_repro.page.build import write_page
    from orc_repro.stages.report import deliver_finals, report, write_all_results

    write_all_results()
    folder = report(study)
    page = write_page(draw=[study])
    for problem in deliver_finals(load_study(study)):
        say("warning", problem)
    print(f"{folder}: table.md, table.csv, summary.json and figures/; all results: results.csv")
    print(f"{page}: every study on one page")


def page_command(
    runs_at: Annotated[
        str | None,
        typer.Option("--runs-at", help="An MLflow server's address, to link the runs to."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="Write to another file than reports/index.html.")
    ] = None,
) -> None:
    """Draw what is missing and write reports/index.html, of all studies, from files alone."""
    from orc_repro.page.build import PAGE, UI, every_study, write_page

    if runs_at is not None and to is None:
        raise UserError(f"--runs-at needs --to FILE: {PAGE} is the same for everyone")
    print(write_page(to or PAGE, UI if runs_at is None else runs_at, every_study()))


def table_command(study: ReportedOption = DEFAULT_STUDY) -> None:
    """Show a study's table."""
    from rich.console import Console
    from rich.markdown import Markdown

    path = reports(study.resolve().name) / "table.md"
    if not path.exists():
        raise UserError(f"{path} does not exist; `orc-repro report` writes it")
    Console().print(Markdown(read_text(path)))


def reproduction_command() -> None:
    """Test the paper's claims on what was measured; writes reports/reproduction.md."""
    from orc_repro.stages.reproduction import write_reproduction

    print(write_reproduction())


def methods_command() -> None:
    """List every method of params.yaml, where it comes from, and what a variant changes."""
    from orc_repro.methods import overview

    for line in overview(load_params()):
        print(line)


def tables_command(
    table: Annotated[str | None, typer.Argument(help="A table's id; all, if left out.")] = None,
) -> None:
    """List the published tables, ORC's own and its peers', or show one."""
    from orc_repro.published.show import show

    show(table)


def roles_command(
    cell: CellArgument,
    study: StudyOption = DEFAULT_STUDY,
    form: Annotated[
        Form | None, typer.Option("--format", help="Print the table of changes instead.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="Write that table: FILE.csv or FILE.parquet.")
    ] = None,
) -> None:
    """Show who was temporary teacher in a trained cell, and for how long."""
    from orc_repro.stages.roles import as_bytes, form_of, read_roles, summary, tidy, write
    from orc_repro.stages.train import iterations_of

    changes = read_roles(cell)
    if to is not None:
        print(write(tidy(changes), to, form or form_of(to)))
    elif form is not None:
        if form == Form.PARQUET and sys.stdout.isatty():
            raise UserError("a terminal cannot show Parquet; --to FILE.parquet writes it")
        sys.stdout.buffer.write(as_bytes(tidy(changes), form))
    else:
        print("\n".join(summary(changes, iterations_of(load_study_of(cell, study), cell))))
