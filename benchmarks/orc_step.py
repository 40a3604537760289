"""B2, B3, B5 to B8: ORC's iteration beside a peer's, and beside what the machine could do."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.group import BATCHES, DEVICE, Steps, networks
from benchmarks.machine import Machine, has_fast_bf16
from benchmarks.peer_loop import PeerOrc, PilImages, endless
from benchmarks.rows import Row
from benchmarks.timing import Fastest, fastest, rounds_of
from orc_repro.config import Group, OrcConfig
from orc_repro.cost import count
from orc_repro.distill.roles import role_change
from orc_repro.rehearsal import noise_images
from orc_repro.tracking.runlog import RunLog
from orc_repro.training.meter import Meter

GROUP, BATCH, RATE = "r26-r8", 128, 0.05
PEER, PHASES, OURS, BF16 = (
    "peer's loop",
    "phase by phase, ours otherwise",
    "ours, fp32",
    "ours, bf16",
)


def measure(rounds: int, machine: Machine) -> list[Row]:
    """Every comparison of whole iterations of the group ResNet26 -> 20, 14, 8."""
    rows = _against_the_peer(rounds, machine)
    return rows + _tracking(rounds) + _against_single_networks(rounds)


def _against_the_peer(rounds: int, machine: Machine) -> list[Row]:
    ours = Steps(GROUP, "orc", batch_size=BATCH)
    variants: dict[str, Callable[[], object]] = {
        PEER: peer_step(ours.config, ours.group),
        PHASES: phases_step(ours.config, ours.group),
        OURS: ours,
    }
    if has_fast_bf16(DEVICE):
        variants[BF16] = Steps(GROUP, "orc", batch_size=BATCH, computed={"precision": "bf16"})
    found = fastest(rounds_of(variants, rounds))
    rows = [
        _step_row("B2 ORC step", PEER, found[PEER], None),
        _step_row("B2 ORC step", OURS, found[OURS], found[OURS].times_faster, 1.5, 1.75),
    ]
    if BF16 in found:
        rows.append(_step_row("B3 ORC step", BF16, found[BF16], found[BF16].times_faster, 2.2, 3))
    shared = found[PHASES].seconds / found[OURS].seconds
    rows.append(_step_row("B5 sharing forwards", PHASES, found[PHASES], None))
    rows.append(_step_row("B5 sharing forwards", OURS, found[OURS], shared, 1.08, 1.15))
    flop = count(ours).flop
    for name, kind, must, aim in ((OURS, "float32", 0.5, 0.72), (BF16, "bfloat16", None, None)):
        if name in found:
            reached = flop / found[name].seconds
            rows.append(
                Row(
                    "B6 fraction of the matrix product's peak", name, reached / 1e9, "GFLOP/s",
                    ratio=reached / machine.gemm_flops[kind],
                    must=None if must is None else (">=", must),
                    aim=None if aim is None else (">=", aim),
                    noisy=found[name].noisy,
                )
            )  # fmt: skip
    return rows


def _step_row(
    bench: str, name: str, found: Fastest, ratio: float | None,
    must: float | None = None, aim: float | None = None,
) -> Row:  # fmt: skip
    return Row(
        bench, name, 1000 * found.seconds, "ms/iteration", ratio,
        None if must is None else (">=", must), None if aim is None else (">=", aim), found.noisy,
    )  # fmt: skip


def peer_step(config: object, group: Group) -> Callable[[], object]:
    """PIL images, torch's default layout, every phase anew, figures read back."""
    assert isinstance(config, OrcConfig)
    names = (group.teacher, *group.students)
    peer = PeerOrc(config, group.teacher, networks(names, fast=False), RATE)
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (BATCHES * BATCH, 3, 32, 32), dtype=np.uint8)
    batches = endless(PilImages(images, draw.integers(0, 10, len(images))), BATCH, workers=0)

    def step() -> None:
        own, labels = next(batches)
        uniform, weight = torch.rand(BATCH), torch.rand(())
        peer.step(*(tensor.to(DEVICE) for tensor in (own, labels, uniform, weight)))

    return step


def phases_step(config: object, group: Group) -> Callable[[], object]:
    """Our images and layout, but every phase asks its networks anew."""
    assert isinstance(config, OrcConfig)
    peer = PeerOrc(config, group.teacher, networks((group.teacher, *group.students)), RATE)
    images = noise_images(BATCH, (3, 32, 32), 10, DEVICE)
    batch = images.plain(0, BATCH)
    uniform, weight = torch.rand(BATCH, device=DEVICE), torch.rand((), device=DEVICE)
    return lambda: peer.step(*batch, uniform, weight)


def _tracking(rounds: int) -> list[Row]:
    """Metrics and role changes kept, flushed as often as a checkpoint asks, against nothing."""
    bare, kept = (Steps(GROUP, "orc", batch_size=BATCH) for _ in range(2))
    with tempfile.TemporaryDirectory() as folder, closing(RunLog(Path(folder))) as log:
        log.resume({})
        meter, steps = Meter(BATCH, DEVICE), iter(range(10**9))

        def tracked() -> None:
            step, before = next(steps), kept.method.roles
            result = kept()
            change = role_change(before, result.roles, result.scores, 0, step)
            if change is not None:
                log.role_change(change)
            meter.add(step, result, role_changed=change is not None)
            log.flush()

        found = fastest(rounds_of({"no tracking": bare, "everything kept": tracked}, rounds))
    rows = []
    for name, f in found.items():
        last = name == "everything kept"
        rows.append(
            Row(
                "B7 tracking", name, 1000 * f.seconds, "ms/iteration",
                ratio=1 / f.times_faster if last else None, must=("<=", 1.01) if last else None,
                aim=("<=", 1.003) if last else None, noisy=f.noisy,
            )
        )  # fmt: skip
    return rows


def _against_single_networks(rounds: int) -> list[Row]:
    """The group's iteration against its networks trained one by one: alone, and by KD."""
    group = Steps(GROUP, "orc", batch_size=BATCH)
    names = (group.group.teacher, *group.group.students)
    alone = {
        name: Steps(Group(pivot=None, students=(name,), target=name), "ce", batch_size=BATCH)
        for name in names
    }
    taught = {
        name: Steps(Group(pivot=names[0], students=(name,), target=name), "kd", batch_size=BATCH)
        for name in names[1:]
    }

    variants = {
        "networks alone, one by one": [*alone.values()],
        "pivot alone, students by KD, one by one": [alone[names[0]], *taught.values()],
        "group": [group],
    }
    found = fastest(rounds_of({n: partial(_each, v) for n, v in variants.items()}, rounds))
    flop = {name: sum(count(one).flop for one in steps) for name, steps in variants.items()}
    ours = found["group"].seconds
    rows = [
        Row(
            "B8 group", f"{name} ({flop[name] / 1e9:.0f} GFLOP)", 1000 * f.seconds, "ms/iteration",
            ratio=None if name == "group" else ours / f.seconds, noisy=f.noisy,
        )
        for name, f in found.items()
    ]  # fmt: skip
    # ORC has more arithmetic than its networks alone: the pivot answers too, and who is promoted.
    speed = ours / flop["group"]
    for name in list(variants)[:2]:
        rows.append(
            Row(
                "B8 group, an operation", f"group against: {name}", 1e12 * speed, "ms/GFLOP",
                speed / (found[name].seconds / flop[name]), ("<=", 1.10), ("<=", 1.0),
            )
        )  # fmt: skip
    return rows


def _each(steps: Sequence[Steps]) -> None:
    for one in steps:
        one()
