"""torchvision's files: found where torch keeps downloads, fetched, and checked by their hash."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest
import torch

from orc_repro.errors import UserError
from orc_repro.fingerprint import file_digest
from orc_repro.given.files import read_state
from orc_repro.given.published import check_published, fetched, published_url


@pytest.fixture(autouse=True)
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torch would keep them, empty; and a network that refuses every connection."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    # urllib keeps what it read of these for the whole process; later tests talk to servers.
    monkeypatch.setattr(urllib.request, "_opener", None)
    return tmp_path / "torch/hub/checkpoints"


def published_here(folder: Path, wrong: bool = False) -> str:
    """The URL of a file on this disk, named as torchvision names its own."""
    made = folder / "made.pth"
    torch.save({"x": torch.arange(3.0)}, made)
    found = file_digest(made)[:8]
    goal = folder / f"tiny-{'0' * 8 if wrong else found}.pth"
    made.rename(goal)
    return goal.as_uri()


def test_the_names_are_those_of_torchvisions_weight_enums() -> None:
    assert published_url("resnet34", "IMAGENET1K_V1").endswith("/resnet34-b627a593.pth")
    with pytest.raises(UserError, match=r"no weights 'V9' for resnet18; it has IMAGENET1K_V1$"):
        published_url("resnet18", "V9")
    with pytest.raises(UserError, match=r"no weights for resnet20 as it is built here; .*resnet18"):
        published_url("resnet20", "IMAGENET1K_V1")


def test_without_a_network_a_sentence_names_the_way_round(downloads: Path) -> None:
    url = published_url("resnet18", "IMAGENET1K_V1")
    with pytest.raises(UserError) as refused:
        fetched(url)
    assert "cannot be downloaded (" in str(refused.value) and "--weights FILE" in str(refused.value)
    assert str(downloads / "resnet18-f37072fd.pth") in str(refused.value)
    assert str(refused.value).isprintable()
    assert list(downloads.iterdir()) == []


def test_a_file_is_fetched_once_and_then_found(tmp_path: Path, downloads: Path) -> None:
    url = published_here(tmp_path)
    path = fetched(url)
    assert path.parent == downloads and torch.equal(read_state(path)["x"], torch.arange(3.0))
    (tmp_path / path.name).unlink()
    assert fetched(url) == path


def test_another_file_under_the_name_is_refused(tmp_path: Path) -> None:
    url = published_here(tmp_path, wrong=True)
    with pytest.raises(UserError, match=r"not torchvision's tiny-0{8}\.pth: their SHA-256 begins"):
        fetched(url)
    other = tmp_path / "other.pth"
    other.write_bytes(b"something else")
    with pytest.raises(UserError, match=r"not torchvision's resnet34-b627a593\.pth"):
        check_published(other, published_url("resnet34", "IMAGENET1K_V1"))
    with pytest.raises(UserError, match="cannot be read"):
        check_published(tmp_path / "nowhere", url)
