"""Which metrics MLflow gets: its UI is slow with many keys, and a large group has many."""

from __future__ import annotations

from collections.abc import Iterable

MOST_KEYS = 60
OTHER_KEYS = 9  # of a run beside its epochs': role_it/*, cost/*, final/*; and one a network
SYSTEM_KEYS = 5  # of a long run: tracking/machine.py
PARTS = ("val_top1", "val_loss", "loss", "train_top1")  # of a network, most wanted first


def wanted_keys(names: Iterable[str], networks: int, watched: bool = False) -> set[str]:
    """The metrics of an epoch that are sent, so that a run has 60 keys at most.

    All of them, unless there are too many. Then the networks' own go first: what a loss is made
    of, last the accuracies. The run's files have all of them in any case.

    Args:
        names: every metric of an epoch.
        networks: how many networks the run has.
        watched: whether the machine is, too, should it be a long run.
    """
    room = MOST_KEYS - OTHER_KEYS - networks - (SYSTEM_KEYS if watched else 0)
    return set(sorted(dict.fromkeys(names), key=lambda name: (_rank(name), name))[: max(room, 0)])


def _rank(name: str) -> int:
    owner, _, part = name.partition("/")
    if owner in ("train", "val", "cost", "role", "feedback") or not part:
        return 1 if part.startswith("share_") else 0
    return 2 + (PARTS.index(part) if part in PARTS else len(PARTS))
