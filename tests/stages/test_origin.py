"""A prepared set whose source has changed is not worked on, and links are told of."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orc_repro.config import CifarData, FolderData, Params, load_params
from orc_repro.data.manifest import ARRAYS, MANIFEST
from orc_repro.errors import UserError
from orc_repro.project import PREPARED, scratch
from orc_repro.stages import origin
from orc_repro.stages.origin import change_of, check_origin, doubt_about
from orc_repro.stages.prepare import prepare
from orc_repro.stages.status import lines
from orc_repro.validation import parse
from tests.data.made_photos import make_tree as make_photos
from tests.data.made_photos import photo_config, photo_params
from tests.data.test_folders import make_tree, save_image
from tests.project import ROOT, copy_project
from tests.reliability.machine import small
from tests.stages.commands import orc_repro

MINE = {"source": "folder", "root": "mine", "validation_fraction": 0.5, "split_seed": 0}
FIRST = Path("mine/train/ant/0.png")


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """A prepared folder of images, in an empty current folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "ORC_SCRATCH"):
        monkeypatch.delenv(name, raising=False)
    make_tree(Path("mine"))
    params = load_params(ROOT / "params.yaml")
    mine = params.model_copy(update={"data": {"mine": parse(FolderData, MINE, "mine")}})
    prepare(mine, "mine")
    return mine


def swap() -> None:
    Path("mine/train/ant").rename("mine/x")
    Path("mine/train/bee").rename("mine/train/ant")
    Path("mine/x").rename("mine/train/bee")


def overwrite() -> None:
    """Other content of the same size."""
    content = bytearray(FIRST.read_bytes())
    content[-1] ^= 1
    FIRST.write_bytes(content)
    os.utime(FIRST, ns=(0, 0))


CHANGES: dict[str, tuple[Callable[[], object], str]] = {
    "new": (
        lambda: save_image(Path("mine/test/bee/2.png"), 7),
        r"a file is new \(test/bee/2\.png\)",
    ),
    "gone": (Path("mine/test/ant/0.png").unlink, r"a file is gone \(test/ant/0\.png\)"),
    "other": (lambda: save_image(FIRST, 99), r"a file is changed \(train/ant/0\.png\)"),
    "same size": (overwrite, r"a file is changed \(train/ant/0\.png\)"),
    "swapped": (swap, r"4 files are changed \(train/ant/0\.png\)"),
    "a class": (lambda: shutil.rmtree("mine/test/ant"), "class 'ant' has no folder in mine/test"),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES)
def test_changed_images_are_named_with_what_to_do(case: str, params: Params) -> None:
    change, named = CHANGES[case]
    check_origin(params, "mine")
    change()
    with pytest.raises(UserError, match=named) as caught:
        check_origin(params, "mine")
    assert str(PREPARED / "mine") in str(caught.value)
    assert "run `orc-repro prepare mine`" in str(caught.value)
    if case != "a class":
        prepare(params, "mine")
        check_origin(params, "mine")


def test_files_that_were_only_touched_are_read_once(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(FIRST)
    assert change_of(params, "mine") == ""
    monkeypatch.setattr(origin, "file_digest", lambda _: pytest.fail("read again"))
    assert change_of(params, "mine") == ""


def test_the_prepared_set_is_the_same_bytes_with_a_record_and_needs_no_source(
    params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {path.name for path in (PREPARED / "mine").iterdir()}
    assert names == {MANIFEST} | {f"{name}.npy" for name in ARRAYS}
    Path("mine").rename("away")
    save_image(Path("away/train/ant/0.png"), 99)
    check_origin(params, "mine")
    Path("away").rename("elsewhere")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("damaged", [False, True])
def test_a_set_without_a_record_is_told_of(
    params: Params, capsys: pytest.CaptureFixture[str], damaged: bool
) -> None:
    (record,) = (scratch() / "origins").iterdir()
    if damaged:
        record.write_text("{")
    else:
        record.unlink()
    FIRST.unlink()
    check_origin(params, "mine")
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("note: ") and "`orc-repro prepare mine` records" in said
    assert doubt_about(params, "mine") and not doubt_about(params, "digits")


def test_the_files_of_digits_and_cifar_are_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    params = load_params(ROOT / "params.yaml")
    prepare(params, "digits")
    assert change_of(params, "digits") == doubt_about(params, "digits") == ""
    cifar = params.data["cifar100"]
    assert isinstance(cifar, CifarData)
    cifar = cifar.model_copy(update={"root": "data"})
    Path("data/cifar-100-python").mkdir()
    Path("data/cifar-100-python/train").write_bytes(b"images")
    (name,) = origin.origin_of(cifar).files
    assert name == "train"


def test_photographs_that_come_or_go_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = make_photos(Path("tree"), scale=0.1, odd=False)
    params = photo_params(photo_config(root, crop=16, resize=20))
    prepare(params, "photos")
    check_origin(params, "photos")
    photo = next(root.glob("train/*/*.JPEG"))
    shutil.copy(photo, photo.with_name("new.JPEG"))
    with pytest.raises(UserError, match="run `orc-repro prepare photos`"):
        check_origin(params, "photos")


def test_linked_folders_are_told_of(params: Params, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "test"):
        Path("mine", split, "bee").rename(f"bee-{split}")
        Path("mine", split, "bee").symlink_to(Path(f"bee-{split}").resolve())
    prepare(params, "mine")
    said = capsys.readouterr().err
    assert "note: images were read through a link, mine/train/bee to" in said
    assert "(and 1 more)" in said
    check_origin(params, "mine")
    save_image(Path("bee-train/0.png"), 99)
    with pytest.raises(UserError, match="a file is changed"):
        check_origin(params, "mine")


def test_every_command_without_dvc_refuses_changed_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def edit(params: dict[str, Any]) -> None:
        small()(params)
        params["data"]["mine"] = MINE
        params["recipes"]["digits"] |= {"batch_size": 2, "epochs": 1}
        params["recipes"]["digits"]["schedule"]["milestones_epochs"] = []

    project = copy_project(
        tmp_path / "project", edit,
        {"dataset": "mine", "groups": ["small"], "seeds": [0], "methods": ["kd"]},
    )  # fmt: skip
    monkeypatch.chdir(project)
    for name in ("DVC_ROOT", "DVC_STAGE", "ORC_SCRATCH", "ORC_RUN_PID"):
        monkeypatch.delenv(name, raising=False)
    for split in ("train", "test"):
        for name in ("ant", "bee"):
            for number in range(4):
                save_image(Path("mine", split, name, f"{number}.png"), number, size=(8, 8))
    for words in (["plan"], ["queue", "--study", "default"]):
        code, said = orc_repro(capsys, *words)
        assert code == 0, said
    assert "1 of 1 cells measured" in said
    assert not any("changed" in line for line in lines())
    save_image(FIRST, 99, size=(8, 8))
    for words in (
        ["pretrain", "mine-resnet14-digits-s0"],
        ["train", "mine-small-kd-s0"],
        ["train", "mine-small-kd-s0", "--restart"],
        ["evaluate", "mine-small-kd-s0"],
        ["queue", "--study", "default"],
    ):
        code, said = orc_repro(capsys, *words)
        assert code == 2 and "run `orc-repro prepare mine`" in said, (words, said)
    assert any(line.startswith("changed: ") and "prepare mine" in line for line in lines())
    assert orc_repro(capsys, "prepare", "mine")[0] == 0
    code, said = orc_repro(capsys, "queue", "--study", "default")
    assert code == 0 and "train@mine-small-kd-s0 done" in said
