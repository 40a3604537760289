"""What the picture of a run's roles shows, and that the longest run's is small, and its table too.

How long they take: ``benchmarks/role_events.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from orc_repro.distill.roles import RoleChange
from orc_repro.page.drawing import svg
from orc_repro.page.role_figures import role_figure
from orc_repro.page.role_frames import RoleLog, role_frames
from orc_repro.tracking.records import role_table
from orc_repro.tracking.runlog import RunLog
from tests.page.test_role_frames import LOG

STUDENTS = ("resnet44", "resnet32", "resnet20")
STEPS, EPOCHS = 100_000, 200


def test_the_panels_show_the_frames() -> None:
    frames = role_frames(LOG)
    panels = {str(axes.get_label()): axes for axes in role_figure(frames, "a run").axes}
    assert list(panels) == ["timeline", "share", "promotions", "margin", "length", "agreed"]
    shown = {str(line.get_label()): line.get_ydata() for line in panels["share"].lines}
    assert shown["a"] == pytest.approx([3 / 8, 6 / 8])
    assert shown["b"] == pytest.approx([5 / 8, 1])
    pixels = np.asarray(panels["timeline"].images[0].get_array())
    assert pixels[1, 0].tolist() == [1, 1, 1]  # b did not teach in the first iteration
    assert pixels[0, 0].tolist() != [1, 1, 1]
    assert panels["agreed"].lines[0].get_ydata() == pytest.approx([5 / 8, 6 / 8])


@pytest.mark.parametrize("changes", [20_000, STEPS])
def test_of_a_hundred_thousand_iterations_the_table_has_5_mb_and_the_picture_an_eighth_of_one(
    changes: int, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    log, before = RunLog(tmp_path), ""
    for step in [0, *np.sort(random.choice(STEPS - 1, changes - 1, replace=False) + 1)]:
        after = str(random.choice([name for name in STUDENTS if name != before]))
        scores = dict(zip(STUDENTS, random.random(3).tolist(), strict=True))
        left = (before,) if before else ()
        epoch = int(step) * EPOCHS // STEPS
        log.role_change(RoleChange(epoch, int(step), left, (after,), (after,), scores))
        before = after
    log.flush()
    log.close()
    path = tmp_path / "roles.parquet"
    role_table(tmp_path, STUDENTS).to_parquet(path, index=False)
    assert path.stat().st_size <= 5_000_000

    validation = [{name: 50.0 for name in STUDENTS}] * EPOCHS
    read = pd.read_parquet(path)
    frames = role_frames(RoleLog(read, STUDENTS, EPOCHS, STEPS // EPOCHS, validation))
    drawn = svg(role_figure(frames, "long"))
    assert len(drawn) < 120_000
    assert frames.by_epoch["changes"].sum() == changes
