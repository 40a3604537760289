"""From results to tables: who stands where, and what is said of what was not run."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from orc_repro.cells import Cell, Cells
from orc_repro.files import write_json
from orc_repro.report import figures, markdown
from orc_repro.report.results import (
    BestEpoch,
    History,
    NetworkResult,
    Result,
    Score,
    finite,
    read_result,
    read_results,
)
from orc_repro.report.tables import comparisons, network_rows
from orc_repro.validation import read_json


def score(top1: float, epoch: int = 9) -> Score:
    return Score(epoch=epoch, top1=top1, top5=None, loss=0.5, class_top1=(top1, top1))


def result(
    method: str, seed: int, top1: float, pivot: float | None = None, row: str = "r"
) -> Result:
    networks = {
        "resnet8": NetworkResult(
            role="target", parameters=78042, last=score(top1), best=score(top1 + 1, 4)
        )
    }
    if pivot is not None:
        networks["resnet26"] = NetworkResult(
            role="pivot", parameters=369402, last=score(pivot), best=score(pivot)
        )
    return Result(
        cell=f"{method}-s{seed}", row=row, fingerprint="f", weights_digest="w", dataset="digits",
        group="g", method=method, recipe="short", seed=seed, epochs=10, training_images=9,
        target_name="resnet8",
        networks=networks, pivot_before=None if pivot is None else 98.0,
        elected={} if pivot is None else {"resnet8": 7}, role_changes=3, not_finite=(),
    )  # fmt: skip


def cells_of(*methods: str, seeds: int = 2) -> Cells:
    return Cells(
        title="A study",
        experiment="e",
        datasets={},
        pivots={},
        assistants={},
        cells={
            f"{method}-s{seed}": Cell(
                study="s", dataset="digits", group="g", method=method, recipe="short", seed=seed,
                teachers={}, starts_from="x",
            )
            for method in methods
            for seed in range(seeds)
        },
    )  # fmt: skip


def table_of(*results: Result, methods: tuple[str, ...] = ("ce", "orc")) -> str:
    found = comparisons(cells_of(*methods), {r.cell: r for r in results})
    return markdown.report([("A study", found)])


def test_mean_deviation_interval_and_difference() -> None:
    text = table_of(
        result("ce", 0, 90.0), result("ce", 1, 92.0),
        result("orc", 0, 93.0, 97.0), result("orc", 1, 95.0, 99.0),
    )  # fmt: skip
    # n = 2: sd = sqrt(2), t = 12.706, half width = 12.706.
    assert "| ce | resnet8 | 91.00 ± 1.41 | 78.29 to 103.71 | 2 |  | 92.00 ± 1.41 |" in text
    assert "| orc | resnet8 | 94.00 ± 1.41 | 81.29 to 106.71 | 2 | +3.00 |" in text
    assert "| orc | resnet26 | pivot | 369,402 | 98.00 | 98.00 ± 1.41 |" in text
    assert "| orc | 1 | resnet8 7 | 3 |" in text


def test_what_was_not_run_says_so_and_what_is_incomplete_too() -> None:
    text = table_of(result("orc", 0, 93.0, 97.0))
    assert "| ce |  | not run |  | 0 of 2 |  |  |" in text
    assert "| orc | resnet8 | 93.00 |  | 1 of 2 |  | 94.00 |" in text


def test_seeds_of_different_configurations_are_not_passed_over() -> None:
    text = table_of(result("ce", 0, 90.0), result("ce", 1, 92.0, row="other"))
    assert "| ce (mixed configurations, run again) |" in text


def test_a_run_whose_student_diverged_is_counted_and_named() -> None:
    odd = result("orc", 1, 92.0, 97.0).model_copy(update={"not_finite": ("resnet26: loss",)})
    text = table_of(result("orc", 0, 90.0, 97.0), odd)
    assert (
        "| orc (a student's loss was not finite in 1 of the runs) | resnet8 | 91.00 ± 1.41" in text
    )


def test_one_row_for_each_network_of_each_run() -> None:
    table = network_rows([result("ce", 0, 90.0), result("orc", 1, 93.0, 97.0)])
    assert table[["method", "network", "role", "seed", "top1_last"]].to_numpy().tolist() == [
        ["ce", "resnet8", "target", 0, 90.0],
        ["orc", "resnet8", "target", 1, 93.0],
        ["orc", "resnet26", "pivot", 1, 97.0],
    ]
    assert table["best_validation_epoch"].tolist() == [4, 4, 9]
    assert table["top1_best_validation"].tolist() == [91.0, 94.0, 97.0]


def test_a_result_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    written = result("orc", 0, 93.125, 97.0)
    write_json(tmp_path / "orc-s0.json", written.model_dump(mode="json"))
    assert read_result("orc-s0", tmp_path) == written
    assert read_results(tmp_path) == [written]
    assert read_result("ce-s0", tmp_path) is None


def test_a_value_that_is_not_finite_is_none_in_the_file(tmp_path: Path) -> None:
    assert (finite(1.5), finite(math.nan), finite(-math.inf)) == (1.5, None, None)
    history = History(
        cell="c", row="r", fingerprint="f", training_images=9,
        epochs=({"a/loss": finite(math.nan), "val/top1": 10.0},),
        best={"a": BestEpoch(epoch=0, validation_top1=10.0)}, elected={}, role_changes=0,
        not_finite=("the loss of a is not finite since epoch 0, step 0",),
    )  # fmt: skip
    write_json(tmp_path / "c.json", history.model_dump(mode="json"))
    assert read_json(History, tmp_path / "c.json") == history


def test_a_figure_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    seeds = [[{"val/top1": 10.0, "role/share_a": 1.0}, {"val/top1": 20.0, "role/share_a": 0.5}]]
    for name in ("1", "2"):
        figures.save(figures.validation_curves({"orc": seeds}, "t"), tmp_path / f"v{name}.svg")
        figures.save(figures.role_shares(seeds, "t"), tmp_path / f"r{name}.svg")
    assert (tmp_path / "v1.svg").read_bytes() == (tmp_path / "v2.svg").read_bytes()
    assert (tmp_path / "r1.svg").read_bytes() == (tmp_path / "r2.svg").read_bytes()
    assert (tmp_path / "v1.svg").read_bytes() != (tmp_path / "r1.svg").read_bytes()


def test_a_curve_runs_through_the_mean_of_the_seeds() -> None:
    seeds = [[{"val/top1": 10.0}, {"val/top1": 20.0}], [{"val/top1": 30.0}, {"val/top1": 20.0}]]
    figure = figures.validation_curves({"orc": seeds}, "t")
    (line,) = figure.axes[0].lines
    assert line.get_xdata().tolist() == [1, 2]  # type: ignore[union-attr]
    assert line.get_ydata().tolist() == pytest.approx([20.0, 20.0])  # type: ignore[union-attr]


def test_runs_of_different_length_are_drawn_as_far_as_all_go(tmp_path: Path) -> None:
    long = [{"val/top1": 50.0 + e, "role/share_a": 1.0} for e in range(14)]
    short = [{"val/top1": 60.0, "role/share_b": 1.0}, {"val/top1": 61.0, "role/share_b": 1.0}]
    for drawn in (
        figures.validation_curves({"kd": [long, short]}, "t"),
        figures.role_shares([long, short], "t"),
    ):
        for line in drawn.axes[0].get_lines():
            assert len(np.asarray(line.get_xdata())) == 2
        figures.save(drawn, tmp_path / "a.svg")


def test_seeds_of_several_groups_show_every_network() -> None:
    cells = cells_of("orc")
    other = result("orc", 1, 80.0, 97.0, row="other")
    renamed = {"resnet14": other.networks["resnet26"], "resnet8": other.networks["resnet8"]}
    ran = {
        "orc-s0": result("orc", 0, 81.0, 96.0),
        "orc-s1": other.model_copy(update={"networks": renamed}),
    }
    text = markdown.report([("A study", comparisons(cells, ran))])
    assert "mixed configurations" in text
    assert "| orc | resnet26 | pivot |" in text and "| orc | resnet14 | pivot |" in text


def test_a_result_has_its_target_and_one_number_of_classes() -> None:
    whole = result("orc", 0, 81.0, 96.0).model_dump()
    assert Result(**whole).classes == 2
    for changes, said in (
        ({"target_name": "resnet20"}, "no target 'resnet20'"),
        ({"pivot_before_class_top1": (1.0, 2.0, 3.0)}, "several numbers of classes"),
    ):
        with pytest.raises(ValueError, match=said):
            Result(**(whole | changes))
