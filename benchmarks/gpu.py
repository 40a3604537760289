"""On a GPU: each way of computing ORC's iteration, from a peer's loop to several seeds at once.

``python -m benchmarks.gpu [--minutes 8]``; the table comes last. What would not fit into the time
is left out and named. On a machine without a GPU it measures what there is to measure there.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

import torch

from benchmarks.group import DEVICE, Steps
from benchmarks.machine import Machine, has_fast_bf16, measured
from benchmarks.orc_step import BATCH, GROUP, peer_step, phases_step
from benchmarks.rows import Row, table
from benchmarks.timing import fastest, rounds_of
from orc_repro.cost import Counted, count
from orc_repro.distill.replay import WARM_UP_STEPS
from orc_repro.files import write_atomically
from orc_repro.project import REPORTS

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier

EPOCH_STEPS = 50_000 // BATCH
WARM_UP = WARM_UP_STEPS + 6  # every student should have been promoted once
TINY_OPERATIONS = 1_000
SEEDS = (1, 2, 4, 8)
SEEDS_SECONDS = 6.0


def main() -> None:
    """Measure until the time is over, then print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=8.0)
    deadline = time.monotonic() + 60 * parser.parse_args().minutes
    machine = measured(DEVICE)
    on_gpu = DEVICE.type == "cuda"
    rows: list[Row] = []
    if on_gpu:
        rows += _launches()
        _no_synchronisation()
    left_out: list[str] = []
    for part in (_ladder, _seeds) if on_gpu else (_ladder,):
        found, skipped = part(machine, deadline)
        rows += found
        left_out += skipped
    text = (
        f"# ORC's iteration on {machine.device}\n\ntorch {machine.torch}; ResNet 26/20/14/8,"
        f" batches of {BATCH}. The *roofline* is the time that the iteration's arithmetic would"
        " take at the matrix product's peak, or what has to move at a copy's, whichever is longer."
        f" Left out: {', '.join(left_out) or 'nothing'}.\n\n{table(rows)}"
    )
    name = re.sub(r"[^a-z0-9]+", "-", machine.device.lower()).strip("-")
    folder = REPORTS / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{name}-steps.md", text.encode())
    print(text)


def _ladder(machine: Machine, deadline: float) -> tuple[list[Row], list[str]]:
    """Milliseconds an iteration, one thing added at a time; ratios to the peer's loop."""
    plain = _plain()
    made: dict[str, tuple[str, Callable[[], Callable[[], object]]]] = {
        "peer's loop": ("fp32", lambda: peer_step(plain.config, plain.group)),
        "phase by phase": ("fp32", lambda: phases_step(plain.config, plain.group)),
        "shared forwards, another layout": ("fp32", partial(_steps, fast=False)),
        "ours": ("fp32", _steps),
    }
    if has_fast_bf16(DEVICE):
        made["+ bf16"] = ("bf16", partial(_steps, "bf16"))
        made["+ compiled"] = ("bf16", partial(_steps, "bf16", "default"))
    if DEVICE.type == "cuda":
        made["+ graphs, not compiled"] = ("bf16", partial(_steps, "bf16", "graphs"))
        made["+ graphs"] = ("bf16", partial(_steps, "bf16", "default+graphs"))
        made["+ streams"] = ("bf16", partial(_steps, "bf16", "default+graphs", streams=True))
    cost, rows, base = count(plain), list[Row](), None
    in_a_round = 20 if DEVICE.type == "cuda" else 1  # a GPU's queue has to be full
    for i, (name, (precision, make)) in enumerate(made.items()):
        if time.monotonic() > deadline:
            return rows, list(made)[i:]
        step = make()
        _repeat(step, WARM_UP if DEVICE.type == "cuda" else 1)
        found = fastest(rounds_of({name: partial(_repeat, step, in_a_round)}, 5))[name]
        seconds = found.seconds / in_a_round
        base = base or seconds
        least = _roofline(cost, machine, precision)
        minutes = 240 * EPOCH_STEPS * seconds / 60
        rows.append(
            Row(
                f"{least / seconds:.1%} of the roofline",
                f"{name} (240 epochs: {minutes:,.1f} min)",
                1000 * seconds, "ms/iteration", ratio=base / seconds, noisy=found.noisy,
            )
        )  # fmt: skip
    return rows, []


def _plain() -> Steps:
    return Steps(GROUP, "orc", batch_size=BATCH)


def _steps(
    precision: str = "fp32", compiled: str = "off", fast: bool = True, streams: bool = False
) -> Steps:
    how = {"precision": precision, "compile": compiled}
    steps = Steps(GROUP, "orc", batch_size=BATCH, fast=fast, computed=how)
    steps.method.execution.streams = streams
    return steps


def _repeat(step: Callable[[], object], times: int) -> None:
    for _ in range(times):
        step()


def _roofline(cost: Counted, machine: Machine, precision: str) -> float:
    """Seconds an iteration cannot fall below."""
    half = precision == "bf16"
    peak = machine.gemm_flops["bfloat16" if half else "float32"]
    moved = cost.traffic_bytes / (2 if half else 1)
    return max(cost.flop / peak, moved / machine.copy_bytes_per_second)


def _launches() -> list[Row]:
    """What an operation costs that does nothing: launched one by one, and replayed."""
    tensor = torch.zeros(1, device=DEVICE)

    def tiny() -> None:
        for _ in range(TINY_OPERATIONS):
            tensor.add_(1)

    tiny()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        tiny()
    found = fastest(rounds_of({"one by one": tiny, "replayed": graph.replay}, 5))
    return [
        Row("a tiny operation", name, 1e6 * f.seconds / TINY_OPERATIONS, "µs", f.times_faster)
        for name, f in found.items()
    ]


def _no_synchronisation() -> None:
    """Stop if a step waits for the GPU anywhere but at the ballot, which waits for an event."""
    steps = _plain()
    for _ in range(3):
        steps()
    torch.cuda.set_sync_debug_mode("error")
    try:
        steps()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _seeds(machine: Machine, deadline: float) -> tuple[list[Row], list[str]]:
    """Iterations a second of all seeds together: as processes, and as streams of one process."""
    rows: list[Row] = []
    base: float | None = None
    for way in (_as_streams, _as_processes):
        for seeds in SEEDS:
            name = f"{seeds} seeds {way.__name__.removeprefix('_').replace('_', ' ')}"
            if time.monotonic() + 60 > deadline:
                return rows, [name, "and what comes after"]
            speed = way(seeds)
            base = base or speed
            rows.append(Row("seeds side by side", name, speed, "iterations/s", speed / base))
    return rows, []


def _as_streams(seeds: int) -> float:
    every = [_steps("bf16", "graphs") for _ in range(seeds)]
    streams = [torch.cuda.Stream() for _ in every]  # type: ignore[no-untyped-call]

    def once() -> None:
        for stream, steps in zip(streams, every, strict=True):
            with torch.cuda.stream(stream) if seeds > 1 else nullcontext():
                steps()

    for _ in range(WARM_UP):
        once()
    return seeds * _speed(once)


def _as_processes(seeds: int) -> float:
    """Of separate processes, which take turns on the GPU unless CUDA's MPS is running."""
    context = multiprocessing.get_context("spawn")
    together, speeds = context.Barrier(seeds), context.Queue()
    processes = [context.Process(target=_one_seed, args=(together, speeds)) for _ in range(seeds)]
    for process in processes:
        process.start()
    found = [speeds.get(timeout=180) for _ in processes]
    for process in processes:
        process.join()
    return float(sum(found))


def _one_seed(together: Barrier, speeds: Queue[float]) -> None:
    steps = _steps("bf16", "graphs")
    for _ in range(WARM_UP):
        steps()
    torch.cuda.synchronize()
    together.wait()
    speeds.put(_speed(steps))


def _speed(work: Callable[[], object]) -> float:
    """How often a second it is done, until the GPU is done with it."""
    torch.cuda.synchronize()
    began, times = time.perf_counter(), 0
    while time.perf_counter() - began < SEEDS_SECONDS:
        _repeat(work, 20)
        torch.cuda.synchronize()
        times += 20
    return times / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
