"""What the shell offers when somebody presses Tab behind a command."""

from __future__ import annotations

from pathlib import Path

import typer

from orc_repro.cells import DEFAULT_STUDY
from orc_repro.errors import UserError
from orc_repro.studies import studies_beginning
from orc_repro.yaml_files import read_yaml


def cells(context: typer.Context, incomplete: str) -> list[str]:
    """The cells of the study that the line names, as far as they begin so."""
    return _keys("cells", context, incomplete)


def pivots(context: typer.Context, incomplete: str) -> list[str]:
    """Its pivots."""
    return _keys("pivots", context, incomplete)


def assistants(context: typer.Context, incomplete: str) -> list[str]:
    """Its assistants."""
    return _keys("assistants", context, incomplete)


def studies(incomplete: str) -> list[str]:
    """Studies, as far as they begin so."""
    return studies_beginning(incomplete, pools=False)


def studies_and_pools(incomplete: str) -> list[str]:
    """Studies and pools."""
    return studies_beginning(incomplete, pools=True)


def _keys(section: str, context: typer.Context, incomplete: str) -> list[str]:
    """Nothing where there is no study: a line that is being typed is no mistake yet."""
    study: Path | None = context.params.get("study", DEFAULT_STUDY)
    if study is None:
        return []
    try:
        found = read_yaml(study / "cells.yaml")[section]
    except (UserError, OSError, KeyError, TypeError):
        return []
    return [key for key in found or () if key.startswith(incomplete)]
