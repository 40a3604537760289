"""A file is the former one or the new one, and a stranger's pipe is not waited for."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
import torch

from orc_repro.files import (
    create_atomically,
    open_file,
    read_file,
    refuse_packed,
    remove_partials,
    write_atomically,
    write_json,
)
from orc_repro.memory import fits_into_memory, is_out_of_memory


def test_the_parts_are_written_one_after_the_other_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_atomically(path, b"one ", memoryview(b"two"))
    assert path.read_bytes() == b"one two"
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_former_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"former")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(path, b"new")
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"former"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("hard_links", [True, False])
def test_a_file_is_created_once_and_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hard_links: bool
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not hard_links:
        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "deep" / "file"
    create_atomically(path, b"first ", b"one")
    with pytest.raises(FileExistsError):
        create_atomically(path, b"second")
    assert path.read_bytes() == b"first one"
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".file.123.partial", ".[f]ile.json.5.partial", "file", ".hidden"):
        (tmp_path / name).write_text("")
    remove_partials(tmp_path, "fil")
    remove_partials(tmp_path, "[f]ile.json")
    assert len(list(tmp_path.iterdir())) == 3
    remove_partials(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "file"]


def test_json_is_the_same_bytes_whatever_the_order_and_has_no_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": [1.5]})
    write_json(tmp_path / "b.json", {"a": [1.5], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "c.json", {"a": float("nan")})
    assert not (tmp_path / "c.json").exists()


def test_a_pipe_a_folder_and_what_is_not_there_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ""):
        with pytest.raises(OSError, match="it is not a file"):
            open_file(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "nothing")


def test_a_file_larger_than_the_memory_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        try:
            file.truncate(2**42)
        except OSError:
            pytest.skip("this file system holds no file of that size")
    assert not fits_into_memory(2**42)
    with pytest.raises(OSError, match="larger than the memory"):
        read_file(tmp_path / "sparse")


def test_torchs_and_pythons_lack_of_memory_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as cpu:
        torch.empty(2**50)
    assert is_out_of_memory(cpu.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes do not agree"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_a_file_beyond_a_limit_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_file(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="5 bytes, more than 4"):
        read_file(tmp_path / "file", 4)


@pytest.mark.parametrize("before", [b"", b"a checkpoint begins with its hash\n"])
def test_an_archive_that_is_packed_is_refused(before: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    for packed in (False, True):
        path.write_bytes(before)
        how = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("zeros", bytes(10**6), how)
        with path.open("rb") as file:
            if packed:
                with pytest.raises(ValueError, match="packed"):
                    refuse_packed(file)
            else:
                refuse_packed(file)
                assert file.tell() == 0
