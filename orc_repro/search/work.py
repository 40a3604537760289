"""A search under way: one worker, or several beside each other."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import optuna
from filelock import FileLock
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import TrialState

from orc_repro.config import load_params
from orc_repro.errors import NotWorthwhile, UserError
from orc_repro.interruption import RUNNER, Interruption
from orc_repro.progress import duration
from orc_repro.search.declaration import Search, load_search
from orc_repro.search.foundation import check_inputs, foundation
from orc_repro.search.space import Unfit, Values, base_values, check, suggest, variant
from orc_repro.search.storage import (
    REASON,
    RUN,
    best_of,
    done,
    folder_of,
    is_lost,
    open_study,
    put_back,
    sign,
    suggested,
    sweep,
    take_slot,
)
from orc_repro.search.trial import Judge, flop_per_image, identify, last_accuracy, run_seed

LOOK_S = 0.5
ENDING_S = 60.0


class _Lost(BaseException):
    """A trial was given to another worker meanwhile.

    No error, so that Optuna does not tell the storage, which knows.
    """


class Worker:
    """Takes trials of a search, one after another.

    Raises:
        UserError: the file, the space or the storage is wrong, or data or weights are missing.
    """

    def __init__(self, path: Path, device: str = "auto") -> None:
        self.search, self.params, self._device = load_search(path), load_params(), device
        self.name = name_of(path, self.search)
        self.path = path
        check(self.search, self.params, str(path))
        check_inputs(self.search, self.params)
        first = base_values(self.search, self.params)
        made_from = foundation(self.search, self.params)
        self.study: Study = open_study(self.search, self.name, first, made_from)
        self._turn, self._number = _Turn(folder_of(self.name) / "turn.lock"), 0
        self._began = time.monotonic()
        self._made_before = len(done(self.study.get_trials(deepcopy=False)))

    def run(self) -> None:
        """Take trials until the search has all of its."""
        self.study.pruner = pruner_for(self.search)
        while not self.finished:
            took = False
            with self._turn:
                for number in sweep(self.study):
                    print(f"trial {number} was lost with its worker, and is made again")
                if suggested(self.study) < self.search.trials:
                    took = self._take()
            if took:
                self._say()
            else:  # others are at the last ones; one of them may be lost yet
                time.sleep(LOOK_S)

    @property
    def finished(self) -> bool:
        """Whether the search has all of its trials."""
        return len(done(self.study.get_trials(deepcopy=False))) >= self.search.trials

    def _take(self) -> bool:
        """Make a trial; False if another worker has it now."""
        try:
            self.study.optimize(self._trial, n_trials=1)
        except _Lost:
            print(f"trial {self._number} was given to another worker, as if this one were gone")
            return False
        except UserError:
            # No fault of its values. On a full disk the next worker's sweep puts it back.
            with self._turn, contextlib.suppress(OSError, UserError):
                put_back(self.study)
            raise
        return True

    def _trial(self, trial: optuna.Trial) -> float | tuple[float, float]:
        try:
            value = self._value(trial)
        except Exception:
            if is_lost(self.study, trial.number):
                raise _Lost from None
            raise
        if is_lost(self.study, trial.number):
            raise _Lost
        return value

    def _value(self, trial: optuna.Trial) -> float | tuple[float, float]:
        sign(trial)
        # A sampler for each trial: a search that is continued goes on as if it had not stopped.
        self.study.sampler = sampler_for(self.search, take_slot(self.study, trial))
        self._turn.release()  # the next worker sees this trial, and knows whose it is
        self._number, label = trial.number, f"trial {trial.number}"
        values = suggest(trial, self.search)
        try:
            return self._outcome(trial, values, label)
        except (NotWorthwhile, Unfit) as seen:
            if isinstance(seen, Unfit) and values == base_values(self.search, self.params):
                raise  # a search never ends below trial 0, so it has to have one
            trial.set_user_attr(REASON, str(seen))
            raise optuna.TrialPruned(str(seen)) from None

    def _outcome(
        self, trial: optuna.Trial, chosen: Values, label: str
    ) -> float | tuple[float, float]:
        found = variant(self.search, self.params, chosen, "these values do not fit")
        values = []
        for i, seed in enumerate(self.search.seeds):
            identity, teachers = identify(self.search, self.name, found, seed, label)
            trial.set_user_attr(f"{RUN}{seed}", identity.fingerprint)
            judge = self._judge(trial, i * found.recipe.epochs)
            history = run_seed(identity, teachers, self.params, judge, self._device)
            values.append(last_accuracy(history))
            trial.set_user_attr(f"promotions of seed {seed}", dict(history.elected))
            trial.set_user_attr(f"role changes of seed {seed}", history.role_changes)
        accuracy = sum(values) / len(values)
        if self.search.cost == "none":
            return accuracy
        return accuracy, flop_per_image(identity)

    def _judge(self, trial: optuna.Trial, before: int) -> Judge:
        """Report each epoch, behind those of the seeds before, and ask whether to go on."""
        if self.search.cost != "none":
            return lambda _epoch, _accuracy: None

        def judge(epoch: int, accuracy: float) -> str | None:
            trial.report(accuracy, before + epoch)
            early = epoch < self.search.pruner.after_epoch
            return None if early or not trial.should_prune() else "below the median"

        return judge

    def _say(self) -> None:
        trials = self.study.get_trials(deepcopy=False)
        last, finished = trials[self._number], done(trials)
        complete = last.state == TrialState.COMPLETE
        value = f"{last.values[0]:.2f} %" if complete else last.user_attrs[REASON]
        best = best_of(finished)
        tail = "" if best is None else f", the best is {best.values[0]:.2f} %"
        made = len(finished) - self._made_before
        if made > 0:  # by all workers, since this one began
            left = (time.monotonic() - self._began) / made * (self.search.trials - len(finished))
            tail += f", about {duration(left)} left"
        print(
            f"trial {last.number}: {value}; {len(finished)} of {self.search.trials}{tail}",
            flush=True,
        )


def name_of(path: Path, search: Search) -> str:
    """A search's name; with another space it is another search."""
    return f"{path.stem}-v{search.version}"


def work_side_by_side(path: Path, workers: int, device: str) -> None:
    """Start so many workers as processes of their own and wait for them.

    A worker that fails is told of; the others do its work.

    Raises:
        Interrupted: a stop was requested; the workers have saved and ended.
    """
    words = [sys.executable, "-m", "orc_repro", "search", str(path), "--worker"]
    # Lines from all of them: their bars would be drawn over each other.
    environment = os.environ | {
        RUNNER: str(os.getpid()), "ORC_DEVICE": device, "TTY_COMPATIBLE": "0"
    }  # fmt: skip
    with Interruption() as stop:
        running = [subprocess.Popen(words, env=environment) for _ in range(workers)]
        try:
            # All are asked each time, so that none that has ended looks alive to the others.
            while None in [process.poll() for process in running] and not stop.requested:
                time.sleep(LOOK_S)
        finally:
            for process in running:
                if process.poll() is None:
                    process.terminate()
            for process in running:
                try:
                    process.wait(ENDING_S)
                except subprocess.TimeoutExpired:
                    process.kill()
        stop.stop_if_requested("with all its workers; the same command goes on from there")
    if failed := sum(process.returncode != 0 for process in running):
        print(f"{failed} of {workers} workers failed; what they said is above", file=sys.stderr)


class _Turn:
    """One worker at a time looks for a trial; it may end its turn before the block does."""

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path)

    def __enter__(self) -> None:
        self._lock.acquire()

    def release(self) -> None:
        """The turn is over."""
        self._lock.release(force=True)

    def __exit__(self, *_: object) -> None:
        self.release()


def sampler_for(search: Search, slot: int) -> BaseSampler:
    """A search's sampler, seeded for the trial with this slot."""
    words = f"{search.sampler.seed}/{slot}".encode()
    seed = int.from_bytes(hashlib.sha256(words).digest()[:4])
    if search.sampler.kind == "random":
        return RandomSampler(seed=seed)
    return TPESampler(seed=seed, n_startup_trials=search.sampler.startup_trials)


def pruner_for(search: Search) -> BasePruner:
    """A search's pruner."""
    if search.pruner.kind == "none":
        return NopPruner()
    return MedianPruner(
        n_startup_trials=search.pruner.startup_trials, n_warmup_steps=search.pruner.after_epoch
    )
