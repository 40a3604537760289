"""What a result was made from, as one hash."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

CODE = ("data/batches.py", "data/manifest.py", "data/prepared.py", "distill", "models", "training")
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


def code_files(package: Path = Path(__file__).parent) -> dict[str, str]:
    """SHA-256 of each result-changing module, by its path in the package."""
    files: list[Path] = []
    for part in CODE:
        path = package / part
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return {f.relative_to(package).as_posix(): file_digest(f) for f in files}


def code_digest(package: Path = Path(__file__).parent) -> str:
    """SHA-256 over the names and texts of the result-changing modules."""
    return digest(code_files(package))
