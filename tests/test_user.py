"""A user without a name has one for all that is started."""

from __future__ import annotations

import getpass
import os

import pytest

from orc_repro.user import name_user

NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")


@pytest.fixture(autouse=True)
def _unnamed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_a_number_without_a_name_gets_one(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "")  # put back at the end

    def unknown(_: int) -> None:
        raise error("uid not found")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    name_user()
    assert getpass.getuser() == f"user-{os.getuid()}"


def test_a_name_that_is_there_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "ada")
    name_user()
    assert getpass.getuser() == "ada" and "LOGNAME" not in os.environ
