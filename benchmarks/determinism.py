"""What ``deterministic: true`` costs: the same ORC steps with exact and with any kernels.

``python -m benchmarks.determinism [rounds]``, in the folder of the project.
"""

from __future__ import annotations

import sys

from benchmarks.group import DEVICE, Steps
from benchmarks.timing import interleaved, show
from orc_repro.config import load_params
from orc_repro.training.device import device_name, set_up

STEPS = 10


def main(rounds: int) -> None:
    """Print milliseconds a step, and the ratio to kernels that are free to differ."""
    recipe = load_params().recipes["cifar10-brief"]
    steps = Steps()

    def made(deterministic: bool) -> None:
        set_up(recipe.model_copy(update={"deterministic": deterministic}))
        steps(STEPS)

    found = interleaved(
        {"deterministic: false": lambda: made(False), "deterministic: true": lambda: made(True)},
        rounds,
    )
    title = f"ORC, r20-r8, batches of 64 CIFAR-sized images, {device_name(DEVICE)}"
    show(title, found, STEPS, "step")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
