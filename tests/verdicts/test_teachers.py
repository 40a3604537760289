"""The networks that taught: what they were worth when the cells began, and who made them."""

from __future__ import annotations

from orc_repro.cells import Cell, Cells
from orc_repro.config import load_params
from orc_repro.report.results import BestEpoch, History, NetworkResult, Result, Score
from orc_repro.verdicts.teachers import table, teachers
from tests.project import ROOT
from tests.verdicts.made import result


def cell(method: str, **teachers: str) -> Cell:
    return Cell(
        study="p", dataset="d", group="r26-r8", method=method, recipe="scaled", seed=0,
        teachers={name: f"weights/{path}.safetensors" for name, path in teachers.items()},
        starts_from="",
    )  # fmt: skip


def run(method: str, pivot_before: float | None, **reached: float) -> Result:
    networks = {
        name: NetworkResult(
            role="target" if name == "resnet8" else "assistant",
            parameters=1,
            best=score,
            last=score,
        )
        for name, top1 in reached.items()
        if (score := Score(epoch=0, top1=top1, top5=None, loss=1.0, class_top1=(top1,)))
    }
    return result(
        method, 0, 1.0, group="r26-r8", cell=method, networks=networks, pivot_before=pivot_before
    )


def test_a_pivot_counts_as_it_was_before_and_an_assistant_as_it_is() -> None:
    params = load_params(ROOT / "params.yaml")
    pool = Cells(
        title="", experiment="", datasets={}, pivots={}, assistants={},
        cells={
            "ce": cell("ce"),
            "orc": cell("orc", resnet26="pivots/deep"),
            "takd": cell("takd", resnet14="assistants/between"),
            "kd": cell("kd", resnet26="pivots/other"),
        },
    )  # fmt: skip
    runs = [
        run("ce", None, resnet8=40.0),
        run("orc", 70.0, resnet8=50.0, resnet26=60.0),
        run("takd", None, resnet8=50.0, resnet14=65.0),
        run("elsewhere", 1.0, resnet8=50.0),
    ]
    found = teachers([pool], runs, params)
    assert [(one.name, one.role, one.top1) for one in found] == [
        ("deep", "pivot", 70.0),
        ("between", "assistant", 65.0),
    ]
    history = History(
        cell="deep", row="", fingerprint="f", training_images=1,
        epochs=({"val/top1": 1.0}, {"val/top1": 1.0}),
        best={"resnet26": BestEpoch(epoch=1, validation_top1=1.0)}, elected={}, role_changes=0,
        not_finite=(),
    )  # fmt: skip
    shown = table(found, {"deep": history}, {"f": {"run_id": "r", "commit": "c", "seconds": "9.0"}})
    assert "| d | resnet26 | pivot | `deep` | 2 | 70.00 | r | c | 9.0 |" in shown
    assert "| d | resnet14 | assistant | `between` |  | 65.00 |  |  |  |" in shown
    assert table([], {}, {}) == "None was needed so far."
