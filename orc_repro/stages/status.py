"""``status``: what of each study is measured, under way, stopped or missing; runs nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from orc_repro.cells import Cells
from orc_repro.config import load_params
from orc_repro.errors import UserError
from orc_repro.project import evaluated, scratch, trained
from orc_repro.stages.origin import change_of, doubt_about
from orc_repro.stages.run import is_running
from orc_repro.tracking.description import Description
from orc_repro.tracking.outcome import read_outcome
from orc_repro.tracking.records import metrics_log
from orc_repro.tracking.tracker import ABOUT
from orc_repro.training.checkpoints import saved
from orc_repro.validation import parse, read_json
from orc_repro.yaml_files import read_yaml

STATES = ("measured", "trained", "running", "stopped", "missing")


@dataclass(frozen=True)
class UnderWay:
    """A run that has begun and not come to its end.

    Attributes:
        study: its study or pool.
        cell: its cell, pivot or assistant.
        running: whether a process works on it now, on this machine.
        epoch: how many epochs are done, of ``epochs``.
        left_s: an estimate from the epochs that are done; None before there are any.
    """

    study: str
    cell: str
    running: bool
    epoch: int
    epochs: int
    left_s: float | None

    def line(self) -> str:
        """For people."""
        left = ""
        if self.running and self.left_s is not None:
            minutes = self.left_s / 60
            left = f", about {minutes:,.0f} min left" if minutes >= 2 else ", minutes left"
        state = "running" if self.running else "stopped"
        return f"{state}: {self.cell}, {self.epoch} of {self.epochs} epochs done{left}"


@dataclass
class Standing:
    """A study's cells by state.

    Attributes:
        study: its name.
        owners: the study or pools that the cells, and what they start from, are kept with.
        datasets: of the cells.
        cells: keys by state.
    """

    study: str
    owners: set[str] = field(default_factory=set)
    datasets: set[str] = field(default_factory=set)
    cells: dict[str, list[str]] = field(default_factory=lambda: {state: [] for state in STATES})

    def line(self) -> str:
        """Its row of the table."""
        counts = "".join(f"{len(self.cells[state]):>10}" for state in STATES)
        return f"{self.study:32}{sum(map(len, self.cells.values())):>6}{counts}"


def status(studies: Path = Path("studies")) -> tuple[list[Standing], list[UnderWay]]:
    """How every study stands, from files alone; results first, then this machine's runs.

    A result counts whether or not the code has changed since: ``orc-repro check`` tells that.

    Raises:
        UserError: a file of cells is damaged, or there are none.
    """
    under_way = list(_under_way(scratch() / "runs"))
    runs = {(run.study, run.cell): run for run in under_way}
    found = []
    for path in sorted(studies.glob("*/study.yaml")):
        standing = Standing(path.parent.name)
        declared = parse(Cells, read_yaml(path.with_name("cells.yaml")), str(path.parent))
        for key, cell in declared.cells.items():
            # What several studies share is kept with the pool of its dataset.
            own = bool(declared.datasets)
            owner = path.parent.name if own else cell.dataset
            standing.owners.add(owner)
            standing.datasets.add(cell.dataset)
            standing.cells[_state(owner, key, runs.get((owner, key)))].append(key)
        found.append(standing)
    if not found:
        raise UserError(f"{studies} holds no study; run this in the project's folder")
    return found, under_way


def lines(study: Path | None = None, studies: Path = Path("studies")) -> list[str]:
    """List what to print: a table of all studies, or one study cell by cell; the runs under way;
    and datasets whose source has changed.

    Raises:
        UserError: see :func:`status`.
    """
    found, under_way = status(studies)
    datasets = {name for one in found for name in one.datasets}
    if study is None:
        heads = "".join(f"{state:>10}" for state in STATES)
        printed = [f"{'study':32}{'cells':>6}{heads}", *(one.line() for one in found)]
    else:
        (named,) = (one for one in found if one.study == study.name)
        printed = [f"{state:10}{key}" for state in STATES for key in named.cells[state]]
        under_way = [run for run in under_way if run.study in named.owners]
        datasets = named.datasets
    printed += [run.line() for run in sorted(under_way, key=lambda run: not run.running)]
    return [*printed, *_about_data(sorted(datasets))]


def _about_data(datasets: Iterable[str]) -> Iterable[str]:
    params = load_params()
    for dataset in datasets:
        if change := change_of(params, dataset):
            yield f"changed: {change}"
        elif doubt := doubt_about(params, dataset):
            yield f"note: {doubt}"


def _state(owner: str, key: str, run: UnderWay | None) -> str:
    if (evaluated(owner) / f"{key}.json").exists():
        return "measured"
    if run is not None and run.running:
        return "running"
    if (trained(owner) / f"{key}.json").exists():
        return "trained"
    return "missing" if run is None else "stopped"


def _under_way(folder: Path) -> Iterable[UnderWay]:
    """The newest unfinished run of each cell, pivot and assistant."""
    newest: dict[tuple[str, str], tuple[Path, Description]] = {}
    for run in sorted(folder.glob("*"), key=lambda path: path.stat().st_mtime):
        try:
            about = read_json(Description, run / ABOUT)
            ended = read_outcome(run)
        except (UserError, OSError):
            continue  # another program's, damaged, or not begun
        newest.pop((about.study, about.cell), None)
        if ended is None or ended.status != "FINISHED":
            newest[about.study, about.cell] = run, about
    for run, about in newest.values():
        running = is_running(run)
        if not running and not saved(run):
            continue  # nothing of it would be continued
        seconds = _epoch_seconds(run)
        left = (about.epochs - len(seconds)) * sum(seconds) / len(seconds) if seconds else None
        yield UnderWay(about.study, about.cell, running, len(seconds), about.epochs, left)


def _epoch_seconds(run: Path) -> list[float]:
    """Of each epoch that is done, up to a line that a full disk tore or that is being written."""
    return [record.values.get("cost/epoch_seconds", 0.0) for record in metrics_log(run).undamaged()]
