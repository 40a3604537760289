"""The page: what the reports say, what was drawn, and how each number is made again.

Text alone: nothing is drawn here, so the same files give the same bytes anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from orc_repro.addresses import shown
from orc_repro.config import Params, load_params
from orc_repro.errors import UserError, one_line
from orc_repro.files import read_text, write_atomically
from orc_repro.page import drawing
from orc_repro.page.cost import Cost, costs
from orc_repro.page.files import (
    Studied,
    class_files,
    cost_file,
    cost_source,
    draw_pictures,
    is_of_the_run,
    read_studies,
    role_files,
)
from orc_repro.page.markup import from_markdown
from orc_repro.page.pictures import Picture, Pictures, link, place_of
from orc_repro.progress import Work
from orc_repro.project import REPORTS, evaluated, reports
from orc_repro.report.markdown import NOT_RUN, interval, spread
from orc_repro.report.results import read_result
from orc_repro.report.runs import Runs, read_runs
from orc_repro.report.tables import Comparison, MethodRow

PAGE = REPORTS / "index.html"
UI = "http://127.0.0.1:5000"
"""Where `make ui` shows the runs of the machine that made them."""
DOCUMENTS = {
    "reproduction.md": "verdicts on the paper's claims",
    "protocol.md": "the rules behind them",
}
"""What lies beside the page, if it does, and what it is."""


@dataclass(frozen=True)
class Number:
    """A method's number and the command that makes it again."""

    place: str
    method: str
    measured: str
    interval: str
    n: str
    command: str


@dataclass(frozen=True)
class CostTable:
    """A comparison's times; ``picture`` is None where there are fewer than two."""

    place: str
    rows: list[dict[str, str]]
    picture: Picture | None


@dataclass(frozen=True)
class Section:
    """A study on the page."""

    name: str
    title: str
    measured: int
    declared: int
    table: Markup
    curves: list[Picture]
    costs: list[CostTable]
    roles: list[Picture]
    classes: list[Picture]
    numbers: list[Number]
    configuration: str
    runs: list[Mapping[str, str]]


def write_page(to: Path = PAGE, runs_at: str = UI, draw: Iterable[Path] = ()) -> Path:
    """Write the page.

    Args:
        to: where.
        runs_at: the address of an MLflow server, to link the runs to.
        draw: folders of the studies whose pictures are drawn before.

    Raises:
        UserError: the address is none of the web, or what is to be drawn is damaged.
    """
    if not runs_at.startswith(("http://", "https://")):
        raise UserError(f"'{one_line(shown(runs_at))}' does not begin with http:// or https://")
    if shown(runs_at) != runs_at:
        raise UserError(
            f"the page is public; give --runs-at an address without a password or a token:"
            f" {one_line(shown(runs_at))}"
        )
    runs, studies = read_runs(), read_studies()
    names = {folder.resolve().name for folder in draw}
    drawn = [studied for studied in studies if studied.folder.name in names]
    with Work("pictures", sum(len(studied.cells.cells) for studied in drawn), "cells") as work:
        for studied in drawn:
            draw_pictures(studied, runs, work)
    write_atomically(to, page_text(studies, runs, runs_at, to.parent).encode())
    return to


def every_study() -> list[Path]:
    """The folders of all studies."""
    return [studied.folder for studied in read_studies()]


def check_page() -> None:
    """Whether the page, and what was drawn for it, is that of the files.

    Raises:
        UserError: it is not.
    """
    runs, studies = read_runs(), read_studies()
    for studied in studies:
        for key, cell in studied.cells.cells.items():
            for picture, numbers in (role_files(key, cell), class_files(key, cell)):
                if not is_of_the_run((picture, numbers), key, cell):
                    raise UserError(f"{picture} is not of the run; `orc-repro page` draws it")
        for comparison in studied.comparisons:
            rows, path = costs(comparison, runs), cost_file(studied, comparison)
            if path.exists() and not drawing.is_drawn_from(path, cost_source(rows)):
                raise UserError(f"{path} is not of the runs; `orc-repro page` draws it")
    if not PAGE.exists() or PAGE.read_bytes() != page_text(studies, runs).encode():
        raise UserError(f"{PAGE} is not what the reports give; `orc-repro page` writes it")


def page_text(
    studies: Iterable[Studied], runs: Runs, runs_at: str = UI, folder: Path = PAGE.parent
) -> str:
    """Return all of the page: studies that have results first.

    Args:
        studies: in the order of the page.
        runs: rows of ``runs.csv``, by fingerprint.
        runs_at: the address of an MLflow server.
        folder: where the page is to lie; its links are relative to it.
    """
    params, pictures, studies = load_params(), Pictures(folder), list(studies)
    declared = {(cell.study, key) for s in studies for key, cell in s.cells.cells.items()}
    measured = [place for place in declared if read_result(place[1], evaluated(place[0]))]
    sections = [_section(studied, params, runs, pictures) for studied in studies]
    sections.sort(key=lambda section: not section.measured)
    environment = Environment(
        loader=PackageLoader("orc_repro.page", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.get_template("index.html.j2")
    return template.render(
        sections=sections,
        documents=[
            (name, link(REPORTS / name, folder), text)
            for name, text in DOCUMENTS.items()
            if (REPORTS / name).exists()
        ],
        measured=len(measured),
        declared=len(declared),
        runs_at=runs_at.rstrip("/"),
        local=runs_at == UI,
    )


def _section(studied: Studied, params: Params, runs: Runs, pictures: Pictures) -> Section:
    cells, name = studied.cells, studied.folder.name
    table = reports(name) / "table.md"
    text = read_text(table) if table.exists() else f"{NOT_RUN}.\n"
    ran = [result for c in studied.comparisons for row in c.rows for result in row.results.values()]
    return Section(
        name=name,
        title=cells.title,
        measured=len(ran),
        declared=len(cells.cells),
        table=from_markdown(text, below=3, without=cells.title, label=cells.title),
        curves=[p for c in studied.comparisons for p in pictures.curves(name, c)],
        costs=[shown for c in studied.comparisons for shown in _costs(studied, c, runs, pictures)],
        roles=[p for c in studied.comparisons for p in pictures.roles(studied, c)],
        classes=[p for c in studied.comparisons for p in pictures.classes(studied, c)],
        numbers=[_number(studied, c, row) for c in studied.comparisons for row in c.rows],
        configuration=_configuration(studied, params),
        runs=[runs[result.fingerprint] for result in ran if result.fingerprint in runs],
    )


def _costs(
    studied: Studied, comparison: Comparison, runs: Runs, pictures: Pictures
) -> Iterable[CostTable]:
    rows = costs(comparison, runs)
    if not rows:
        return
    picture = pictures.cost(studied, comparison)
    yield CostTable(place_of(comparison), [_cost_row(row) for row in rows], picture)


def _cost_row(row: Cost) -> dict[str, str]:
    return {
        "method": row.method,
        "device": row.device,
        "n": str(row.reached.n),
        "seconds": f"{row.seconds:,.1f}",
        "top1": spread(row.reached),
        "interval": interval(row.reached),
    }


def _number(studied: Studied, comparison: Comparison, row: MethodRow) -> Number:
    keys = [
        key
        for key, cell in studied.cells.cells.items()
        if (cell.dataset, cell.group, cell.recipe, cell.method)
        == (comparison.dataset, comparison.group, comparison.recipe, row.method)
    ]
    n = row.target.n if row.target else 0
    return Number(
        place=place_of(comparison),
        method=row.method,
        measured=spread(row.target) or NOT_RUN,
        interval=interval(row.target),
        n=f"{n} of {row.declared}",
        command=f"orc-repro run --study {studied.folder.as_posix()} {' '.join(keys)}",
    )


def _configuration(studied: Studied, params: Params) -> str:
    """Every entry of ``params.yaml`` that the study names, and its seeds."""
    cells = studied.cells.cells.values()
    every = params.model_dump(mode="json")
    named = {
        section: {name: every[section][name] for name in dict.fromkeys(names)}
        for section, names in (
            ("data", (cell.dataset for cell in cells)),
            ("groups", (cell.group for cell in cells)),
            ("recipes", (cell.recipe for cell in cells)),
            ("methods", (cell.method for cell in cells)),
        )
    }
    seeds = {"seeds": sorted({cell.seed for cell in cells})}
    return yaml.safe_dump(seeds | named, sort_keys=False, allow_unicode=True)
