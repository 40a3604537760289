"""What a result was made from, as one hash; and JSON that is the same bytes every time."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

CODE = ("data/batches.py", "data/prepared.py", "distill", "models", "training")
"""The parts of this package that can change a trained network; ``dvc.yaml`` lists the same."""


def canonical_json(content: Any) -> str:
    """Sorted keys, no spaces, no NaN."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(content: Any) -> str:
    """SHA-256 of a JSON value, in hex."""
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_digest(package: Path = Path(__file__).parent) -> str:
    """SHA-256 over the names and texts of the result-changing modules."""
    files: list[Path] = []
    for part in CODE:
        path = package / part
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return digest({f.relative_to(package).as_posix(): file_digest(f) for f in files})


def write_json(path: Path, content: Any) -> None:
    """Write JSON for people and git: indented, sorted, replaced in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(
        json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8"
    )
    partial.replace(path)
