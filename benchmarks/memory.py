"""B9 and B12: memory against its prediction, and a cold start; each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import torch

from benchmarks.group import DEVICE, Steps
from benchmarks.rows import Row
from orc_repro.cost import step_cost
from orc_repro.rehearsal import held_bytes

GROUP, BATCH, WITHIN = "r26-r8", 128, 0.2


def measure() -> list[Row]:
    """Peak memory of an iteration beside its prediction; seconds from nothing to a first step."""
    return [*_memory(), _cold_start()]


def _memory() -> list[Row]:
    def small(batch_size: int) -> Steps:
        steps = Steps(GROUP, "orc", batch_size=batch_size)
        steps()
        return steps

    cost = step_cost(small, held_bytes(small(4).method))
    predicted = cost.peak_bytes(BATCH)
    # glibc keeps what was freed unless told otherwise; it is not the iteration's.
    keep = {"MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = _run("peak", os.environ | keep)
    return [
        Row("B9 memory", "predicted", predicted / 1e6, "MB"),
        Row(
            "B9 memory", "measured", done / 1e6, "MB", ratio=abs(done - predicted) / predicted,
            must=("<=", WITHIN), aim=("<=", WITHIN / 2),
        ),
    ]  # fmt: skip


def _cold_start() -> Row:
    began = time.perf_counter()
    _run("first", dict(os.environ))
    took = time.perf_counter() - began
    return Row("B12 cold start", "import, build, one step", took, "s", took, ("<=", 10), ("<=", 5))


def _run(what: str, environment: dict[str, str]) -> float:
    words = [sys.executable, "-m", "benchmarks.memory", what]
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=environment)
    return float(json.loads(done.stdout))


def _status(field: str) -> int:
    with open("/proc/self/status") as file:
        (line,) = (line for line in file if line.startswith(field))
    return 1024 * int(line.split()[1])


def _peak() -> float:
    """Bytes that three iterations add to what the process holds before networks are built."""
    Steps(GROUP, "orc", batch_size=4)(2)  # the libraries' own buffers
    if DEVICE.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    else:
        before = _status("VmRSS")
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak starts anew
    steps = Steps(GROUP, "orc", batch_size=BATCH)
    steps(3)
    after = torch.cuda.max_memory_allocated() if DEVICE.type == "cuda" else _status("VmHWM")
    images = 12 * BATCH * (3 * 40 * 40 + 8)
    return float(after - before - images)


if __name__ == "__main__":
    if sys.argv[1] == "peak":
        print(json.dumps(_peak()))
    else:
        Steps(GROUP, "orc", batch_size=BATCH)()
        print(0)
