"""Becoming one of the processes that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from orc_repro.errors import UserError, one_line
from orc_repro.processes.group import ALONE, Processes

ANSWER_WITHIN = timedelta(minutes=10)
"""How long a process waits for another in a collective. One that has died is noticed at once; this
is for a machine that is gone without a word. The first step may compile for minutes.
"""
DEBUG = "ORC_DEBUG"


def started_by_torchrun() -> bool:
    """Whether this process is one of several that torchrun started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "MASTER_ADDR" in os.environ


def local_rank() -> int:
    """Which of this machine's processes this is, and so which GPU is its own."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def make_current(device: torch.device) -> None:
    """Before anything is computed: streams and events that name no GPU are the current one's."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


@contextmanager
def join(device: torch.device) -> Iterator[Processes]:
    """Within it, this process is one of those that torchrun started; or alone, if none did.

    Raises:
        UserError: the others do not come.
    """
    make_current(device)
    if not started_by_torchrun():
        yield ALONE
        return
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        dist.init_process_group(
            backend, store=_store(rank, count), rank=rank, world_size=count, timeout=ANSWER_WITHIN
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
    """Where the processes leave their addresses.

    Each attempt of torchrun has a part of its own: with ``--max-restarts`` the store outlives
    those who died, and who comes after them would wait for them.
    """
    hosted = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        count,
        is_master=rank == 0 and not hosted,
        timeout=ANSWER_WITHIN,
    )
    return PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
