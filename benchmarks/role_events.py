"""What the record of a long run's role changes costs: logging, delivery, the table, the picture.

``python -m benchmarks.role_events [changes in 100 iterations]``, in the folder of the project. A
run of 100,000 iterations and three students; without an argument every iteration changes roles,
which no real run does. Nothing is trained: roles and scores are drawn, then go through the
project's own code, to a store of its own.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pandas as pd

from benchmarks.tracking import SETTINGS
from orc_repro.distill.roles import Roles, role_change
from orc_repro.files import write_json
from orc_repro.page.drawing import svg
from orc_repro.page.role_figures import role_figure
from orc_repro.page.role_frames import RoleLog, role_frames
from orc_repro.tracking.delivery import Delivery
from orc_repro.tracking.description import Description
from orc_repro.tracking.records import role_table
from orc_repro.tracking.runlog import RunLog, commit_all
from orc_repro.tracking.store import open_client

STUDENTS = ("resnet44", "resnet32", "resnet20")
ITERATIONS, EPOCHS = 100_000, 128
Decided = list[tuple[Roles, dict[str, float]]]


def decided(changes_in_100: int) -> Decided:
    """Roles and scores of each iteration; so many in a hundred differ from those before."""
    chance, found, teacher = random.Random(0), [], STUDENTS[0]
    for _ in range(ITERATIONS):
        if chance.randrange(100) < changes_in_100:
            teacher = chance.choice([name for name in STUDENTS if name != teacher])
        rest = tuple(name for name in STUDENTS if name != teacher)
        scores = {name: chance.random() for name in STUDENTS}
        found.append((Roles("resnet56", (teacher,), rest), scores))
    return found


def logged(log: RunLog, steps: Decided) -> int:
    """What the training loop does with roles, a checkpoint an epoch included."""
    before = Roles("resnet56", (), STUDENTS)  # as a run begins: nobody is promoted
    changes, every = 0, ITERATIONS // EPOCHS
    for step, (after, scores) in enumerate(steps):
        change = role_change(before, after, scores, step // every, step)
        if change is not None:
            log.role_change(change)
            before, changes = after, changes + 1
        if step % every == every - 1:
            log.checkpointed(log.flush())
    return changes


def delivery_of(folder: Path) -> Delivery:
    """To a store in the folder, with what a run is described by."""
    about = Description(
        study="bench", experiment="bench", fingerprint="f", attempt="1", cell="bench", row="r",
        row_name="bench", run_name="bench", epochs=EPOCHS, students=STUDENTS, params={}, tags={},
    )  # fmt: skip
    write_json(folder / "run.json", about.model_dump(mode="json"))
    found = Delivery(open_client(f"sqlite:///{folder / 'store.db'}"), folder, SETTINGS)
    _ = found.run_id
    return found


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of this process's own computing, which others do not disturb."""
    clock, own = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - own


def main(changes_in_100: int) -> None:
    """Print microseconds an iteration, and what the table and the picture take."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["ORC_SCRATCH"] = name
        steps = decided(changes_in_100)
        with closing(RunLog(folder)) as log:
            clock, own = timed(lambda: logged(log, steps))
        changes = len(role_table(folder, STUDENTS))
        print(f"{ITERATIONS:,} iterations, {changes:,} role changes, {len(STUDENTS)} students")
        _show("logging, in the training loop", clock, own)
        commit_all(folder)
        sent = delivery_of(folder)
        _show("delivery to SQLite, behind it", *timed(sent.drain))
        _show_table(folder)


def _show(what: str, clock: float, own: float) -> None:
    clock, own = (1e6 * seconds / ITERATIONS for seconds in (clock, own))
    print(f"  {what:32} {own:7.2f} us of computing an iteration, {clock:.2f} on the clock:"
          f" 1 % of a step of {own / 10:.2f} ms")  # fmt: skip


def _show_table(folder: Path) -> None:
    path = folder / "roles.parquet"
    clock, _ = timed(lambda: role_table(folder, STUDENTS).to_parquet(path, index=False))
    print(f"  {'table':32} {path.stat().st_size / 1e6:7.2f} MB as Parquet, in {clock:.1f} s")
    validation = [dict.fromkeys(STUDENTS, 50.0)] * EPOCHS
    parts: list[int] = []

    def draw() -> None:
        run = RoleLog(pd.read_parquet(path), STUDENTS, EPOCHS, ITERATIONS // EPOCHS, validation)
        parts.append(len(svg(role_figure(role_frames(run), "a long run"))))

    draw()  # fonts are looked for once
    clock, own = timed(draw)
    size = f"{parts[-1] / 1e3:7.0f} kB"
    print(f"  {'picture':32} {size}, drawn in {clock:.1f} s ({own:.1f} of computing)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
