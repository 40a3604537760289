"""The loop that benchmarks measure ours against trains the same networks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.group import networks
from benchmarks.kd import measure
from benchmarks.peer_loop import Meters, PeerKd, PeerOrc, PilImages, endless
from benchmarks.rows import Row, table
from benchmarks.timing import fastest
from orc_repro.config import KdConfig, OrcConfig, load_params
from orc_repro.distill import Kd, Orc
from orc_repro.errors import UserError
from orc_repro.rehearsal import noise_images
from tests.project import ROOT

PARAMS = load_params(ROOT / "params.yaml")
GROUP, BATCH, ITERATIONS = PARAMS.groups["r20-r8"], 16, 6
NAMES = (GROUP.teacher, *GROUP.students)
SGD = PARAMS.recipes["cifar10-brief"].optimizer

PEERS_LOOP = """
from pathlib import Path

def train_distill(epoch, loader, modules, criteria, optimizer, opt):
    student, teacher = modules
    for images, labels, _ in loader:
        features, logits = student(images, is_feat=True, preact=False)
        _, said = teacher(images, is_feat=True, preact=False)
        loss = opt.gamma * criteria[0](logits, labels) + opt.alpha * criteria[1](logits, said)
        loss.backward()
        optimizer.step()
    with (Path(__file__).parents[1] / "asked").open("a") as file:
        print(opt.distill, round(opt.gamma, 6), opt.alpha, len(loader), file=file)
"""
PEERS_LOSS = "from torch import nn\nDistillKL = lambda temperature: nn.MSELoss()\n"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """How sums are split among threads changes their last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def batch(i: int) -> tuple[torch.Tensor, torch.Tensor]:
    images = noise_images(BATCH * ITERATIONS, (3, 32, 32), 10, torch.device("cpu"))
    return images.plain(i * BATCH, (i + 1) * BATCH)


def fuse(*optimizers: torch.optim.Optimizer) -> None:
    """As ours are: fused steps round a product and its sum once, now and then to another bit."""
    for optimizer in optimizers:
        optimizer.param_groups[0]["fused"] = True


@pytest.mark.parametrize("channels_last", [False, True])
def test_orc_with_shared_forwards_is_orc_phase_by_phase(channels_last: bool) -> None:
    """In one memory layout to the bit, in two to what another order of sums does."""
    config = PARAMS.methods["orc"]
    assert isinstance(config, OrcConfig)
    peer = PeerOrc(config, GROUP.teacher, networks(NAMES, fast=False), SGD.learning_rate)
    fuse(*peer.optimizers.values())
    ours = Orc(config, GROUP, networks(NAMES, fast=channels_last), SGD)
    ours.set_learning_rate(1.0)
    ours.train()
    draws = ours.draw_epoch(ITERATIONS, BATCH, torch.Generator().manual_seed(0))
    for i in range(ITERATIONS):
        ours.step(*batch(i), {name: drawn[i] for name, drawn in draws.items()})
        peer.step(*batch(i), draws["uniform"][i], draws["mix_weight"][i])
        assert ours.roles == peer.roles
    for name in NAMES:
        for mine, theirs in zip(
            ours.networks[name].state_dict().values(),
            peer.networks[name].state_dict().values(),
            strict=True,
        ):
            if not channels_last:
                assert torch.equal(mine, theirs)
            elif mine.is_floating_point():
                assert (mine - theirs).norm() <= 1e-2 * theirs.norm() + 1e-6


def test_kd_is_the_peers_kd() -> None:
    config = PARAMS.methods["kd"]
    assert isinstance(config, KdConfig)
    names = (GROUP.teacher, GROUP.target)
    teacher, student = networks(names, fast=False).values()
    peer = PeerKd(teacher, student, config.temperature, config.beta)
    fuse(peer.optimizer)
    ours = Kd(config, GROUP, networks(names, fast=False), SGD)
    ours.set_learning_rate(1.0)
    ours.train()
    for i in range(ITERATIONS):
        ours.step(*batch(i), {})
        peer.step(*batch(i))
    mine, theirs = ours.networks[GROUP.target].state_dict(), student.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_checkout_of_the_peer_is_run_beside_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="is not a checkout of RepDistiller"):
        measure(1, tmp_path)
    for package, module, text in (
        ("helper", "loops.py", PEERS_LOOP),
        (
            "distiller_zoo",
            "__init__.py",
            "from torch import nn\nDistillKL = lambda t: nn.MSELoss()\n",
        ),
    ):
        (tmp_path / package).mkdir()
        (tmp_path / package / module).write_text(text)
    monkeypatch.setattr("sys.path", list(sys.path))
    rows = {row.variant: row for row in measure(1, tmp_path)}
    assert list(rows) == ["peer's style", "RepDistiller's train_distill", "ours"]
    assert (tmp_path / "asked").read_text() == "kd 0.1 0.9 3\n" * 2
    for module in ("helper.loops", "helper", "distiller_zoo"):
        sys.modules.pop(module)


def test_meters_are_means_over_samples() -> None:
    meters = Meters()
    logits = torch.eye(10)[:4]  # right for labels 0, 1 and 2
    meters.update(torch.tensor(2.0), logits, torch.tensor([0, 1, 2, 9]))
    assert meters.count == 4 and meters.sums[0] == 8.0 and meters.sums[1] == 300.0


def test_pil_images_come_as_normalised_batches_without_end() -> None:
    images = PilImages(np.full((5, 3, 32, 32), 255, np.uint8), np.arange(5))
    batches = endless(images, 2, workers=0)
    for _ in range(4):
        found, labels = next(batches)
        assert found.shape == (2, 3, 32, 32) and len(labels) == 2
        assert found.max().item() == 2.0 and found.min().item() >= -2.0  # (1 or 0 - 0.5) / 0.25


def test_ratios_are_of_fastest_rounds_and_a_disturbed_machine_is_named() -> None:
    found = fastest({"peer": [4.0, 4.4, 4.2], "ours": [2.0, 3.9, 3.5]})
    assert found["peer"].times_faster == 1.0 and not found["peer"].noisy
    assert found["ours"].times_faster == 2.0 and found["ours"].noisy


def test_a_row_says_whether_its_bound_holds() -> None:
    rows = [
        Row("B1", "base", 1.0, "s"),
        Row("B1", "fast", 0.5, "s", 2.0, (">=", 1.5), (">=", 1.9)),
        Row("B1", "fair", 0.6, "s", 1.6, (">=", 1.5), (">=", 1.9)),
        Row("B1", "slow", 0.9, "s", 1.1, (">=", 1.5), noisy=True),
        Row("B7", "near", 1.0, "s", 1.005, ("<=", 1.01), ("<=", 1.003)),
    ]
    verdicts = [row.verdict for row in rows]
    assert verdicts == ["", "aim reached", "holds", "**does not hold**", "holds"]
    assert "| B1 | slow | 0.9 s | 1.100 | >= 1.5 |  | **does not hold** (noisy) |" in table(rows)
