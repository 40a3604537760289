"""What was tried before, what the alternatives change, and what all of it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orc_repro.config import Params
from orc_repro.queue.cost import CIFAR, flop_of_training, in_words
from orc_repro.report.results import Result
from orc_repro.report.statistics import summarise
from orc_repro.verdicts import words
from orc_repro.verdicts.claims import LEVELS, Alternative
from orc_repro.verdicts.judge import Key
from orc_repro.verdicts.paired import difference
from orc_repro.verdicts.tuning import Choice


def tuning(choices: Sequence[Choice]) -> str:
    """Each value of each method, what it reached, and which was chosen."""
    rows = []
    for choice in choices:
        for level in LEVELS:
            value = choice.values[level]
            reached = [
                f"{choice.reached[place][level]:.1f} (`{place[1]}`)"
                for place in sorted(choice.reached)
                if level in choice.reached[place]
            ]
            total = choice.total(level)
            rows.append(
                [
                    f"`{choice.method}`",
                    f"{choice.parameter} {value}",
                    ", ".join(reached) or words.NOT_RUN,
                    "" if total is None else f"{total:.1f}",
                    "chosen" if level == choice.chosen else "",
                ]
            )
    return words.table(["method", "value", "validation top-1", "sum", ""], rows)


def alternatives(
    declared: Sequence[Alternative], results: Mapping[Key, Mapping[int, Result]]
) -> str:
    """Each alternative beside what stands in the other tables, paired by seed."""
    rows = []
    for other in declared:
        for method in (other.baseline, *other.methods):
            found = results.get((other.dataset, other.group, method), {})
            base = results.get((other.dataset, other.group, other.baseline), {})
            paired = difference(_accuracies(found), _accuracies(base)).paired
            runs = [*found.values()]
            rows.append(
                [
                    other.asks if method == other.baseline else "",
                    f"`{method}`",
                    words.mean(summarise([*_accuracies(found).values()]) if found else None),
                    str(len(found)),
                    "" if method == other.baseline else words.interval(paired),
                    words.elected(runs),
                    words.pivot(runs),
                ]
            )
    heads = ["question", "answer", "top-1", "n", "difference", "temporary teacher", "its pivot"]
    return words.table(heads, rows)


def compute(
    results: Sequence[Result], params: Params, runs: Mapping[str, Mapping[str, str]]
) -> str:
    """Arithmetic, counted, and time, measured, by what was trained."""
    sums: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        sums.setdefault((result.recipe, result.dataset, result.group), []).append(result)
    rows = []
    for (recipe, dataset, group), found in sorted(sums.items()):
        flop = [
            flop_of_training(
                params.methods[result.method], params.groups[group], result.epochs, CIFAR,
                result.training_images,
            )
            for result in found
        ]  # fmt: skip
        seconds = [float(runs[r.fingerprint]["seconds"]) for r in found if r.fingerprint in runs]
        hours = f"{sum(seconds) / 3600:.2f}" if len(seconds) == len(found) else "not recorded"
        rows.append(
            [f"`{recipe}`", dataset, f"`{group}`", str(len(found)), in_words(sum(flop)), hours]
        )
    heads = ["recipe", "dataset", "group", "runs", "arithmetic", "hours of a core"]
    return words.table(heads, rows) if rows else "Nothing has been run."


def _accuracies(results: Mapping[int, Result]) -> dict[int, float]:
    return {seed: result.target.last.top1 for seed, result in results.items()}
