"""What a checkpoint costs: how large it is, how long writing and reading one takes.

``python -m benchmarks.checkpoint [rounds]``, in the folder of the project.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import closing
from pathlib import Path

import torch

from benchmarks.group import DEVICE, Steps
from benchmarks.timing import interleaved, show
from orc_repro.config import load_params
from orc_repro.progress import Progress
from orc_repro.tracking.runlog import RunLog
from orc_repro.training.checkpoints import Checkpoints, read_state, saved
from orc_repro.training.meter import Meter
from orc_repro.training.state import Best, Progressed, State, own_of


def main(rounds: int) -> None:
    """Print milliseconds of a step, of writing and of reading; and the share at the default."""
    steps = Steps()
    method = steps.method
    best = {
        name: Best(epoch=0, top1=1.0, weights=dict(network.state_dict()))
        for name, network in method.networks.items()
    }
    done = Progressed(epoch=100, history=[{f"m{i}": 1.0 for i in range(25)}] * 100, best=best)
    steps(2)
    with tempfile.TemporaryDirectory() as name, closing(RunLog(Path(name))) as log:
        keeper = Checkpoints(Path(name), "f", {}, {}, 60, Progress("", 1, 1))

        def write() -> None:
            done.step += 1
            marks = log.flush()
            state = State(
                fingerprint="f", made_from={}, made_with={}, progressed=done,
                method=method.state_dict(), own=[own_of(method, Meter(64, DEVICE))], marks=marks,
            )  # fmt: skip
            keeper.save(state)
            log.checkpointed(marks)

        write()
        found = interleaved(
            {
                "an ORC step": lambda: steps(1),
                "writing a checkpoint": write,
                "reading one": lambda: read_state(saved(Path(name))[-1]),
            },
            rounds,
        )
        size = saved(Path(name))[-1].stat().st_size / 1e6
    every = load_params().checkpoints.every_seconds
    threads = torch.get_num_threads()
    show(f"ORC, r20-r8; {size:.1f} MB a checkpoint; {threads} threads", found, 1, "time")
    share = found["writing a checkpoint"][0] / every
    print(f"  one every {every:.0f} s: {100 * share:.3f} % of the time")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
