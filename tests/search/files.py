"""A small search that tests share."""

from __future__ import annotations

from typing import Any


def content(**changes: Any) -> dict[str, Any]:
    """A search over a group of digits that trains in a second."""
    return {
        "title": "a small search",
        "version": 1,
        "base": {
            "dataset": "digits",
            "group": "small",
            "recipe": "digits",
            "method": "orc",
            "pivot": "digits-resnet14-digits-s0",
        },
        "space": {
            "group.students": {"choices": [["resnet8"], ["resnet8.a", "resnet8"]]},
            "method.temperature": {"low": 1.0, "high": 8.0, "log": True},
            "method.promotion.top_k": {"low": 0, "high": 1},
            "method.ranking.criterion": {"choices": ["loss", "improvement"]},
            "method.ranking.smoothing": {
                "low": 0.5,
                "high": 0.9,
                "when": {"method.ranking.criterion": ["improvement"]},
            },
        },
        "sampler": {"kind": "tpe", "seed": 0, "startup_trials": 2},
        "pruner": {"kind": "median", "startup_trials": 2, "after_epoch": 1},
        "cost": "none",
        "trials": 5,
        "seeds": [0],
        "confirmation_seeds": [100, 101, 102],
    } | changes


def shrink(params: dict[str, Any]) -> None:
    """params.yaml with the group and the recipe of :func:`content`."""
    params["groups"]["small"] = {
        "pivot": "resnet14",
        "students": ["resnet8.a", "resnet8"],
        "target": "resnet8",
    }
    params["recipes"]["digits"] |= {"epochs": 2, "cpu_threads": 1}
    params["recipes"]["digits"]["schedule"] = {"milestones_epochs": [1], "factor": 0.1}
