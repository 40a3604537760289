"""How far searches scale: real storage, samplers and pruners, and trials that take no time.

``python -m benchmarks.search_scale [--trials 10000] [--workers 1 4 16 64]`` starts a PostgreSQL
server of its own. A trial replays a learning curve of this repository's results, moved by what its
parameters would do. Writes ``reports/benchmarks/search.md``.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import optuna
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
)
from optuna.storages import RDBStorage

from benchmarks import postgres
from orc_repro.errors import UserError
from orc_repro.files import write_atomically
from orc_repro.project import REPORTS
from orc_repro.search.declaration import Search, load_search
from orc_repro.search.space import suggest
from orc_repro.search.storage import ADDRESS, done, heartbeating, sign, suggested, sweep
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


def measure_storage(workers: int, trials: int, address: str) -> tuple[float, float, int]:
    """More trials on a database: a second; share of looks that saw a lock waited for; deadlocks."""
    context = multiprocessing.get_context("spawn")
    before = _count(address)
    processes = [context.Process(target=_work, args=(address, before + trials))
                 for _ in range(workers)]  # fmt: skip
    stop, seen = threading.Event(), [0, 0]
    watching = threading.Thread(target=_watch, args=(address, stop, seen))
    for process in processes:
        process.start()
    while _count(address) < before + workers and any(p.is_alive() for p in processes):
        time.sleep(0.05)  # everybody has begun: starting Python is not what is measured
    began, first = time.monotonic(), _count(address)
    watching.start()
    for process in processes:
        process.join()
    took, made = time.monotonic() - began, _count(address) - first
    stop.set()
    watching.join()
    return made / took, seen[1] / max(1, seen[0]), _deadlocks(address)


def _work(address: str, trials: int) -> None:
    """What a worker does, on a machine of its own."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    os.environ[ADDRESS] = address  # a database's trials may be another machine's
    search, known = load_search(FILE), curves()
    study = optuna.load_study(study_name=NAME, storage=heartbeating(address))
    study.pruner = pruner_for(search)

    def objective(trial: optuna.Trial) -> float:
        sign(trial)
        accuracies = replay(trial.number, suggest(trial, search), known)
        for epoch, accuracy in enumerate(accuracies):
            trial.report(accuracy, epoch)
            if epoch >= WARM_UP_EPOCHS and trial.should_prune():
                raise optuna.TrialPruned
        return accuracies[-1]

    while len(done(study.get_trials(deepcopy=False))) < trials:
        sweep(study)
        study.sampler = sampler_for(search, suggested(study))
        study.optimize(objective, n_trials=1)


def _watch(address: str, stop: threading.Event, seen: list[int]) -> None:
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
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--pruned-trials", type=int, default=150)
    options = parser.parse_args()
    if not postgres.is_available():
        raise UserError("this needs PostgreSQL's server (Debian: postgresql) and psycopg")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lines = [
        "# How far searches scale", "",
        "`python -m benchmarks.search_scale` writes this page: a PostgreSQL server and all workers"
        " on one machine, trials that take no time.", "",
        "| workers | trials before | trials | trials/s | looks that saw a lock waited for"
        " | deadlocks |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    with postgres.server(["search"], "max_connections=400") as host:
        address = f"{host}/search"
        optuna.create_study(study_name=NAME, storage=RDBStorage(address), direction="maximize")
        # The last, largest number of workers fills the study up.
        shares = [options.trials // 20] * (len(options.workers) - 1)
        for workers, trials in zip(
            options.workers, [*shares, options.trials - sum(shares)], strict=True
        ):
            before = _count(address)
            speed, waits, deadlocks = measure_storage(workers, trials, address)
            lines.append(f"| {workers} | {before:,} | {_count(address) - before:,} | {speed:.1f}"
                         f" | {waits:.0%} | {deadlocks} |")  # fmt: skip
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
