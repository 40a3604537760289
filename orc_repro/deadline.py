"""An end to every wait on a network.

Timeouts of libraries are no such end: they count anew with every byte, and a server may ask to be
tried again in a day. So a call runs in a thread of its own, which is left behind if it is late; it
holds up neither the caller nor the end of the process.
"""

from __future__ import annotations

import functools
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, TimeoutError
from typing import Any, TypeVar

from orc_repro.errors import UserError

T = TypeVar("T")

ANSWER_WITHIN_S = 30.0
"""How long a store may take for one call."""
TRANSFER_WITHIN_S = 600.0
"""How long it may take for files."""
DOWNLOAD_WITHIN_S = 3600.0
"""How long a published dataset or network may take."""
SILENT_FOR_S = 60.0
"""How long the server of a download may send nothing."""

_thread = threading.local()


class Late(Exception):
    """A call did not return in time."""


class Unusable(UserError):
    """A store does not answer or has a wrong address; asking it again is of no use."""


def has_deadline() -> bool:
    """Return whether this is called within a call of :func:`within`."""
    return getattr(_thread, "has_deadline", False)


def within(seconds: float, call: Callable[[], T]) -> T:
    """Call a function and wait for so many seconds at most.

    A call within such a call waits as long as the outer one.

    Raises:
        Late: it has not returned; it goes on in a thread that nobody waits for.
    """
    if has_deadline():
        return call()
    outcome: Future[T] = Future()

    def run() -> None:
        _thread.has_deadline = True
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, name="deadline", daemon=True).start()
    try:
        return outcome.result(seconds)
    except TimeoutError:
        if outcome.done():  # the call's own error, or it returned just now
            return outcome.result()
        raise Late(f"it takes more than {seconds:.0f} s") from None


class Impatient:
    """An object each of whose methods has a deadline.

    Args:
        subject: the object.
        seconds: the deadline of a method, by its name.
        refuse: makes the error to raise of :class:`Late`.
    """

    def __init__(
        self, subject: Any, seconds: Callable[[str], float], refuse: Callable[[Late], Exception]
    ) -> None:
        self._subject, self._seconds, self._refuse = subject, seconds, refuse

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._subject, name)
        if not callable(value):
            return value

        @functools.wraps(value)
        def call(*args: Any, **named: Any) -> Any:
            try:
                return within(self._seconds(name), lambda: value(*args, **named))
            except Late as late:
                raise self._refuse(late) from None

        return call


def download_within(call: Callable[[], T]) -> T:
    """Call a function that downloads files, with an end to every wait.

    Raises:
        OSError: the server was silent for too long, or the download takes too long.
    """
    former = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENT_FOR_S)
    try:
        return within(DOWNLOAD_WITHIN_S, call)
    except Late as late:
        raise OSError(str(late)) from None
    finally:
        socket.setdefaulttimeout(former)
