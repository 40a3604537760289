"""What the shell offers when somebody presses Tab behind a command."""

from __future__ import annotations

from pathlib import Path

import typer

from orc_repro.cells import DEFAULT_STUDY
from orc_repro.errors import UserError
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


def _keys(section: str, context: typer.Context, incomplete: str) -> list[str]:
    """Nothing where there is no study: a line that is being typed is no mistake yet."""
    path = Path(context.params.get("study") or DEFAULT_STUDY) / "cells.yaml"
    try:
        found = read_yaml(path)[section]
    except (UserError, OSError, KeyError, TypeError):
        return []
    return [key for key in found or () if key.startswith(incomplete)]
