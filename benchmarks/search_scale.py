"""How far searches scale: real storage, samplers and pruners, and trials that take no time.

``python -m benchmarks.search_scale [--trials 0 10000] [--workers 1 4 16 64]`` starts a PostgreSQL
server of its own, and lets workers loose on a search of so many trials for a while. A trial replays
a learning curve of this repository's results, moved by what its parameters would do. Writes
``reports/benchmarks/search.md``.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import resource
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from random import Random
from typing import Any

import optuna
import psutil
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
)
from optuna.samplers import RandomSampler
from optuna.storages import RDBStorage

from benchmarks import postgres
from orc_repro.errors import UserError
from orc_repro.files import write_atomically
from orc_repro.project import REPORTS
from orc_repro.search.declaration import Search, load_search
from orc_repro.search.space import suggest
from orc_repro.search.storage import ADDRESS, SLOT, heartbeating, sign, sweep, take_slot
from orc_repro.search.work import pruner_for, sampler_for

FILE = Path("studies/search/group_temperature_promotion_cifar100.yaml")
NAME, EPOCHS, WARM_UP_EPOCHS = "scale", 20, 12
NOISE, SPREAD = 0.5, 12.0  # percentage points: of a run, and between parameters
SAMPLED_EVERY_S = 0.05


def curves() -> list[list[float]]:
    """Validation accuracies by epoch of committed runs, stretched to one length."""
    found = []
    for path in sorted(Path("results").glob("*/trained/*.json")):
        curve = [epoch["val/top1"] for epoch in json.loads(path.read_text())["epochs"]]
        if len(curve) > 3:
            found.append([curve[i * len(curve) // EPOCHS] for i in range(EPOCHS)])
    return found


def worth(values: dict[str, Any]) -> float:
    """What parameters do to the last epoch, at most 0: best near one point, as in a real search."""
    temperature = math.log(float(values["method.temperature"]) / 4.0)
    beta = float(values["method.beta"]) - 0.5
    margin = float(values["method.promotion.margin"])
    return -SPREAD * (temperature**2 / 4 + beta**2 + margin**2)


def replay(number: int, values: dict[str, Any], known: list[list[float]]) -> list[float]:
    """A trial's accuracies: a curve that was, moved by its parameters, and a run's noise."""
    draw = Random(number)
    curve, shift = draw.choice(known), worth(values) + draw.gauss(0, NOISE)
    top = max(known, key=lambda c: c[-1])[-1] - curve[-1]
    return [a + (top + shift) * (i + 1) / EPOCHS for i, a in enumerate(curve)]


# --- the storage ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """A while of some workers; ``waited``: the part of looks that saw a lock waited for;
    ``worker_bytes``: the most that one of them held.
    """

    trials_per_second: float
    suggestion_ms: float
    waited: float
    deadlocks: int
    worker_bytes: int


def measure_storage(workers: int, seconds: float, address: str) -> Measured:
    """So many workers on a database for a while."""
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Barrier(workers + 1), context.Event()
    suggesting = context.Queue()
    given = (address, ready, stop, suggesting)
    processes = [context.Process(target=_work, args=given) for _ in range(workers)]
    for process in processes:
        process.start()
    ready.wait()  # everybody has begun: starting Python is not what is measured
    began, first, seen = time.monotonic(), _count(address), [0, 0]
    watching = threading.Thread(target=_watch, args=(address, stop, seen))
    watching.start()
    time.sleep(seconds)
    took, made = time.monotonic() - began, _count(address) - first
    stop.set()
    spent, asked, held = zip(*(suggesting.get() for _ in processes), strict=True)
    watching.join()
    for process in processes:
        process.join()
    return Measured(
        trials_per_second=made / took,
        suggestion_ms=1000 * sum(spent) / max(1, sum(asked)),
        waited=seen[1] / max(1, seen[0]),
        deadlocks=_deadlocks(address),
        worker_bytes=max(held),
    )


def _work(address: str, ready: Barrier, stop: Event, suggesting: Queue[Any]) -> None:
    """What a worker does, on a machine of its own."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    os.environ[ADDRESS] = address  # a database's trials may be another machine's
    search, known = load_search(FILE), curves()
    study = optuna.load_study(study_name=NAME, storage=heartbeating(address))
    study.pruner = pruner_for(search)
    spent, asked = 0.0, 0

    def objective(trial: optuna.Trial) -> float:
        nonlocal spent, asked
        sign(trial)
        study.sampler = sampler_for(search, take_slot(study, trial))
        began = time.monotonic()
        accuracies = replay(trial.number, suggest(trial, search), known)
        spent, asked = spent + time.monotonic() - began, asked + 1
        for epoch, accuracy in enumerate(accuracies):
            trial.report(accuracy, epoch)
            if epoch >= WARM_UP_EPOCHS and trial.should_prune():
                raise optuna.TrialPruned
        return accuracies[-1]

    study.optimize(objective, n_trials=1)  # what is read once, is read
    ready.wait()
    while not stop.is_set():
        sweep(study)
        study.optimize(objective, n_trials=1)
    suggesting.put((spent, asked, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


def fill(address: str, trials: int) -> None:
    """Finished trials, random ones, until there are so many."""
    search, known = load_search(FILE), curves()
    source = optuna.create_study(sampler=RandomSampler(seed=0))
    hasty = {"connect_args": {"options": "-c synchronous_commit=off"}}
    study = optuna.load_study(study_name=NAME, storage=RDBStorage(address, engine_kwargs=hasty))
    for number in range(_count(address), trials):
        trial = source.ask()
        accuracies = replay(number, suggest(trial, search), known)
        study.add_trial(
            optuna.trial.create_trial(
                params=trial.params,
                distributions=trial.distributions,
                user_attrs={SLOT: number},
                intermediate_values=dict(enumerate(accuracies)),
                value=accuracies[-1],
            )
        )


def _watch(address: str, stop: Event, seen: list[int]) -> None:
    """Count looks at the server, and those that saw a session waiting for another's lock."""
    import psycopg

    plain = address.replace("+psycopg", "")
    query = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
    with psycopg.connect(plain, autocommit=True) as connection:
        while not stop.wait(SAMPLED_EVERY_S):
            (waiting,) = connection.execute(query).fetchone() or (0,)
            seen[0] += 1
            seen[1] += waiting > 0


def _count(address: str) -> int:
    return int(_ask(address, "select count(*) from trials where state in ('COMPLETE', 'PRUNED')"))


def _deadlocks(address: str) -> int:
    return int(_ask(address, "select sum(deadlocks) from pg_stat_database"))


def _ask(address: str, query: str) -> Any:
    import psycopg

    with psycopg.connect(address.replace("+psycopg", ""), autocommit=True) as connection:
        return (connection.execute(query).fetchone() or (0,))[0]


# --- the pruners ------------------------------------------------------------------------------

PRUNERS: dict[str, Callable[[], BasePruner]] = {
    "none": NopPruner,
    "median": lambda: MedianPruner(n_startup_trials=6, n_warmup_steps=WARM_UP_EPOCHS),
    "successive halving": partial(SuccessiveHalvingPruner, min_resource=WARM_UP_EPOCHS),
    "hyperband": partial(HyperbandPruner, min_resource=WARM_UP_EPOCHS, max_resource=EPOCHS),
}


def measure_pruner(name: str, workers: int, trials: int, seed: int) -> tuple[int, int, float]:
    """Epochs spent, those of them on trials that were stopped, and the best trial's true worth.

    The workers take turns epoch by epoch, so that trials run beside each other as on machines.
    """
    search, known = load_search(FILE), curves()
    study = optuna.create_study(direction="maximize", pruner=PRUNERS[name]())
    running: list[tuple[optuna.Trial, list[float], int]] = []
    spent = wasted = made = 0
    while made < trials or running:
        while made < trials and len(running) < workers:
            study.sampler = sampler_for(_seeded(search, seed), made)
            trial = study.ask()
            values = suggest(trial, search)
            running.append((trial, replay(1000 * seed + trial.number, values, known), 0))
            made += 1
        trial, accuracies, epoch = running.pop(0)
        trial.report(accuracies[epoch], epoch)
        spent += 1
        if epoch + 1 == EPOCHS:
            study.tell(trial, accuracies[-1])
        elif epoch >= WARM_UP_EPOCHS and trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            wasted += epoch + 1
        else:
            running.append((trial, accuracies, epoch + 1))
    return spent, wasted, worth(study.best_trial.params)


def _seeded(search: Search, seed: int) -> Search:
    return search.model_copy(update={"sampler": search.sampler.model_copy(update={"seed": seed})})


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[0, 10_000])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 4, 16, 64])
    parser.add_argument("--pruned-trials", type=int, default=150)
    options = parser.parse_args()
    if not postgres.is_available():
        raise UserError("this needs PostgreSQL's server (Debian: postgresql) and psycopg")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lines = [
        "# How far searches scale", "",
        "`python -m benchmarks.search_scale` writes this page: a PostgreSQL server and all workers"
        " on one machine, trials that take no time.", "",
        "| trials there | workers | trials/s | ms of a trial's suggestions"
        " | looks that saw a lock waited for | deadlocks |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    with postgres.server(["search"], "max_connections=400") as host:
        address = f"{host}/search"
        optuna.create_study(study_name=NAME, storage=RDBStorage(address), direction="maximize")
        for trials in options.trials:
            fill(address, trials)
            worker_bytes = 0
            for workers in options.workers:
                there = f"| {_count(address):,} | {workers} |"
                if workers * worker_bytes > psutil.virtual_memory().total:
                    held = f"{workers * worker_bytes / 1e9:.0f} GB"
                    lines.append(f"{there} not run: they would hold {held} | | | |")
                else:
                    seen = measure_storage(workers, options.seconds, address)
                    worker_bytes = seen.worker_bytes
                    lines.append(f"{there} {seen.trials_per_second:.1f} | {seen.suggestion_ms:.0f}"
                                 f" | {seen.waited:.0%} | {seen.deadlocks} |")  # fmt: skip
                print(lines[-1], flush=True)
    lines += ["", "| pruner | workers | epochs spent | of which on stopped trials"
              " | the best trial's true worth, points below the optimum |",
              "|---|---|---|---|---|"]  # fmt: skip
    for name in PRUNERS:
        for workers in (1, 8, 64):
            found = [measure_pruner(name, workers, options.pruned_trials, s) for s in range(3)]
            spent = sum(f[0] for f in found) / (3 * options.pruned_trials * EPOCHS)
            wasted = sum(f[1] for f in found) / sum(f[0] for f in found)
            best = ", ".join(f"{-f[2]:.2f}" for f in found)
            lines.append(f"| {name} | {workers} | {spent:.0%} | {wasted:.0%} | {best} |")
            print(lines[-1], flush=True)
    (REPORTS / "benchmarks").mkdir(parents=True, exist_ok=True)
    text = "\n".join(lines) + "\n"
    write_atomically(REPORTS / "benchmarks" / "search.md", text.encode())


if __name__ == "__main__":
    main()
