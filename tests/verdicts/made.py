"""Made results."""

from __future__ import annotations

from typing import Any

from orc_repro.report.results import NetworkResult, Result, Score


def result(method: str, seed: int, top1: float, **changes: Any) -> Result:
    """A run of one network that reached an accuracy."""
    score = Score(epoch=7, top1=top1, top5=None, loss=1.0, class_top1=(top1,))
    student = NetworkResult(role="target", parameters=1, last=score, best=score)
    fields: dict[str, Any] = {
        "cell": f"{method}-s{seed}", "row": method, "fingerprint": f"{method}{seed}",
        "weights_digest": "", "dataset": "d", "group": "g", "method": method, "recipe": "scaled",
        "seed": seed, "epochs": 8, "training_images": 10, "target_name": "resnet8",
        "networks": {"resnet8": student}, "pivot_before": None, "elected": {},
        "role_changes": 0, "not_finite": (),
    }  # fmt: skip
    return Result(**fields | changes)
