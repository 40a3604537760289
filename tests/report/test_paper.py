"""What is comparable with a published number, by how much, and what is said to differ."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from orc_repro.errors import UserError
from orc_repro.published.tables import find_table, load_tables
from orc_repro.report.paper import paper_columns
from orc_repro.report.statistics import Summary
from tests.report.made_paper import (
    ACC1,
    ERR1,
    IMAGES,
    OWN,
    PAIR,
    PEERS,
    RECIPES,
    columns_of,
    comparison,
    line_of,
    paper,
    published,
    result,
    row,
    runs_of,
)

# 70, 71, 75: mean 72, deviations -2, -1, 3, so variance 14 / 2; t for n = 3 is 4.303.
SEEDS = (70.0, 71.0, 75.0)
SD = 7**0.5
HALF = 4.302653 * SD / 3**0.5


def numbers(summary: Summary | None) -> tuple[float | None, ...]:
    assert summary is not None
    return summary.mean, summary.sd, summary.low, summary.high


def close(*expected: float) -> Any:
    return pytest.approx(expected, abs=1e-5)


def test_measured_minus_quoted_with_the_interval_of_the_measured_mean() -> None:
    (block,) = columns_of(comparison(runs_of("kd", *SEEDS))).blocks
    line = line_of(block, "kd")
    assert (block.networks, block.metric) == (PAIR, ACC1)
    assert numbers(line.measured) == close(72, SD, 72 - HALF, 72 + HALF)
    (quoted,) = line.quoted
    assert (quoted.cell.value, quoted.cell.sources, quoted.cell.table) == (
        70.66,
        ("book",),
        "peers",
    )
    assert numbers(quoted.difference) == close(1.34, SD, 1.34 - HALF, 1.34 + HALF)
    assert (line.state(quoted), line.flags) == ("both", ())


def test_an_error_is_compared_with_the_error() -> None:
    """The same runs are better than 70.66 % right and than 29.34 % wrong: the signs differ."""
    peers = published("peers", {"row": "KD", "values": {"a": 70.66, "e": 29.34}})
    of = paper(names={"kd": ["KD"]})
    right, wrong = columns_of(comparison(runs_of("kd", *SEEDS)), tables=(OWN, peers), of=of).blocks
    assert (right.metric, wrong.metric) == (ACC1, ERR1)
    assert numbers(line_of(wrong, "kd").measured) == close(28, SD, 28 - HALF, 28 + HALF)
    better, fewer = (line_of(block, "kd").quoted[0].difference for block in (right, wrong))
    assert numbers(better) == close(1.34, SD, 1.34 - HALF, 1.34 + HALF)
    assert numbers(fewer) == close(-1.34, SD, -1.34 - HALF, -1.34 + HALF)
    # The higher end of one is the lower end of the other.
    assert better and fewer and better.high and fewer.low
    assert better.high == pytest.approx(-fewer.low)


def test_top5_is_compared_with_top5_or_not_at_all() -> None:
    columns: Any = {"a": {"networks": PAIR, "metric": "top5_error_percent"}}
    peers = published("peers", {"row": "KD", "values": {"a": 10.0}}, columns=columns)
    kd = row("kd", result("kd", 0, 70.0, 92.0), result("kd", 1, 70.0, 91.0), result("kd", 2, 70.0))
    of = paper(names={"kd": ["KD"]})
    blocks = columns_of(comparison(kd, runs_of("ce", *SEEDS)), tables=(OWN, peers), of=of).blocks
    assert [block.metric for block in blocks] == [ACC1, "top5_error_percent"]
    line = line_of(blocks[1], "kd")
    assert line.measured is not None and line.measured.mean == 8.5
    assert line.quoted[0].difference is not None and line.quoted[0].difference.mean == -1.5
    assert line.flags == ("2 of 3 seeds",)  # the third has no top-5
    without = line_of(blocks[1], "ce")
    assert (without.measured, without.state(None)) == (None, "not recorded")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"values": {"a": 70.0}, "protocol": None}, "protocol unknown or different"),
        ({"ranges": {"a": [70.0, 71.0]}}, "a range"),
        ({"values": {"a": None}, "confidence": "unknown"}, "not seen"),
        ({"values": {"a": 70.0}, "confidence": "doubted"}, "doubted"),
        ({"ranges": {"a": [70.0, 71.0]}, "confidence": "doubted"}, "doubted"),
    ],
)
def test_what_is_no_number_to_compare_with(changes: dict[str, Any], why: str) -> None:
    peers = published("peers", {"row": "KD"} | changes)
    of = paper(tables=["peers"], names={"kd": ["KD"]})
    (block,) = columns_of(comparison(runs_of("kd", *SEEDS)), tables=(peers,), of=of).blocks
    (quoted,) = line_of(block, "kd").quoted
    assert (quoted.difference, quoted.cell.why_not_compared) == (None, why)


def test_a_number_of_another_protocol_is_flagged_where_something_was_run() -> None:
    peers = published("peers", {"row": "KD", "values": {"a": 70.0}, "protocol": None})
    of = paper(tables=["peers"], names={"kd": ["KD"]})
    (block,) = columns_of(comparison(runs_of("kd", *SEEDS)), tables=(peers,), of=of).blocks
    assert line_of(block, "kd").flags == ("KD in peers: protocol unknown or different",)
    (block,) = columns_of(comparison(row("kd")), tables=(peers,), of=of).blocks
    assert line_of(block, "kd").flags == ()


@pytest.mark.parametrize(
    ("table", "method", "networks", "compared"),
    [
        ("peers_crd_same_style", "KD", "vgg13 -> vgg8", True),
        ("peers_crd_same_style", "AT", "wrn_40_2 -> wrn_16_2", True),
        ("peers_crd_same_style", "AT", "vgg13 -> vgg8", False),
        ("peers_crd_same_style", "VID", "vgg13 -> vgg8", False),
        ("peers_crd_same_style", "DKD", "resnet56 -> resnet20", False),
        ("peers_crd_same_style", "KDCL, student", "resnet56 -> resnet20", False),
        ("peers_crd_same_style", "TAKD", "wrn_40_2 -> wrn_16_2", False),
        ("peers_crd_other_style", "KD", "vgg13 -> mobilenetv2", True),
        ("peers_crd_other_style", "FitNet", "vgg13 -> mobilenetv2", False),
        ("peers_online", "alone (MCL)", "resnet32", False),
        ("peers_online_pcl", "ONE", "resnet110", False),
        ("peers_small", "DGKD", "resnet26 -> resnet20 -> resnet14 -> resnet8", False),
        ("table01", "TAKD", "resnet26 -> resnet8", False),
        ("table03", "ORC", "resnet34 -> resnet18", False),
    ],
)
def test_only_rows_of_a_known_protocol_are_compared(
    table: str, method: str, networks: str, compared: bool
) -> None:
    cells = find_table(load_tables(), table).cells
    of_both = [c for c in cells if (c.row, c.networks) == (method, networks)]
    assert of_both and all((not c.why_not_compared) is compared for c in of_both)


def test_one_seed_has_a_difference_and_no_interval() -> None:
    (block,) = columns_of(comparison(runs_of("kd", 70.0))).blocks
    line = line_of(block, "kd")
    found = line.quoted[0].difference
    assert found is not None and found.mean == pytest.approx(-0.66)
    assert (found.n, found.sd, found.low, found.high) == (1, None, None, None)
    assert line.flags == ("1 of 3 seeds",)


def test_nothing_is_said_to_be_measured_that_was_not_run() -> None:
    (block,) = columns_of(comparison(row("kd"), row("orc"), row("orc-mean"))).blocks
    assert all(
        line.measured is None and line.flags == () and line.runs == {} for line in block.lines
    )
    assert all(q.difference is None for line in block.lines for q in line.quoted)
    kd, orc, mean = (line_of(block, method) for method in ("kd", "orc", "orc-mean"))
    assert kd.state(kd.quoted[0]) == "quoted"
    assert orc.state(orc.quoted[0]) == "not run"  # its published cell has no number either
    assert (mean.quoted, mean.state(None)) == ((), "not run")


def test_our_methods_as_declared_then_the_published_ones_that_we_lack() -> None:
    own = published(
        "own", {"row": "KD", "values": {"a": 70.0}}, {"row": "CRD", "values": {"a": 71}}
    )
    of = paper(names={"kd": ["KD"], "ce": ["student"]})
    rows = (runs_of("orc-mean", *SEEDS), runs_of("kd", *SEEDS), row("ce"))
    (block,) = columns_of(comparison(*rows), tables=(own, PEERS), of=of).blocks
    assert [line.method for line in block.lines] == ["orc-mean", "kd", "ce", "CRD"]
    quoted = [[(q.cell.table, q.cell.value) for q in line.quoted] for line in block.lines]
    assert quoted[1] == [("own", 70.0), ("peers", 70.66)]
    assert quoted[3] == [("own", 71.0), ("peers", 71.16)]
    only = block.lines[3]
    assert (only.comparison, only.measured, only.state(only.quoted[0])) == (None, None, "quoted")
    assert block.lines[0].state(None) == "measured"


def test_a_block_for_each_pair_of_networks_that_was_declared() -> None:
    columns: Any = {
        "known": {"networks": "resnet20 + resnet20", "metric": ERR1},
        "open": {"networks": None, "metric": None},
        "other": {"networks": "a -> b", "metric": ACC1},
    }
    peers = published(
        "peers",
        {"row": "KD", "values": {"known": 30.0, "other": 60.0}},
        {"row": "KD", "confidence": "unknown", "values": {"open": None}},
        columns=columns,
    )
    networks = {"g": PAIR, "h": PAIR, "both": "resnet20 + resnet20", "ablation": None}
    comparisons = [comparison(row("kd"), group=group) for group in networks]
    of = paper(tables=["peers"], names={"kd": ["KD"]})
    blocks = columns_of(*comparisons, tables=(peers,), of=of, networks=networks).blocks
    assert [(b.networks, b.metric) for b in blocks] == [
        (PAIR, ACC1),  # nothing is quoted of it, so the study's own metric
        ("resnet20 + resnet20", ERR1),
        (None, ACC1),
    ]
    assert [line.comparison.group for line in blocks[0].lines if line.comparison] == ["g", "h"]
    assert [len(line.quoted) for block in blocks for line in block.lines] == [0, 0, 1, 1]


def test_what_differs_from_the_papers_protocol() -> None:
    kd = runs_of("kd", *SEEDS, dataset="part", recipe="short", epochs=15)
    (block,) = columns_of(comparison(kd, dataset="part", by="short")).blocks
    assert line_of(block, "kd").flags == (
        "dataset part, not cifar100",
        "45,000 training images, not 50,000",
        "epochs 15, not 240",
        "batch_size 128, not 64",
        "optimizer.network_learning_rates.mobilenetv2 0.01, not unset",
        "schedule.milestones_epochs [9], not [150, 180, 210]",
    )


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({"recipe": "computed-otherwise"}, ()),
        ({"epochs": 30}, ("epochs 30, not 240",)),  # the recipe was lengthened after the run
        ({"recipe": "removed"}, ("recipe removed not known",)),
        (
            {"dataset": "unread"},
            ("dataset unread, not cifar100", "number of training images not known"),
        ),
    ],
)
def test_a_result_says_itself_how_it_was_made(changes: Any, flags: tuple[str, ...]) -> None:
    (block,) = columns_of(comparison(runs_of("kd", *SEEDS, **changes))).blocks
    assert line_of(block, "kd").flags == flags


def test_mixed_and_missing_seeds_are_flagged() -> None:
    kd = row("kd", result("kd", 0, 70.0), result("kd", 2, 71.0, epochs=15), mixed=True)
    (block,) = columns_of(comparison(kd)).blocks
    assert line_of(block, "kd").flags == (
        "epochs 15, not 240",
        "the seeds are of mixed configurations",
        "2 of 3 seeds",
    )


def test_a_run_whose_student_diverged_is_flagged() -> None:
    odd = result("kd", 0, 70.0, not_finite=("a: loss",))
    kd = row("kd", odd, result("kd", 1, 71.0), result("kd", 2, 72.0))
    (block,) = columns_of(comparison(kd)).blocks
    assert line_of(block, "kd").flags == ("a student's loss was not finite in 1 of the runs",)


def test_run_ids_by_seed() -> None:
    kd = row("kd", result("kd", 2, 70.0), result("kd", 0, 71.0))
    (block,) = columns_of(comparison(kd), runs={"print-kd-2": "abc"}).blocks
    assert list(line_of(block, "kd").runs.items()) == [(0, None), (2, "abc")]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tables": ["own", "nowhere"]}, "no table 'nowhere'"),
        ({"tables": ["own", "own"]}, "named twice"),
        ({"tables": []}, "tables"),
        ({"recipe": "crdd"}, "paper.recipe 'crdd'"),
        ({"names": {"kd": ["KDD"]}}, "paper.names.kd: no table has 'KDD'"),
        ({"training_images": 0}, "training_images"),
        ({"metric": "accuracy"}, "metric"),
        ({"dataset": "cifar10"}, "mixes datasets: cifar10, cifar100"),
        ({"tables": ["own", "peers", "small"]}, "mixes datasets: cifar10, cifar100"),
        ({"epochs": 240}, "unknown key epochs"),
    ],
)
def test_a_paper_that_is_refused(changes: dict[str, Any], said: str) -> None:
    small = published("small", {"row": "KD", "values": {"a": 90.0}}, dataset="cifar10")
    with pytest.raises(UserError) as refused:
        columns_of(comparison(row("kd")), tables=(OWN, PEERS, small), of=paper(**changes))
    assert said in str(refused.value)


def test_the_published_tables_themselves() -> None:
    """A study of ResNet56 to ResNet20 that nobody has run."""
    of = paper(tables=["table02", "peers_crd_same_style"], names={"kd": ["KD"], "orc": ["ORC"]})
    rows = comparison(row("kd"), row("orc"))
    networks = {"g": PAIR}
    columns = paper_columns(of, load_tables(), [rows], networks, RECIPES, IMAGES, {})
    (block,) = columns.blocks
    assert [q.cell.value for q in line_of(block, "kd").quoted] == [70.66]
    assert line_of(block, "DKD").quoted[0].cell.value == 71.97
    assert line_of(block, "orc").quoted == ()  # table 2 is known to have another pair only
    assert [line.verdict for line in columns.claims] == ["no method of ours"]


def test_a_declaration_can_embed_a_paper() -> None:
    """What reads declarations is loaded by each stage, and must not be loaded in a circle."""
    said = (
        "import sys, orc_repro.report.paper; print({'orc_repro.cells', 'torch'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
