"""What ``deterministic: true`` costs: the same ORC steps with exact and with any kernels.

``python -m benchmarks.determinism [rounds]``, in the folder of the project. Each variant has a
process of its own, because a process has one width of instructions; they work in turn.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack

import torch

from benchmarks.group import DEVICE, Steps
from benchmarks.timing import interleaved, show
from orc_repro.config import load_params
from orc_repro.instructions import PORTABLE
from orc_repro.rehearsal import seconds_of
from orc_repro.stages.place import take_place
from orc_repro.training.device import device_name

STEPS = 10
VARIANTS: dict[str, tuple[bool, Mapping[str, str]]] = {
    "deterministic: false": (False, {}),
    "deterministic: true": (True, {}),
}
"""Whether exact, and what is set around it."""
WIDE_VARIANT = {"deterministic: true, AVX-512": (True, {"ATEN_CPU_CAPABILITY": "avx512"})}
"""Who sets a width is not overruled, so this has exact kernels alone; not for any processor."""


class Worker:
    """A process that makes some steps whenever it is called."""

    def __init__(self, exact: bool, variables: Mapping[str, str]) -> None:
        clean = {name: value for name, value in os.environ.items() if name not in PORTABLE}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.determinism", "--work", str(exact)],
            env=clean | dict(variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self) -> None:
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        if not process.stdout.readline():
            sys.exit("a process that was measured has ended")

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()


def work(exact: bool) -> None:
    """Make steps, some for each line that comes in."""
    recipe = load_params().recipes["cifar10-brief"].model_copy(update={"deterministic": exact})
    take_place(str(DEVICE), recipe)
    steps = Steps()
    for _ in sys.stdin:
        seconds_of(lambda: steps(STEPS))  # to the end, on a GPU, too
        print("done", flush=True)


def main(rounds: int) -> None:
    """Print milliseconds a step, and the ratio to kernels that are free to differ."""
    variants = VARIANTS | (WIDE_VARIANT if torch.cpu._is_avx512_supported() else {})
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker(*variant)) for name, variant in variants.items()
        }
        found = interleaved(workers, rounds)
    title = f"ORC, r20-r8, batches of 64 CIFAR-sized images, {device_name(DEVICE)}"
    show(title, found, STEPS, "step")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2] == "True")
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
