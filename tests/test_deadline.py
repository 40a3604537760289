"""No call takes longer than its deadline, whatever it waits for."""

from __future__ import annotations

import socket
import threading
import time
from functools import partial

import pytest

from orc_repro import deadline
from orc_repro.deadline import Impatient, Late, download_within, has_deadline, within

NEVER = threading.Event()


def fail(error: BaseException) -> None:
    raise error


def test_what_a_call_returns_or_raises_is_passed_on() -> None:
    assert within(10, lambda: 3) == 3
    for error in (KeyError("its own"), TimeoutError("its own"), SystemExit("its own")):
        with pytest.raises(type(error), match="its own"):
            within(10, partial(fail, error))


def test_a_call_that_is_late_is_left() -> None:
    began = time.monotonic()
    with pytest.raises(Late, match="more than 0 s"):
        within(0.2, NEVER.wait)
    assert time.monotonic() - began < 5
    assert all(t.daemon for t in threading.enumerate() if t.name == "deadline")


def test_a_call_within_a_call_has_the_outer_deadline() -> None:
    assert not has_deadline()
    assert within(10, has_deadline)
    within(10, lambda: within(0.0, lambda: time.sleep(0.2)))


def test_methods_of_an_object_end_and_attributes_pass() -> None:
    class Store:
        address = "somewhere"

        def wait(self, seconds: float) -> str:
            time.sleep(seconds)
            return "answered"

    store = Impatient(Store(), lambda name: 0.2, lambda late: OSError(f"away: {late}"))
    assert store.address == "somewhere" and store.wait(0.0) == "answered"
    with pytest.raises(OSError, match="away: it takes more than"):
        store.wait(3.0)


def test_a_download_ends_when_the_server_is_silent_or_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deadline, "SILENT_FOR_S", 0.2)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(OSError, match="timed out"),
    ):
        download_within(lambda: socket.create_connection(silent.getsockname()).recv(1))
    assert socket.getdefaulttimeout() is None
    monkeypatch.setattr(deadline, "DOWNLOAD_WITHIN_S", 0.2)
    with pytest.raises(OSError, match="more than"):
        download_within(NEVER.wait)
