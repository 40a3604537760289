"""Where everything lies, relative to the working directory or to the machine's own folder."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path

from orc_repro.errors import UserError, one_line

PREPARED = Path("data/prepared")
LISTINGS = Path("data/listings")
WEIGHTS = Path("weights/cells")
PIVOTS = Path("weights/pivots")
ASSISTANTS = Path("weights/assistants")
ROLES = Path("roles")
RESULTS = Path("results")
REPORTS = Path("reports")
DEFAULT = "default"
POOLS = "pools"


def trained(study: str) -> Path:
    """Where a study's training histories lie.

    Each study has folders of its own: DVC would otherwise see every study's cells behind the
    report of one, and run them.
    """
    return RESULTS / study / "trained"


def evaluated(study: str) -> Path:
    """Where a study's test results lie."""
    return RESULTS / study / "evaluated"


def reports(study: str) -> Path:
    """Where a study's tables and figures lie; the default study's are the first one sees."""
    return REPORTS if study == DEFAULT else REPORTS / study


def root() -> Path:
    """The checkout. DVC names it in ``DVC_ROOT`` also where it runs a stage in a copy of it."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


def dvc_cache() -> Path:
    """Return the folder of DVC's cache, where files lie that it checks out as links."""
    return _dvc_cache(root() / ".dvc")


@cache
def _dvc_cache(folder: Path) -> Path:
    where = "cache"
    try:
        from dvc.config import Config
        from dvc.exceptions import DvcException
    except ImportError:  # a machine without DVC has the links that another one made
        return folder / where
    with suppress(DvcException):  # of a damaged file, which is DVC's to report
        where = Config(dvc_dir=str(folder), validate=False).get("cache", {}).get("dir", where)
    return (folder / where).resolve()


def scratch() -> Path:
    """This machine's own folder: run logs, checkpoints, the tracking store. No DVC output.

    Raises:
        UserError: ``ORC_SCRATCH`` names something else.
    """
    named = os.environ.get("ORC_SCRATCH")
    if not named:
        return (root() / ".orc").resolve()
    try:
        folder = Path(named).resolve()
        if folder.is_dir() or not folder.exists():
            return folder
    except (OSError, RuntimeError):  # a name that is too long; links that lead in a circle
        pass
    raise UserError(f"ORC_SCRATCH is '{one_line(named, 200)}'; it must name a folder")


def run_folder(fingerprint: str) -> Path:
    """A run's log and checkpoint: another config, dataset or code has another folder."""
    return scratch() / "runs" / fingerprint
