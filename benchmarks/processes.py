"""How gradients become one: flat, a collective a phase, beside a DistributedDataParallel a network.

Two processes of this machine, gloo, the same ORC iterations on the same draws, taking turns within
one run. Both must end with the same weights.
"""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing import spawn  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from benchmarks.group import DEVICE, Steps
from benchmarks.timing import fastest, rounds_of
from orc_repro.processes.group import Processes
from orc_repro.processes.joining import join

GROUP, BATCH, COUNT = "r26-r8", 128, 2
STEPS = 4


class Counting:
    """How many collectives on tensors there were."""

    def __init__(self) -> None:
        self.calls = 0
        self._reduce = dist.all_reduce

    def __call__(self, tensor: Tensor, *given: Any, **named: Any) -> Any:
        self.calls += 1
        return self._reduce(tensor, *given, **named)


def flat(processes: Processes) -> Steps:
    """As this package does it."""
    steps = Steps(GROUP, batch_size=BATCH // processes.count)
    steps.method.execution.processes = processes
    return steps


def wrapped(processes: Processes) -> Steps:
    """Each network in a wrapper of its own, which averages while the backward pass runs."""
    steps = flat(processes)
    method = steps.method
    wrappers = {
        name: DistributedDataParallel(network, broadcast_buffers=False)
        for name, network in method.networks.items()
    }

    def compute(name: str, network: nn.Module, images: Tensor) -> Tensor:
        learns = torch.is_grad_enabled() and network.training
        logits: Tensor = (wrappers[name] if learns else network)(images)
        return logits

    def nothing(names: Sequence[str]) -> None:
        """The wrappers have done it."""

    method.execution._compute = compute  # type: ignore[method-assign]
    method._average_gradients = nothing  # type: ignore[method-assign]
    return steps


def weights_of(steps: Steps) -> Tensor:
    """All of them, one behind the other."""
    networks = steps.method.networks.values()
    return torch.cat([p.detach().flatten() for network in networks for p in network.parameters()])


def one(rank: int, port: int, rounds: int) -> None:
    """One of the processes; the first prints."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(COUNT)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with join(DEVICE) as processes:
        variants = {"flat, a phase": flat(processes), "wrapped networks": wrapped(processes)}
        counting = dist.all_reduce = Counting()
        variants["flat, a phase"](STEPS)
        collectives = counting.calls / STEPS
        dist.all_reduce = counting._reduce
        variants["wrapped networks"](STEPS)
        ours, theirs = (weights_of(steps) for steps in variants.values())
        apart = float((ours - theirs).abs().max())
        times = rounds_of({name: partial(s, STEPS) for name, s in variants.items()}, rounds)
        if processes.leads:
            print(
                f"{GROUP}, batches of {BATCH} on {COUNT} processes; weights differ by {apart:.1e}"
            )
            print(f"flat: {collectives:g} collectives an iteration")
            for name, found in fastest(times).items():
                noisy = "  noisy" if found.noisy else ""
                ms = 1000 * found.seconds / STEPS
                print(f"  {name:20} {ms:8.1f} ms/iteration   x{found.times_faster:.3f}{noisy}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", nargs="?", type=int, default=8)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn(one, args=(port, parser.parse_args().rounds), nprocs=COUNT)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
