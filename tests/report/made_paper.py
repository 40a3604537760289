"""A made paper, its published tables and a study's comparisons, for the tests of both reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orc_repro.config import Recipe
from orc_repro.published.tables import PaperTable
from orc_repro.report.paper import Block, Line, Paper, PaperColumns, paper_columns
from orc_repro.report.results import NetworkResult, Result, Score
from orc_repro.report.tables import Comparison, MethodRow
from orc_repro.validation import parse

PAIR = "resnet56 -> resnet20"
ACC1, ERR1 = "top1_accuracy_percent", "top1_error_percent"
RECIPE: dict[str, Any] = {
    "epochs": 240,
    "batch_size": 64,
    "optimizer": {
        "learning_rate": 0.05,
        "network_learning_rates": {},
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "nesterov": False,
    },
    "schedule": {"milestones_epochs": [150, 180, 210], "factor": 0.1},
    "augmentation": {"crop_padding": 4, "flip": True},
    "precision": "fp32",
    "network_precisions": {},
    "compile": "off",
    "batch_norm": "process",
    "pieces": 1,
    "deterministic": False,
    "cpu_threads": None,
}
IMAGES: dict[str, int | None] = {"cifar100": 50_000, "part": 45_000, "unread": None}


def recipe(**changes: Any) -> Recipe:
    """The paper's, with whole sections changed."""
    return parse(Recipe, RECIPE | changes, "test")


RECIPES = {
    "crd": recipe(),
    "computed-otherwise": recipe(deterministic=True, cpu_threads=2, compile="default"),
    "short": recipe(
        epochs=15,
        batch_size=128,
        optimizer=RECIPE["optimizer"] | {"network_learning_rates": {"mobilenetv2": 0.01}},
        schedule={"milestones_epochs": [9], "factor": 0.1},
    ),
}


def paper(**changes: Any) -> Paper:
    """Names for ce, kd and orc."""
    content = {
        "tables": ["own", "peers"],
        "recipe": "crd",
        "dataset": "cifar100",
        "training_images": 50_000,
        "metric": ACC1,
        "networks": {},
        "names": {"ce": ["student"], "kd": ["KD"], "orc": ["ORC"], "orc-mean": []},
    }
    return parse(Paper, content | changes, "test")


def published(
    table: str,
    *rows: dict[str, Any],
    columns: dict[str, dict[str, str | None]] | None = None,
    claims: Sequence[dict[str, Any]] = (),
    dataset: str | None = "cifar100",
) -> PaperTable:
    """A table whose column ``a`` is accuracy and ``e`` error on the pair, all by its protocol."""
    both = {"a": {"networks": PAIR, "metric": ACC1}, "e": {"networks": PAIR, "metric": ERR1}}
    said = {"sources": ["book"], "confidence": "quoted", "protocol": "table"}
    content = {
        "id": table,
        "number": None,
        "title": "Made",
        "dataset": dataset,
        "protocol": "As in recipe crd.",
        "columns": columns or both,
        "rows": [said | row for row in rows],
        "claims": [said | {"networks": None} | claim for claim in claims],
        "unknown": [],
    }
    return parse(PaperTable, content, table)


OWN = published("own", {"row": "ORC", "confidence": "unknown", "values": {"a": None}})
PEERS = published(
    "peers",
    {"row": "student", "values": {"a": 69.06}},
    {"row": "KD", "values": {"a": 70.66}, "deviations": {"a": 0.2}},
    {"row": "CRD", "values": {"a": 71.16}},
)


def result(
    method: str, seed: int, top1: float, top5: float | None = None, **changes: Any
) -> Result:
    """A run by the paper's protocol, unless changed."""
    score = Score(epoch=239, top1=top1, top5=top5, loss=1.0, class_top1=())
    best = score.model_copy(update={"top1": 1.0})  # what is not to be reported
    made: dict[str, Any] = {
        "cell": f"{method}-s{seed}",
        "row": "r",
        "fingerprint": f"print-{method}-{seed}",
        "weights_digest": "w",
        "dataset": "cifar100",
        "group": "g",
        "method": method,
        "recipe": "crd",
        "seed": seed,
        "epochs": 240,
        "training_images": 50_000,
        "target_name": "resnet20",
        "networks": {"resnet20": NetworkResult(role="target", parameters=1, last=score, best=best)},
        "pivot_before": None,
        "elected": {},
        "role_changes": 0,
        "not_finite": (),
    }
    return Result(**made | changes)


def row(method: str, *results: Result, declared: int = 3, mixed: bool = False) -> MethodRow:
    """The summaries are None: the paper's report makes its own, in the published metric."""
    by_seed = {r.seed: r for r in results}
    return MethodRow(method, declared, by_seed, None, None, None, mixed)


def runs_of(method: str, *top1: float, **changes: Any) -> MethodRow:
    """One run a seed, from seed 0."""
    found = [result(method, seed, value, **changes) for seed, value in enumerate(top1)]
    return row(method, *found)


def comparison(
    *rows: MethodRow, group: str = "g", dataset: str = "cifar100", by: str = "crd"
) -> Comparison:
    """Of the group that the pair stands for."""
    return Comparison(dataset, group, by, rows)


def columns_of(
    *comparisons: Comparison,
    tables: Sequence[PaperTable] = (OWN, PEERS),
    of: Paper | None = None,
    networks: dict[str, str | None] | None = None,
    runs: dict[str, str] | None = None,
) -> PaperColumns:
    """Group ``g`` is the pair, unless said otherwise."""
    return paper_columns(
        of or paper(), tables, comparisons, networks or {"g": PAIR}, RECIPES, IMAGES, runs or {}
    )


def line_of(block: Block, method: str) -> Line:
    """The one line of a method."""
    (found,) = [line for line in block.lines if line.method == method]
    return found
