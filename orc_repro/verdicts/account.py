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
    declared: Sequence[Alternative],
    results: Mapping[str, Mapping[Key, Mapping[int, Result]]],
    recipe: str,
) -> str:
    """Each alternative beside its baseline, which stands in the other tables if its recipe does;
    paired by seed.

    Args:
        declared: in order.
        results: by recipe, those that count.
        recipe: of the other tables.
    """
    rows, before = [], None
    for other in declared:
        by_recipe = results.get(other.recipe or recipe, {})
        first = other.recipe, other.dataset, other.group, other.baseline
        base = by_recipe.get(first[1:], {})
        if first != before:
            told = f"*{other.dataset}, `{other.group}`, `{other.recipe or recipe}`*"
            rows.append([told, *_answer(other, other.group, other.baseline),
                         *_reached(base), "", "", *_teaching(base)])  # fmt: skip
        before = first
        for number, (group, method) in enumerate(other.answers):
            found = by_recipe.get((other.dataset, group, method), {})
            paired = difference(_accuracies(found), _accuracies(base)).paired
            rows.append(
                [
                    "" if number else other.asks,
                    *_answer(other, group, method),
                    *_reached(found),
                    words.interval(paired),
                    str(paired.n if paired else 0),
                    *_teaching(found),
                ]
            )
    heads = [
        "question", "answer", "top-1", "n", "difference", "pairs", "temporary teacher", "its pivot",
    ]  # fmt: skip
    return words.table(heads, rows)


def _answer(other: Alternative, group: str, method: str) -> list[str]:
    where = "" if group == other.group else f" on `{group}`"
    return [f"`{method}`{where}"]


def _reached(found: Mapping[int, Result]) -> list[str]:
    return [words.mean(summarise([*_accuracies(found).values()]) if found else None),
            str(len(found))]  # fmt: skip


def _teaching(found: Mapping[int, Result]) -> list[str]:
    return [words.elected(found.values()), words.pivot([*found.values()])]


def compute(
    results: Sequence[Result], params: Params, runs: Mapping[str, Mapping[str, str]]
) -> str:
    """Arithmetic, counted, and time, measured, by what was trained."""
    sums: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        sums.setdefault((result.recipe, result.dataset, result.group), []).append(result)
    rows = []
    for (recipe, dataset, group), found in sorted(sums.items()):
        flop = [_flop(result, params) for result in found]
        known = [value for value in flop if value is not None]
        counted = in_words(sum(known)) if len(known) == len(flop) else "not known any more"
        seconds = [float(runs[r.fingerprint]["seconds"]) for r in found if r.fingerprint in runs]
        hours = f"{sum(seconds) / 3600:.2f}" if len(seconds) == len(found) else "not recorded"
        rows.append([f"`{recipe}`", dataset, f"`{group}`", str(len(found)), counted, hours])
    heads = ["recipe", "dataset", "group", "runs", "arithmetic", "hours"]
    return words.table(heads, rows) if rows else "Nothing has been run."


def _flop(result: Result, params: Params) -> float | None:
    """Count the arithmetic of a run; None if ``params.yaml`` lost its method or group."""
    method, group = params.methods.get(result.method), params.groups.get(result.group)
    if method is None or group is None:
        return None
    return flop_of_training(method, group, result.epochs, CIFAR, result.training_images)


def _accuracies(results: Mapping[int, Result]) -> dict[int, float]:
    return {seed: result.target.last.top1 for seed, result in results.items()}
