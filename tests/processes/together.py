"""Several processes for a test: each joins the others and calls one function."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import queue
import socket
import time
import traceback
from collections.abc import Callable
from typing import Any

import torch

from orc_repro.processes.joining import join

TIMEOUT_S = 200


def together(count: int, work: Callable[..., Any], *given: Any, debug: bool = False) -> list[Any]:
    """What ``work(processes, *given)`` returns in each of ``count`` processes, by rank.

    An error is returned in place of a result, as its class's name and what it says.
    """
    context = multiprocessing.get_context("spawn")
    answers: Any = context.Queue()
    port = _free_port()
    started = [
        context.Process(target=_one, args=(rank, count, port, debug, answers, work, given))
        for rank in range(count)
    ]
    for process in started:
        process.start()
    found: dict[int, bytes] = {}
    end = time.monotonic() + TIMEOUT_S
    while len(found) < count:
        with contextlib.suppress(queue.Empty):
            found |= dict([answers.get(timeout=1)])
        died = [p.exitcode for p in started if p.exitcode]
        if died or time.monotonic() > end:
            for process in started:
                process.kill()
            raise AssertionError(f"processes ended with {died}, or were too slow")
    for process in started:
        process.join(TIMEOUT_S)
    return [pickle.loads(found[rank]) for rank in range(count)]


def _free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        port: int = tried.getsockname()[1]
        return port


def _one(
    rank: int,
    count: int,
    port: int,
    debug: bool,
    answers: Any,
    work: Callable[..., Any],
    given: tuple[Any, ...],
) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ORC_DEBUG": "1" if debug else "",
    }
    torch.set_num_threads(1)
    try:
        with join(torch.device("cpu")) as processes:
            found = work(processes, *given)
            # Nobody leaves before all have their answer: who is left would be told of a loss.
            processes.highest([0])
    except Exception as error:
        traceback.print_exc()
        found = f"{type(error).__name__}: {error}"
    answers.put((rank, pickle.dumps(found)))  # by value: whoever made a tensor is gone soon


def expect(found: list[Any], kind: type = dict) -> list[Any]:
    """The results, if none is an error."""
    for result in found:
        assert isinstance(result, kind), result
    return found
