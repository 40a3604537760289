"""What a result was made from, as one hash."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

CODE = (
    "data/batches.py",
    "data/manifest.py",
    "data/prepared.py",
    "data/split.py",
    "distill/execution.py",
    "distill/host_read.py",
    "distill/losses.py",
    "distill/method.py",
    "distill/pieces.py",
    "distill/replay.py",
    "distill/roles.py",
    "models",
    "processes/batch_norm.py",
    "processes/group.py",
    "training",
)
"""The parts of this package that can change any trained network; ``dvc.yaml`` lists the same."""

PHOTOS_CODE = (
    "data/crops.py",
    "data/index.py",
    "data/photo_files.py",
    "data/photo_manifest.py",
    "data/photo_split.py",
    "data/photos.py",
    "data/shards.py",
    "data/streaming.py",
)
"""And those that can change one only if its images are read while it trains."""

CE_CODE, _FROZEN, _PEERS = "distill/ce.py", "distill/frozen", "distill/peers"
METHOD_CODE = {
    "ce": CE_CODE,
    "kd": _FROZEN,
    "takd": _FROZEN,
    "dgkd": _FROZEN,
    "feature": "distill/feature.py",
    "dml": _PEERS,
    "kdcl": _PEERS,
    "one": _PEERS,
    "orc": "distill/orc",
}
"""What can change the networks that one kind of method trains: a new method retrains nothing."""


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


def code_files(
    kind: str, package: Path = Path(__file__).parent, photos: bool = False
) -> dict[str, str]:
    """SHA-256 of each module that can change this kind of run, by its path in the package.

    ``photos``: whether its images are read while it trains.
    """
    files: list[Path] = []
    for part in (*CODE, *(PHOTOS_CODE if photos else ()), METHOD_CODE[kind]):
        path = package / part
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return {f.relative_to(package).as_posix(): file_digest(f) for f in files}


def code_digest(kind: str, package: Path = Path(__file__).parent, photos: bool = False) -> str:
    """SHA-256 over the names and texts of the modules that can change this kind of run."""
    return digest(code_files(kind, package, photos))
