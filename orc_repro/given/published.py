"""torchvision's published weights as a file: from where torch keeps its downloads, or fetched."""

from __future__ import annotations

from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlparse

import torch

from orc_repro._torchvision import import_torchvision
from orc_repro.deadline import download_within
from orc_repro.errors import UserError, one_line
from orc_repro.fingerprint import file_digest

ARCHITECTURES = ("resnet18", "resnet34")
"""Those of our networks that are torchvision's own, with its names of layers."""


def published_url(architecture: str, name: str) -> str:
    """Where torchvision publishes weights of an architecture.

    Raises:
        UserError: torchvision has no such weights, or is not installed.
    """
    if architecture not in ARCHITECTURES:
        raise UserError(
            f"torchvision has no weights for {architecture} as it is built here;"
            f" it has some for {', '.join(ARCHITECTURES)}"
        )
    import_torchvision()
    from torchvision.models import get_model_weights

    known = {weights.name: weights.url for weights in get_model_weights(architecture)}
    if name not in known:
        raise UserError(
            f"torchvision has no weights '{one_line(name)}' for {architecture};"
            f" it has {', '.join(known)}"
        )
    return str(known[name])


def fetched(url: str) -> Path:
    """The file of a URL, downloaded unless it lies where torch keeps its downloads.

    Raises:
        UserError: it cannot be downloaded, or is not the file that the URL's name stands for.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            download_within(lambda: torch.hub.download_url_to_file(url, str(path), progress=False))
        except (OSError, HTTPException) as error:
            reason = one_line(" ".join(str(error).split()), 200)
            raise UserError(
                f"{url} cannot be downloaded ({reason}); without a network, take the file from"
                f" elsewhere: `--weights FILE`, or put it at {path}"
            ) from None
    check_published(path, url)
    return path


def check_published(path: Path, url: str) -> None:
    """Whether a file is the one that a URL stands for, by the hash in the URL's name.

    Raises:
        UserError: it is another file, or cannot be read.
    """
    name = Path(urlparse(url).path).name
    begin = Path(name).stem.rpartition("-")[2]
    try:
        found = file_digest(path)
    except OSError as error:
        raise UserError(f"the weights {path} cannot be read: {error}") from None
    if not found.startswith(begin):
        raise UserError(
            f"the weights {path} are not torchvision's {name}: their SHA-256 begins with"
            f" {found[:8]}, not {begin}"
        )
