"""The one training loop. It does not know which method it runs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orc_repro.config import Recipe, Sgd
from orc_repro.data.batches import ResidentImages, draw_epoch
from orc_repro.distill import Method
from orc_repro.distill.roles import role_change
from orc_repro.errors import UserError
from orc_repro.progress import Progress
from orc_repro.tracking.runlog import RunLog
from orc_repro.training.evaluate import evaluate
from orc_repro.training.meter import Meter, NotFinite
from orc_repro.training.schedule import learning_rate_factor
from orc_repro.training.state import load_state, save_state
from orc_repro.training.streams import generator


@dataclass(frozen=True)
class TrainingData:
    """What training may see: the test split is not in it."""

    train: ResidentImages
    validation: ResidentImages
    num_classes: int


@dataclass
class Best:
    """The first epoch with a network's highest validation accuracy, and its weights then."""

    epoch: int
    top1: float
    weights: dict[str, Tensor]


@dataclass
class Progressed:
    """What the loop itself has to remember; with the method's state, all that a resume needs."""

    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Best] = field(default_factory=dict)
    elected: dict[str, int] = field(default_factory=dict)
    role_changes: int = 0
    not_finite: list[NotFinite] = field(default_factory=list)


def fit(
    method: Method,
    data: TrainingData,
    recipe: Recipe,
    *,
    target: str,
    seed: int,
    log: RunLog,
    checkpoint: Path,
    progress: Progress,
) -> Progressed:
    """Train a method for ``recipe.epochs``, continuing from ``checkpoint`` if there is one.

    The learning rate, the epoch's order and every draw are functions of (recipe, seed, epoch), so
    that a resumed run and an undisturbed one are the same run.

    Returns:
        History and best epochs; the method's networks hold the last epoch's weights.

    Raises:
        UserError: the loss of the target or of the pivot is no longer finite, the training split
            is smaller than a batch, or the checkpoint cannot be read or written.
    """
    device = data.train.labels.device
    done = _resume(method, log, checkpoint, device)
    progress.resume(done.epoch)
    steps = len(data.train) // recipe.batch_size
    roles = method.roles
    for epoch in range(done.epoch, recipe.epochs):
        started = time.monotonic()
        factor = learning_rate_factor(
            epoch, recipe.schedule.milestones_epochs, recipe.schedule.factor
        )
        method.set_learning_rate(factor)
        method.train()
        batches = draw_epoch(
            len(data.train),
            recipe.batch_size,
            data.train.augmentation,
            generator(seed, "batches", epoch),
        ).to(device)
        draws = method.draw_epoch(steps, recipe.batch_size, generator(seed, "method", epoch))
        draws = {name: tensor.to(device) for name, tensor in draws.items()}
        meter = Meter(recipe.batch_size)
        changes = 0
        for i in range(steps):
            step = epoch * steps + i
            images, labels = data.train.augmented(
                batches.order[i], batches.dy[i], batches.dx[i], batches.flip[i]
            )
            result = method.step(images, labels, {name: draw[i] for name, draw in draws.items()})
            meter.add(step, result)
            change = role_change(roles, result.roles, result.scores, epoch, step)
            if change is not None:
                log.role_change(change)
                roles = result.roles
                changes += 1
            progress.step()

        metrics, not_finite = meter.fetch(epoch)
        metrics |= _role_metrics(method, meter, changes)
        metrics |= _validate(method, data, target, epoch, done)
        metrics["learning_rate"] = factor * recipe.optimizer.learning_rate_of(target)
        _add_target_names(metrics, target)
        done.history.append(metrics)
        done.role_changes += changes
        for name, times in meter.elected.items():
            done.elected[name] = done.elected.get(name, 0) + times
        done.epoch = epoch + 1
        seconds = time.monotonic() - started
        log.metrics(epoch, metrics | {"cost/epoch_seconds": seconds})
        _stop_or_warn(not_finite, done, target, method, progress, recipe.optimizer)
        positions = log.flush()
        save_state(_as_state(method, done, positions), checkpoint)
        log.commit(positions)
        progress.epoch(epoch, metrics["train/loss"], metrics["val/top1"])
    return done


def _validate(
    method: Method, data: TrainingData, target: str, epoch: int, done: Progressed
) -> dict[str, float]:
    """Every network on the validation split; remembers the best epoch's weights of each."""
    metrics: dict[str, float] = {}
    for name, network in method.networks.items():
        result = evaluate(network, data.validation, data.num_classes)
        metrics[f"{name}/val_top1"] = result.top1
        metrics[f"{name}/val_loss"] = result.loss
        if name not in done.best or result.top1 > done.best[name].top1:
            weights = {k: v.detach().clone() for k, v in network.state_dict().items()}
            done.best[name] = Best(epoch, result.top1, weights)
    return metrics


def _role_metrics(method: Method, meter: Meter, changes: int) -> dict[str, float]:
    metrics = {"role/changes": float(changes)}
    if meter.mean_margin is not None:
        metrics["role/margin_mean"] = meter.mean_margin
    if method.roles is not None and meter.elections:
        for name in method.networks:
            if name != method.roles.pivot:
                metrics[f"role/share_{name}"] = meter.elected.get(name, 0) / meter.steps
    return metrics


def _add_target_names(metrics: dict[str, float], target: str) -> None:
    """The target's figures under names that are the same in every run, so that runs compare."""
    for ours, common in (
        ("loss", "train/loss"),
        ("train_top1", "train/top1"),
        ("val_loss", "val/loss"),
        ("val_top1", "val/top1"),
    ):
        metrics[common] = metrics[f"{target}/{ours}"]


def _stop_or_warn(
    not_finite: list[NotFinite],
    done: Progressed,
    target: str,
    method: Method,
    progress: Progress,
    optimizer: Sgd,
) -> None:
    pivot = method.roles.pivot if method.roles else None
    known = {bad.network for bad in done.not_finite}
    for bad in not_finite:
        if bad.network in (target, pivot):
            raise UserError(
                f"{bad}; training stops, a lower learning rate than {optimizer.learning_rate} helps"
            )
        if bad.network not in known:
            done.not_finite.append(bad)
            progress.warn(f"{bad}; it goes on without being elected")


def _as_state(method: Method, done: Progressed, positions: dict[str, int]) -> dict[str, Any]:
    return {
        "method": method.state_dict(),
        "log_positions": positions,
        "epoch": done.epoch,
        "history": done.history,
        "best": {name: vars(best) for name, best in done.best.items()},
        "elected": done.elected,
        "role_changes": done.role_changes,
        "not_finite": [vars(bad) for bad in done.not_finite],
    }


def _resume(method: Method, log: RunLog, checkpoint: Path, device: torch.device) -> Progressed:
    state = load_state(checkpoint, device)
    if state is None:
        log.truncate({})
        return Progressed()
    method.load_state_dict(state["method"])
    log.truncate(state["log_positions"])
    return Progressed(
        epoch=state["epoch"],
        history=state["history"],
        best={name: Best(**best) for name, best in state["best"].items()},
        elected=state["elected"],
        role_changes=state["role_changes"],
        not_finite=[NotFinite(**bad) for bad in state["not_finite"]],
    )
