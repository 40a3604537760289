"""What comes first in the queue, what it costs, and who does it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from orc_repro.config import load_params
from orc_repro.errors import UserError
from orc_repro.queue.cost import flop_of_training, forward_flop, in_words, passes, share_out
from orc_repro.queue.order import TIERS, read_entries, shared, tier_of
from orc_repro.yaml_files import read_yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_a_networks_arithmetic_is_that_of_its_convolutions_and_its_classifier() -> None:
    # ResNet8: a stem, three blocks of two convolutions, two shortcuts of one pixel.
    stem = 3 * 16 * 9 * 32 * 32
    blocks = (
        2 * (16 * 16 * 9 * 32 * 32)
        + (16 * 32 * 9 + 32 * 32 * 9 + 16 * 32) * 16 * 16
        + (32 * 64 * 9 + 64 * 64 * 9 + 32 * 64) * 8 * 8
    )
    assert forward_flop("resnet8") == 2 * (stem + blocks + 64 * 10)


def test_how_often_each_network_works_in_an_iteration() -> None:
    params = load_params()
    group = params.groups["r20-r8"]  # ResNet20 -> ResNet14, ResNet8
    expected = {
        "ce": {"resnet8": 3},
        "kd": {"resnet20": 1, "resnet8": 3},
        "takd": {"resnet14": 1, "resnet8": 3},
        "dgkd": {"resnet20": 1, "resnet14": 1, "resnet8": 3},
        "dml": {"resnet20": 4, "resnet14": 4, "resnet8": 3},
        "kdcl-naive": {"resnet20": 3, "resnet14": 3, "resnet8": 3},
        "one": {"resnet8": 3, "resnet8.branch2": 1, "resnet8.branch3": 1},
        "orc": {"resnet20": 4, "resnet14": 3.5, "resnet8": 3.5},
        "orc-group-private": {"resnet20": 1, "resnet14": 3.5, "resnet8": 3.5},
        "orc-top-0": {"resnet20": 4, "resnet14": 3, "resnet8": 3},
    }
    for method, times in expected.items():
        assert passes(params.methods[method], group) == times, method


def test_a_training_is_iterations_times_images_and_shown_in_large_units() -> None:
    params = load_params()
    group, ce = params.groups["r20-r8"], params.methods["ce"]
    flop = flop_of_training(ce, group, 4, (3, 32, 32), 5000)
    assert flop == 3 * forward_flop("resnet8") * 4 * 5000
    assert in_words(flop) == "1.5 TFLOP"
    assert [in_words(n) for n in (0, 999, 1.23e15, 1e22)] == [
        "0 FLOP", "999 FLOP", "1.23 PFLOP", "1e+04 EFLOP",
    ]  # fmt: skip


def test_studies_stand_by_the_pattern_that_says_most() -> None:
    assert tier_of("scaled_tuning") < tier_of("scaled_ablations") < tier_of("table01_cifar10")
    assert tier_of("table01_cifar10") < tier_of("table02_cifar100") == tier_of("table04_cifar100")
    assert tier_of("table02_cifar100") < tier_of("table05_teachings") < tier_of("peers_cifar10")
    assert tier_of("a study of one's own") == tier_of("peers_cifar10") < tier_of("table03_imagenet")
    assert tier_of("table03_imagenet") == len(TIERS) - 1


def test_the_headline_comes_first_then_pairs_from_small_to_large_and_seed_by_seed() -> None:
    entries = read_entries(["table*"], load_params())
    cells = [(e.study, e.cell.group, e.cell.method, e.cell.seed) for e in entries]
    first = cells[: 8 * 3]
    assert {(study, group) for study, group, _, _ in first} == {("table01_cifar10", "r26-r8")}
    assert [seed for *_, seed in first] == [0] * 8 + [1] * 8 + [2] * 8
    assert [method for _, _, method, _ in first[:3]] == ["ce", "kd", "takd"]
    pairs = dict.fromkeys(
        group for study, group, _, _ in cells if study[:7] in ("table02", "table04")
    )
    assert next(iter(pairs)) == "r56-r20" and list(pairs)[-1] == "r32x4-r8x4"
    assert len({e.key for e in entries}) == len(entries)  # a cell of several tables is there once
    assert {study for study, *_ in cells[-9:]} == {"table03_imagenet"}


def test_only_studies_that_are_asked_for_and_there() -> None:
    entries = read_entries(["table01*", "default"], load_params())
    assert {e.study for e in entries} == {"table01_cifar10", "default"}
    assert {e.owner.as_posix() for e in entries} == {"studies/default", "studies/pools/cifar10"}
    with pytest.raises(UserError, match="'tabel01' is no study"):
        read_entries(["tabel01"], load_params())


def test_cells_of_a_pool_that_is_not_there_are_a_sentence(tmp_path: Path) -> None:
    params, root = load_params(), tmp_path / "studies"
    shutil.copytree(ROOT / "studies/table01_cifar10", root / "table01_cifar10")
    with pytest.raises(UserError, match=r"has cells of .*pools/cifar10, which is not there"):
        read_entries([], params, root)
    pool = root / "pools/cifar10/cells.yaml"
    pool.parent.mkdir(parents=True)
    cells = read_yaml(ROOT / "studies/pools/cifar10/cells.yaml")
    pool.write_text(yaml.safe_dump(cells | {"assistants": {}}))
    with pytest.raises(UserError, match=r"pools/cifar10/cells.yaml has no assistant 'cifar10-r26"):
        read_entries([], params, root)


def test_cells_of_a_study_that_was_declared_and_not_planned_are_a_sentence(tmp_path: Path) -> None:
    root = tmp_path / "studies"
    (root / "mine").mkdir(parents=True)
    shutil.copyfile(ROOT / "studies/default/study.yaml", root / "mine/study.yaml")
    with pytest.raises(UserError, match=r"mine/cells.yaml does not exist; `orc-repro plan` writes"):
        read_entries(["mine"], load_params(), root)


def test_dealing_gives_each_entry_to_the_share_with_the_least_so_far() -> None:
    weights = {"a": 5.0, "b": 3.0, "c": 1.0, "d": 4.0, "e": 2.0}
    # 5 | 3 -> 5 | 4 -> 5 | 8 -> 7 | 8
    assert share_out(weights, 2) == {"a": 0, "b": 1, "c": 1, "d": 1, "e": 0}
    assert share_out(weights, 1) == dict.fromkeys("abcde", 0)


def test_shares_hold_every_cell_once_and_tear_no_pivot_apart() -> None:
    entries = read_entries([], load_params())
    parts = [shared(entries, share, 3) for share in (1, 2, 3)]
    assert sorted(e.key for part in parts for e in part) == sorted(e.key for e in entries)
    assert parts[0] == shared(entries, 1, 3)
    homes: dict[tuple[str, str], set[int]] = {}
    for number, part in enumerate(parts):
        for entry in part:
            homes.setdefault((entry.cell.dataset, entry.family), set()).add(number)
    assert all(len(home) == 1 for home in homes.values())
    chain = next(e for e in entries if e.key == "cifar10-r26-r8-dgkd-s1")
    alone = next(e for e in entries if e.key == "cifar10-r26-r8-ce-s1")
    assert (chain.family, alone.family) == ("cifar10-resnet26-cifar10-dgkd-s0", alone.key)
