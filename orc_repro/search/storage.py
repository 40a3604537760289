"""Where a search is kept, and what to do about workers that are gone."""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import math
import os
import socket
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from orc_repro.addresses import reason_of
from orc_repro.deadline import ANSWER_WITHIN_S, Late, has_deadline, within
from orc_repro.errors import UserError
from orc_repro.process_identity import is_at_work, start_of
from orc_repro.project import scratch
from orc_repro.search.declaration import Search
from orc_repro.search.journal import Journal
from orc_repro.search.space import Values
from orc_repro.training.checkpoints import differences

ADDRESS = "ORC_SEARCH_STORAGE"
"""Environment variable: the address of a database for workers on many machines; it may hold a
password, so it is never shown and stands in no file.
"""
SPACE, WORKER, RETRY_OF, REASON = "space", "worker", "retry_of", "reason"
MADE_FROM = "made_from"
SLOT = "slot"
"""Which of the search's trials a trial is, whatever its number: what repeats a lost trial has its
slot, and draws from the same generator.
"""
RUN = "run of seed "
"""And the seed: which run a trial is."""
JOURNAL = "journal.log"
HEARTBEAT_S, GRACE_S = 30, 120


def folder_of(name: str) -> Path:
    """A search's own folder on this machine."""
    return scratch() / "search" / name


def open_study(search: Search, name: str, first: Values, made_from: Mapping[str, str]) -> Study:
    """The stored search, or a new one with trial 0 waiting.

    ``made_from``: what all of its trials share, flat.

    Raises:
        UserError: the storage cannot be used, or holds another space under this name, or trials
            that were made from something else.
    """
    folder_of(name).mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # a trial that fails raises what it says
    with FileLock(folder_of(name) / "open.lock"):
        try:
            study = optuna.create_study(
                study_name=name,
                storage=_storage(name),
                directions=["maximize"] if search.cost == "none" else ["maximize", "minimize"],
                load_if_exists=True,
            )
            stored = study.user_attrs.get(SPACE)
        except UserError:
            raise
        except Exception as error:  # drivers raise what they like
            raise _unusable(error, name) from None
        if stored is None:
            study.set_user_attr(SPACE, search.space_content)
            study.set_user_attr(MADE_FROM, dict(made_from))
            study.enqueue_trial(first, user_attrs={REASON: "what params.yaml has", SLOT: 0})
        elif stored != search.space_content:
            changed = [k for k in stored if stored[k] != search.space_content.get(k)]
            raise UserError(
                f"the stored search {name} has another {' and '.join(changed)} than its file;"
                " raise the file's version, and it is a search of its own"
            )
        elif difference := differences(study.user_attrs.get(MADE_FROM, made_from), made_from):
            raise UserError(
                f"the trials of {name} so far were made from something else ({difference}); put it"
                " back, or raise the file's version, and it is a search of its own"
            )
    return study


def sweep(study: Study) -> list[int]:
    """Fail every trial whose worker on this machine is gone, and put it in line again, as well as
    what failed before and could not be.

    Its run goes on from its checkpoint. One worker of a machine at a time may call this. Workers on
    other machines are known to be gone by their heartbeats, in a database.

    Returns:
        the numbers of those trials.
    """
    lost = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # Optuna does so before each trial alone, and whoever waits for the last ones begins none.
        optuna.storages.fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _is_gone(trial):
            with contextlib.suppress(UpdateFinishedTrialError):  # by a worker elsewhere
                study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
            lost.append(trial.number)
    return sorted({*lost, *put_back(study)})


def put_back(study: Study) -> list[int]:
    """Put in line again every trial that failed and whose slot nobody has taken over.

    Otherwise the next one would be drawn in its slot, and what was enqueued be never tried.

    Returns:
        the numbers of those trials.
    """
    trials = study.get_trials(deepcopy=False)
    held = {trial.user_attrs.get(SLOT) for trial in trials if trial.state != TrialState.FAIL}
    latest = {t.user_attrs.get(SLOT): t for t in trials if t.state == TrialState.FAIL}
    left = sorted(slot for slot in latest if slot is not None and slot not in held)
    for slot in left:
        retry(study, latest[slot])
    return [latest[slot].number for slot in left]


def retry(study: Study, trial: FrozenTrial) -> None:
    """Put a lost trial in line again: with its values, or those it had before it was begun.

    Values that were being suggested are drawn anew, all of them: a generator that has to draw only
    some of them draws others.
    """
    if SLOT not in trial.user_attrs:
        return  # lost before anything was drawn: the next trial takes its slot
    begun = any(attribute.startswith(RUN) for attribute in trial.user_attrs)
    values = trial.params if begun else trial.system_attrs.get("fixed_params", {})
    again = {RETRY_OF: trial.number, SLOT: trial.user_attrs[SLOT]}
    study.enqueue_trial(values, user_attrs=again)


def take_slot(study: Study, trial: optuna.Trial) -> int:
    """The slot that a trial has, or the first free one; workers on other machines take others."""
    while True:
        held = {
            other.user_attrs.get(SLOT)
            for other in study.get_trials(deepcopy=False)
            if other.state != TrialState.FAIL and other.number != trial.number
        }
        slot = trial.user_attrs.get(SLOT)
        if slot is not None and slot not in held:
            return int(slot)
        trial.set_user_attr(SLOT, next(free for free in itertools.count() if free not in held))


def done(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Those that count: complete, or stopped early; not those that were lost and run again."""
    return [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]


def best_of(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """Return the complete trial of the highest accuracy, of equal ones the first.

    Optuna gives a pruned trial the accuracy that it reported last; that is no value of a search.

    Returns:
        None if no trial was completed with finite values.
    """
    complete = [t for t in trials if t.state == TrialState.COMPLETE]
    finite = [t for t in complete if all(map(math.isfinite, t.values))]
    return max(finite, key=lambda trial: (trial.values[0], -trial.number), default=None)


def suggested(study: Study) -> int:
    """How many trials have been suggested, those that were lost not counted again."""
    kept = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
    return len(study.get_trials(deepcopy=False, states=kept))


def sign(trial: optuna.Trial) -> None:
    """Say who works on a trial."""
    trial.set_user_attr(WORKER, [socket.gethostname(), os.getpid(), start_of(os.getpid())])


def is_lost(study: Study, number: int) -> bool:
    """Whether a trial that this worker is at was failed by another, which thought it gone."""
    return study.get_trials(deepcopy=False)[number].state == TrialState.FAIL


def _storage(name: str) -> BaseStorage:
    address = os.environ.get(ADDRESS)
    if not address:
        return JournalStorage(Journal(folder_of(name) / JOURNAL))
    return heartbeating(address)


def heartbeating(address: str) -> RDBStorage:
    """A database whose workers are known to be alive by their heartbeats; others' are retried.

    Raises:
        UserError: the database does not answer in time; so do all methods of what is returned.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of heartbeats
        return _Database(
            address,
            heartbeat_interval=HEARTBEAT_S,
            grace_period=GRACE_S,
            heartbeat_stale_trial_callback=retry,
            engine_kwargs={"pool_pre_ping": True},
        )


def _with_deadline(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*args: Any, **named: Any) -> Any:
        if has_deadline():  # called by another method, which may handle what this one raises
            return method(*args, **named)
        try:
            return within(ANSWER_WITHIN_S, lambda: method(*args, **named))
        except (Late, SQLAlchemyError, StorageInternalError) as error:
            raise _unusable(error) from None

    return call


class _Database(RDBStorage):
    """Optuna's, each of whose methods ends in time or in a sentence."""

    def record_heartbeat(self, trial_id: int) -> None:
        """Miss a beat rather than end the thread that beats."""
        with contextlib.suppress(UserError):
            _with_deadline(RDBStorage.record_heartbeat)(self, trial_id)


for _name, _method in vars(RDBStorage).items():
    if inspect.isfunction(_method) and _name not in vars(_Database):
        setattr(_Database, _name, _with_deadline(_method))


def _unusable(error: Exception, name: str = "") -> UserError:
    storage = f"that {ADDRESS} names" if os.environ.get(ADDRESS) else str(folder_of(name) / JOURNAL)
    return UserError(f"the search storage {storage} cannot be used ({reason_of(error)})")


def _is_gone(trial: FrozenTrial) -> bool:
    """Whether a trial's worker was on this machine and is not there any more."""
    worker = trial.user_attrs.get(WORKER)
    if worker is None:  # killed before it could sign; or on another machine, about to
        return not os.environ.get(ADDRESS)
    host, pid, began = worker
    return host == socket.gethostname() and not is_at_work(pid, began)
