"""The constants of the machine this runs on: steps, loading, and words between processes."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil
import torch
from torch import distributed
from torch.multiprocessing.spawn import ProcessException, spawn

from orc_repro.data.split import Split
from orc_repro.errors import UserError, one_line
from orc_repro.training.streams import generator

LOADER_SECONDS = 6.0
_FEWEST_BATCHES = 4
BALLOT_BYTES, LARGE_BYTES = 16, 2**25  # of two students; of the gradients of a small network
_ROUNDS, _WARM_UP = 20, 3
_PATIENCE = timedelta(seconds=60)


@dataclass(frozen=True)
class Network:
    """Between two processes of this machine.

    Attributes:
        bytes_per_s: that each sends and receives.
        latency_s: of one message.
        way: what carried it.
    """

    bytes_per_s: float
    latency_s: float
    way: str


def usable_cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not everywhere
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def loader_per_core(split: Split, batch_size: int) -> tuple[float, float]:
    """(images a second, images for each second of a core) of making a split's batches.

    A core's second is processor time of this process and its workers, so it does not depend on how
    many there are, nor on who else uses the machine; waiting for the disk is not in it.

    Raises:
        UserError: the split has too few batches.
    """
    marks = []
    for _ in split.augmented_batches(batch_size, generator(0, "loader")):
        marks.append((time.perf_counter(), _processor_seconds()))
        if len(marks) >= _FEWEST_BATCHES and marks[-1][0] - marks[0][0] > LOADER_SECONDS:
            break
    if len(marks) < _FEWEST_BATCHES:
        raise UserError(
            f"timing the loader needs {_FEWEST_BATCHES} batches of {batch_size}; say it instead:"
            " --assume loader_images_per_core=N"
        )
    return rates_of(marks, batch_size)


def rates_of(marks: Sequence[tuple[float, float]], batch_size: int) -> tuple[float, float]:
    """Images a second and for each second of a core, from when batches came.

    The first half fills queues, and is not counted.

    Args:
        marks: of each batch the time, and the processor time used until then.
    """
    first = len(marks) // 2
    (began, used), (ended, used_then) = marks[first], marks[-1]
    made = batch_size * (len(marks) - 1 - first)
    return made / (ended - began), made / max(used_then - used, 1e-9)


def _processor_seconds() -> float:
    own = psutil.Process()
    total = 0.0
    for process in (own, *own.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def measure_network() -> Network:
    """An all-reduce between two processes: NCCL between two GPUs where there are, else gloo.

    Raises:
        UserError: two processes cannot reach each other here.
    """
    backend = "nccl" if torch.cuda.device_count() > 1 else "gloo"
    with tempfile.TemporaryDirectory() as folder:
        meeting, found = Path(folder) / "meeting", Path(folder) / "found"
        try:
            places = (backend, str(meeting), str(found))
            spawn(_all_reduces, places, nprocs=2)  # type: ignore[no-untyped-call]
            tiny, large = (float(word) for word in found.read_text().split())
        except (ProcessException, RuntimeError, OSError, ValueError) as error:
            reason = one_line(str(error).strip().splitlines()[-1], 200)
            raise UserError(
                f"the network cannot be measured between two processes here ({reason}); say it:"
                " --assume network_gbytes_per_s=N --assume latency_us=N"
            ) from None
    return network_from(tiny, large, f"{backend} between two processes of this machine")


def network_from(tiny_s: float, large_s: float, way: str) -> Network:
    """From the seconds of a ballot's and of a large all-reduce between two processes.

    A ring of two has 2 rounds, each of a latency and half of the bytes; a ballot is latency alone.
    """
    return Network(LARGE_BYTES / max(large_s - tiny_s, 1e-9), tiny_s / 2, way)


def _all_reduces(rank: int, backend: str, meeting: str, found: str) -> None:
    device = torch.device("cuda", rank) if backend == "nccl" else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group(
        backend, init_method=f"file://{meeting}", rank=rank, world_size=2, timeout=_PATIENCE
    )
    fastest = []
    for size in (BALLOT_BYTES, LARGE_BYTES):
        numbers = torch.ones(size // 4, device=device)
        seconds = []
        for _ in range(_WARM_UP + _ROUNDS):
            distributed.barrier()
            began = time.perf_counter()
            distributed.all_reduce(numbers)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - began)
        fastest.append(min(seconds[_WARM_UP:]))
    if rank == 0:
        Path(found).write_text(" ".join(map(str, fastest)))
    distributed.destroy_process_group()
