"""Whether a search's best trial is better than what params.yaml has: both again, on fresh seeds."""

from __future__ import annotations

from dataclasses import dataclass, field

from orc_repro.config import Params
from orc_repro.errors import NotWorthwhile
from orc_repro.report.markdown import interval, spread
from orc_repro.report.statistics import Summary, direction, paired_difference, summarise
from orc_repro.search.declaration import Search
from orc_repro.search.space import Values, variant
from orc_repro.search.trial import identify, last_accuracy, run_seed


@dataclass
class FreshSeeds:
    """What training on seeds that the search did not see came to.

    Attributes:
        accuracies: seed -> validation top-1 in percent after the last epoch.
        failures: seed -> why its run ended before.
    """

    accuracies: dict[int, float] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [said(summarise(list(self.accuracies.values())))] if self.accuracies else []
        parts += [f"seed {seed} failed: {why}" for seed, why in self.failures.items()]
        return "; ".join(parts)


def on_fresh_seeds(
    search: Search, name: str, params: Params, values: Values, label: str, device: str
) -> FreshSeeds:
    """Train one configuration on a search's confirmation seeds; one that diverges is a result.

    Raises:
        UserError: data or weights are missing, or a run cannot go on.
        Interrupted: a stop was requested; what was done is saved.
    """
    found, seen = variant(search, params, values, label), FreshSeeds()
    for seed in search.confirmation_seeds:
        identity, teachers = identify(search, name, found, seed, label)
        try:
            history = run_seed(identity, teachers, params, lambda _epoch, _value: None, device)
        except NotWorthwhile as failed:
            seen.failures[seed] = str(failed)
        else:
            seen.accuracies[seed] = last_accuracy(history)
    return seen


def verdict(best: FreshSeeds, first: FreshSeeds) -> str:
    """Whether the best trial is better than trial 0, in a sentence.

    Where a seed failed, accuracies alone would be of those that were lucky.
    """
    if best.failures:
        return (
            "The best trial does not replace what `params.yaml` has: it failed on"
            f" {len(best.failures)} of {len(best.failures) + len(best.accuracies)} fresh seeds."
        )
    if first.failures:
        return (
            f"What `params.yaml` has failed on {len(first.failures)} of"
            f" {len(first.failures) + len(first.accuracies)} fresh seeds, the best trial on none."
        )
    match direction(paired_difference(best.accuracies, first.accuracies)):
        case 1:
            return "The best trial is better: the interval of the difference is above zero."
        case -1:
            return "The best trial is worse than what `params.yaml` has; it was chance."
    return "Nothing is decided: the difference has no interval, or one that holds zero."


def paired(best: FreshSeeds, first: FreshSeeds) -> str:
    """The difference over the seeds that both finished."""
    difference = paired_difference(best.accuracies, first.accuracies)
    return "no seed of both" if difference is None else said(difference)


def said(summary: Summary) -> str:
    """Mean ± sd, the interval and n."""
    parts = [spread(summary), interval(summary)]
    return f"{', '.join(part for part in parts if part)} (n = {summary.n})"
