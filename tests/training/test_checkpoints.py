"""Checkpoints: read back whole, kept by two, and never a wrong one continued."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from orc_repro.distill.roles import RoleChange
from orc_repro.errors import UserError
from orc_repro.progress import Progress
from orc_repro.tracking.runlog import RunLog
from orc_repro.training.checkpoints import (
    MAGIC,
    Checkpoints,
    Damaged,
    clear,
    differences,
    read_state,
    saved,
)
from orc_repro.training.state import Best, Own, Progressed, State


class Warnings(Progress):
    """A progress display that only keeps its warnings."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def warn(self, sentence: str) -> None:
        self.said.append(sentence)


def checkpoints(folder: Path, **changes: Any) -> tuple[Checkpoints, Warnings]:
    said = Warnings()
    given: dict[str, Any] = {
        "fingerprint": "f",
        "made_from": {"recipe.epochs": "4", "code of training/loop.py": "a" * 64},
        "made_with": {"torch": "2.13", "commit": "c"},
    }
    return Checkpoints(folder, **given | changes, every_seconds=60, progress=said), said


def state(epoch: int, log: RunLog, keeper: Checkpoints) -> State:
    weights = torch.full((3, 4), float(epoch)).to(torch.float32)
    return State(
        fingerprint=keeper.fingerprint,
        made_from=keeper.made_from,
        made_with=keeper.made_with,
        progressed=Progressed(
            epoch=epoch,
            step=2,
            history=[{"val/top1": float("nan")}],
            best={"a": Best(epoch=0, top1=1.5, weights={"w": weights})},
        ),
        method={"optimizers": {"a": {"state": {0: {"momentum_buffer": weights}}}}},
        own=[
            Own(
                meter={"sums": {"a/loss": torch.tensor(0.5)}},
                statistics={"a": {"bn.running_mean": torch.zeros(2)}},
                generators={"cpu": torch.get_rng_state()},
            )
        ],
        marks=log.flush(),
    )


def three(folder: Path) -> Path:
    """Three checkpoints, of which two are kept, and a role change before each."""
    keeper, _ = checkpoints(folder)
    with closing(RunLog(folder)) as log:
        for epoch in (1, 2, 3):
            log.role_change(RoleChange(epoch, epoch, (), ("a",), ("a",), {"a": 0.5}))
            at = state(epoch, log, keeper)
            assert keeper.save(at)
            log.checkpointed(at.marks)
    return folder


def load(folder: Path, **changes: Any) -> tuple[State | None, list[str]]:
    keeper, said = checkpoints(folder, **changes)
    with closing(RunLog(folder)) as log:
        return keeper.load(log), said.said


def test_a_state_is_read_back_and_two_are_kept(tmp_path: Path) -> None:
    three(tmp_path)
    assert [path.name for path in saved(tmp_path)] == [
        "checkpoint-000002-000000002.pt",
        "checkpoint-000003-000000002.pt",
    ]
    assert not list(tmp_path.glob(".*"))  # no partial file
    found, said = load(tmp_path)
    assert found is not None and said == []
    assert found.progressed.epoch == 3
    assert found.progressed.history[0]["val/top1"] != found.progressed.history[0]["val/top1"]
    momentum = found.method["optimizers"]["a"]["state"][0]["momentum_buffer"]
    assert torch.equal(momentum, torch.full((3, 4), 3.0))
    assert found.progressed.best["a"].top1 == 1.5


def test_the_same_instant_is_not_written_twice(tmp_path: Path) -> None:
    keeper, _ = checkpoints(tmp_path)
    with closing(RunLog(tmp_path)) as log:
        assert keeper.save(state(1, log, keeper))
        assert not keeper.save(state(1, log, keeper))
    clear(tmp_path)
    assert saved(tmp_path) == []
    assert load(tmp_path) == (None, [])


def test_a_byte_that_flipped_anywhere_never_resumes_wrongly(tmp_path: Path) -> None:
    three(tmp_path)
    newest = saved(tmp_path)[-1]
    whole = newest.read_bytes()
    draw = random.Random(0)
    for _ in range(100):
        spoilt = bytearray(whole)
        for _ in range(draw.choice((1, 1, 2, 8))):
            spoilt[draw.randrange(len(spoilt))] ^= 1 << draw.randrange(8)
        if spoilt == whole:
            continue
        newest.write_bytes(spoilt)
        found, said = load(tmp_path)
        assert found is not None and found.progressed.epoch == 2
        assert len(said) == 1 and f"{newest} is damaged" in said[0] and "epoch 3, step 2" in said[0]
        assert not newest.exists()


def test_cut_short_it_falls_back_and_without_another_it_stops(tmp_path: Path) -> None:
    three(tmp_path)
    older, newest = saved(tmp_path)
    newest.write_bytes(newest.read_bytes()[:-1])
    found, _ = load(tmp_path)
    assert found is not None and found.progressed.epoch == 2
    older.write_bytes(b"")
    with pytest.raises(UserError, match=r"is damaged .* no whole one before it; `--restart`"):
        load(tmp_path)
    assert older.exists()  # nothing is thrown away where nothing can be continued


def test_a_log_that_is_not_the_checkpoints_is_found(tmp_path: Path) -> None:
    three(tmp_path)
    log = tmp_path / "roles.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:2]) + lines[2].replace(b"0.5", b"0.6"))
    found, said = load(tmp_path)
    assert found is not None and found.progressed.epoch == 2
    assert "the run's log beside it is not the one it was written with" in said[0]
    log.write_bytes(b"")
    with pytest.raises(UserError, match="the run's log beside it"):
        load(tmp_path)


def test_a_checkpoint_of_another_run_is_refused_by_the_difference(tmp_path: Path) -> None:
    three(tmp_path)
    made_from = {"recipe.epochs": "8", "code of training/loop.py": "b" * 64}
    with pytest.raises(UserError) as refused:
        load(tmp_path, fingerprint="g", made_from=made_from)
    assert "recipe.epochs was 4 and is 8" in str(refused.value)
    assert "code of training/loop.py was aaaaaaaaaaaa and is bbbbbbbbbbbb" in str(refused.value)
    assert "`--restart` starts over" in str(refused.value)
    assert len(saved(tmp_path)) == 2


def test_another_machine_goes_on_with_a_warning_another_commit_without(tmp_path: Path) -> None:
    three(tmp_path)
    _, said = load(tmp_path, made_with={"torch": "2.13", "commit": "d"})
    assert said == []
    _, said = load(tmp_path, made_with={"torch": "2.11", "commit": "c"})
    assert said == [
        "torch was 2.13 and is 2.11; from here on results may differ in their last bits"
    ]


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    import hashlib
    import io
    import os

    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "owned"),)

    body = io.BytesIO()
    torch.save({"fingerprint": Evil()}, body)
    digest = hashlib.sha256(body.getvalue()).hexdigest().encode()
    path = tmp_path / "checkpoint-000001-000000000.pt"
    path.write_bytes(MAGIC + digest + b"\n" + body.getvalue())
    with pytest.raises(Damaged, match="torch cannot read it: UnpicklingError"):
        read_state(path)
    assert not (tmp_path / "owned").exists()


def test_a_file_of_the_right_form_with_the_wrong_content_is_refused(tmp_path: Path) -> None:
    three(tmp_path)
    keeper, _ = checkpoints(tmp_path)
    with closing(RunLog(tmp_path)) as log:
        wrong = state(4, log, keeper)
    wrong.progressed.role_changes = -1  # not checked when it is assigned, but when it is read
    keeper.save(wrong)
    with pytest.raises(Damaged, match=r"progressed\.role_changes: .*greater than or equal to 0"):
        read_state(tmp_path / "checkpoint-000004-000000002.pt")


def test_differences_are_few_short_and_printable() -> None:
    assert differences({"a": "1"}, {"a": "1"}) == ""
    assert differences({"a": "1"}, {"b": "\x1b[2J"}) == (
        "b was not there and is ?[2J, a was 1 and is not there"
    )
    many = {str(i): "x" for i in range(9)}
    assert differences(many, {}).endswith("(and 6 more)")
