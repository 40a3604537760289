"""Join the processes that a launcher started: this package's or torchrun."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import (  # type: ignore[attr-defined]
    FileStore,
    PrefixStore,
    Store,
    TCPStore,
)

from orc_repro.errors import UserError, one_line
from orc_repro.processes.group import ALONE, Processes

ANSWER_WITHIN = timedelta(minutes=10)
"""How long a process waits for another in a collective. One that has died is noticed at once; this
is for a machine that is gone without a word. The first step may compile for minutes.
"""
DEBUG = "ORC_DEBUG"
MEETING = "ORC_MEETING"
"""Environment variable: the file in which processes of one machine leave their addresses."""
LOOK_S = 0.05
MOST_PROCESSES = 1_000_000
MOST_PORT = 65_535


def started_by_torchrun() -> bool:
    """Tell whether this process is one of several that torchrun or ``--processes`` started.

    Raises:
        UserError: ``WORLD_SIZE`` is not a number of processes.
    """
    several = _number("WORLD_SIZE", "1", 1, MOST_PROCESSES) > 1
    return several and (MEETING in os.environ or "MASTER_ADDR" in os.environ)


def local_rank() -> int:
    """Return which of this machine's processes this is, and so which GPU is its own.

    Raises:
        UserError: ``LOCAL_RANK`` is not such a number.
    """
    return _number("LOCAL_RANK", "0", 0, MOST_PROCESSES)


def make_current(device: torch.device) -> None:
    """Before anything is computed: streams and events that name no GPU are the current one's."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


@contextmanager
def join(device: torch.device) -> Iterator[Processes]:
    """Make this process one of those that a launcher started; or leave it alone, if none did.

    Raises:
        UserError: the others do not come, or the launcher's variables are damaged.
    """
    make_current(device)
    if not started_by_torchrun():
        yield ALONE
        return
    count = _number("WORLD_SIZE", "1", 1, MOST_PROCESSES)
    rank = _number("RANK", None, 0, count - 1)
    local_rank()  # a damaged one is told of before anything is waited for
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        store = _store(rank, count)
        _wait_for_all(store, rank, count)
        dist.init_process_group(
            backend, store=store, rank=rank, world_size=count, timeout=ANSWER_WITHIN
        )
        host = dist.new_group(backend="gloo", timeout=ANSWER_WITHIN)
    except (RuntimeError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        raise UserError(f"process {rank} of {count} cannot reach the others ({why})") from None
    try:
        yield Processes(rank, count, host, _debugs())
    finally:
        dist.destroy_process_group()


def _debugs() -> bool:
    value = os.environ.get(DEBUG) or "0"
    if value not in ("0", "1"):
        raise UserError(f"{DEBUG} is '{one_line(value, 100)}'; it must be 0 or 1")
    return value == "1"


def _store(rank: int, count: int) -> Store:
    """Open the store in which the processes leave their addresses.

    Each attempt of torchrun has a part of its own: with ``--max-restarts`` the store outlives
    those who died, and who comes after them would wait for them.
    """
    if MEETING in os.environ:
        meeting = FileStore(os.environ[MEETING], count)
        meeting.set_timeout(ANSWER_WITHIN)
        return meeting
    hosted = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = TCPStore(
        os.environ["MASTER_ADDR"],
        _number("MASTER_PORT", None, 1, MOST_PORT),
        count,
        is_master=rank == 0 and not hosted,
        timeout=ANSWER_WITHIN,
    )
    return PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _wait_for_all(store: Store, rank: int, count: int) -> None:
    """Wait until every process is here, in steps in which a signal is heard.

    A process that waits within torch hears none, and would outlive one that died at its start.
    """
    store.set(f"here/{rank}", "1")
    everyone = [f"here/{other}" for other in range(count)]
    end = time.monotonic() + ANSWER_WITHIN.total_seconds()
    while not store.check(everyone):
        if time.monotonic() > end:
            raise UserError(f"process {rank} of {count} waited in vain for the others to start")
        time.sleep(LOOK_S)


def _number(name: str, default: str | None, least: int, most: int) -> int:
    """Read a whole number that a launcher leaves in an environment variable.

    Args:
        name: the variable.
        default: what an unset variable stands for; None if it must be set.
        least: the smallest number allowed.
        most: the largest number allowed.

    Raises:
        UserError: it is not set, or is no such number.
    """
    text = os.environ.get(name, default)
    if text is None:
        raise UserError(
            f"the environment variable {name} is not set; torchrun and --processes set it"
        )
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise UserError(
            f"the environment variable {name} is '{one_line(text, 50)}'; torchrun sets a whole"
            f" number from {least} to {most}; unset WORLD_SIZE to train in one process"
        )
    return number
