"""The one training loop. It does not know which method it runs."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from orc_repro.config import Recipe, Sgd
from orc_repro.data.split import Split
from orc_repro.distill import Method
from orc_repro.distill.roles import role_change
from orc_repro.errors import UserError
from orc_repro.interruption import Interruption
from orc_repro.memory import is_out_of_memory
from orc_repro.processes.agreement import Agreement
from orc_repro.processes.group import ALONE, Processes
from orc_repro.progress import Progress
from orc_repro.tracking.runlog import Log
from orc_repro.training.checkpoints import Checkpoints
from orc_repro.training.evaluate import evaluate
from orc_repro.training.meter import Meter, NotFinite
from orc_repro.training.schedule import learning_rate_factor
from orc_repro.training.state import Best, Own, Progressed, State, begin, own_of, restore
from orc_repro.training.streams import generator


@dataclass(frozen=True)
class TrainingData:
    """What training may see: the test split is not in it."""

    train: Split
    validation: Split
    num_classes: int


def fit(
    method: Method,
    data: TrainingData,
    recipe: Recipe,
    *,
    target: str,
    seed: int,
    log: Log,
    checkpoints: Checkpoints,
    progress: Progress,
    stop: Interruption,
    processes: Processes = ALONE,
) -> Progressed:
    """Train a method for ``recipe.epochs``, continuing from its newest checkpoint if there is one.

    The learning rate, the epoch's order and every draw are functions of (recipe, seed, epoch), so
    that a resumed run and an undisturbed one are the same run, wherever it was cut. Of several
    processes all come here, each for its part of every batch; one of them writes.

    Returns:
        History and best epochs; the method's networks hold the last epoch's weights.

    Raises:
        UserError: the target's or the pivot's loss is no longer finite, a batch is larger than
            the training split or cannot be divided among the processes, or a checkpoint cannot be
            written or continued.
        Interrupted: a stop was requested; the step under way is done and saved.
    """
    part, device = processes.part_of(recipe.batch_size), data.train.device
    meter = Meter(recipe.batch_size, device, processes)
    done = _resume(method, meter, log, checkpoints, seed, processes, progress)
    agreement = Agreement(processes, checkpoints, stop)
    steps = len(data.train) // recipe.batch_size
    progress.resume(done.epoch, done.step)
    roles = method.roles
    for epoch in range(done.epoch, recipe.epochs):
        started = time.monotonic() - done.seconds
        factor = _factor(recipe, epoch)
        method.set_learning_rate(factor)
        method.train()
        draws = _draw(method, steps, recipe.batch_size, seed, epoch, part, device)
        order = generator(seed, "batches", epoch)
        batches = data.train.augmented_batches(recipe.batch_size, order, done.step, part)
        with closing(batches):
            for i, (images, labels) in enumerate(batches, done.step):
                step = epoch * steps + i
                result = method.step(images, labels, {name: d[i] for name, d in draws.items()})
                change = role_change(roles, result.roles, result.scores, epoch, step)
                if change is not None:
                    log.role_change(change)
                    roles = result.roles
                meter.add(step, result, role_changed=change is not None)
                done.step, done.seconds = i + 1, time.monotonic() - started
                progress.step()
                if agreement.after_step():
                    _save(method, meter, done, log, checkpoints, processes)
                    agreement.stop_if_agreed(f"after step {i + 1} of {steps} in epoch {epoch + 1}")

        average_statistics(method, processes)
        metrics, not_finite = meter.fetch(epoch)
        metrics |= _role_metrics(method, meter)
        for name in method.networks:
            metrics |= _validate(name, method.networks[name], data, epoch, done, processes)
            if agreement.stops():
                _save(method, meter, done, log, checkpoints, processes)
                agreement.stop_if_agreed(f"while epoch {epoch + 1} was validated")
        metrics |= _of_target(metrics, target, factor * recipe.optimizer.learning_rate_of(target))
        log.metrics(epoch, metrics | {"cost/epoch_seconds": time.monotonic() - started})
        _stop_or_warn(not_finite, done, target, method, progress, recipe.optimizer)
        _close_epoch(done, meter, metrics)
        meter = Meter(recipe.batch_size, device, processes)
        _save(method, meter, done, log, checkpoints, processes)
        progress.epoch(epoch, metrics["train/loss"], metrics["val/top1"])
        if agreement.stops():
            agreement.stop_if_agreed(f"after epoch {epoch + 1} of {recipe.epochs}")
    return done


def _factor(recipe: Recipe, epoch: int) -> float:
    schedule = recipe.schedule
    return learning_rate_factor(epoch, schedule.milestones_epochs, schedule.factor)


def _draw(
    method: Method,
    steps: int,
    batch_size: int,
    seed: int,
    epoch: int,
    part: slice,
    device: torch.device,
) -> dict[str, Tensor]:
    """What a method's epoch leaves to chance, on the device; of what is drawn for each image, this
    process's part. The draws are those of whole batches, however many processes there are.
    """
    drawn = method.draw_epoch(steps, batch_size, generator(seed, "method", epoch))
    return {
        name: (tensor[:, part] if name in method.drawn_per_image else tensor).to(device)
        for name, tensor in drawn.items()
    }


def average_statistics(method: Method, processes: Processes) -> None:
    """One set of running statistics for all processes, before networks are evaluated and saved."""
    if processes.count > 1:
        buffers = [b for found in method.statistics().values() for b in found.values()]
        different = list({id(b): b for b in buffers if b.is_floating_point()}.values())
        exact = [buffer.double() for buffer in different]  # so that equal ones stay what they are
        processes.average(exact)
        torch._foreach_copy_(different, exact)


def _close_epoch(done: Progressed, meter: Meter, metrics: dict[str, float]) -> None:
    done.history.append(metrics)
    done.role_changes += meter.role_changes
    for name, times in meter.elected.items():
        done.elected[name] = done.elected.get(name, 0) + times
    done.epoch, done.step, done.seconds = done.epoch + 1, 0, 0.0


def _validate(
    name: str,
    network: nn.Module,
    data: TrainingData,
    epoch: int,
    done: Progressed,
    processes: Processes,
) -> dict[str, float]:
    """A network on the validation split; remembers its weights if this is its best epoch."""
    result = evaluate(network, data.validation, data.num_classes, processes)
    if name not in done.best or result.top1 > done.best[name].top1:
        weights = {k: v.detach().clone() for k, v in network.state_dict().items()}
        done.best[name] = Best(epoch=epoch, top1=result.top1, weights=weights)
    return {f"{name}/val_top1": result.top1, f"{name}/val_loss": result.loss}


def _role_metrics(method: Method, meter: Meter) -> dict[str, float]:
    metrics = {"role/changes": float(meter.role_changes)}
    if meter.mean_margin is not None:
        metrics["role/margin_mean"] = meter.mean_margin
    if method.roles is not None and meter.elections:
        for name in method.networks:
            if name != method.roles.pivot:
                metrics[f"role/share_{name}"] = meter.elected.get(name, 0) / meter.steps
    return metrics


def _of_target(metrics: dict[str, float], target: str, learning_rate: float) -> dict[str, float]:
    """The target's figures under names that are the same in every run, so that runs compare."""
    return {
        "train/loss": metrics[f"{target}/loss"],
        "train/top1": metrics[f"{target}/train_top1"],
        "val/loss": metrics[f"{target}/val_loss"],
        "val/top1": metrics[f"{target}/val_top1"],
        "learning_rate": learning_rate,
    }


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


def _save(
    method: Method,
    meter: Meter,
    done: Progressed,
    log: Log,
    checkpoints: Checkpoints,
    processes: Processes,
) -> None:
    """The log, the checkpoint, what may be delivered: in this order, a kill loses nothing."""
    own: list[Own] = processes.gathered(own_of(method, meter, processes.leads))
    if not processes.leads:
        return
    marks = log.flush()
    state = State(
        fingerprint=checkpoints.fingerprint,
        made_from=checkpoints.made_from,
        made_with=checkpoints.made_with,
        progressed=done,
        method=method.state_dict(),
        own=own,
        marks=marks,
    )
    if checkpoints.save(state):
        log.checkpointed(marks)


def _resume(
    method: Method,
    meter: Meter,
    log: Log,
    checkpoints: Checkpoints,
    seed: int,
    processes: Processes,
    progress: Progress,
) -> Progressed:
    state = processes.from_leader(checkpoints.load(log) if processes.leads else None)
    log.resume({} if state is None else state.marks)
    if state is None:
        begin(seed, processes.rank)
        return Progressed(processes=[processes.count])
    before = len(state.own)
    if before != processes.count:
        progress.warn(
            f"begun by {before} processes, this goes on with {processes.count}, at the same step"
            " and with the same draws; batch norm and feedback now see other parts of a batch, so"
            " the result is no longer to the bit that of either number"
        )
    try:
        done = restore(state, method, meter, seed, processes)
    except (KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        if is_out_of_memory(error):
            raise
        raise UserError(
            f"the checkpoint in {log.folder} is not of this method and these networks; `--restart`"
            " starts over"
        ) from None
    if done.processes[-1:] != [processes.count]:
        done.processes.append(processes.count)
    return done
