"""Runs a command where none of the large packages can be imported."""

from __future__ import annotations

import sys

ABSENT = (
    *("mlflow", "dvc", "optuna", "sklearn", "matplotlib", "jinja2", "markupsafe", "markdown_it"),
    *("scipy", "torchdistill", "ruamel", "git", "sqlalchemy", "requests", "pydot"),
)

if __name__ == "__main__":
    for name in ABSENT:
        sys.modules[name] = None  # type: ignore[assignment]  # importing it fails
    from orc_repro.cli import main

    sys.argv = ["orc-repro", *sys.argv[1:]]
    main()
