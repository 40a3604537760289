"""The numbers of ``reports/reproduction.md``; the judgement around them is written by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from orc_repro.errors import UserError
from orc_repro.files import read_text
from orc_repro.project import REPORTS
from orc_repro.report.results import Result
from orc_repro.report.statistics import LEAST_SEEDS, summarise
from orc_repro.verdicts import words
from orc_repro.verdicts.claims import Claims
from orc_repro.verdicts.judge import Judged, Key, Line, counts

PAGE = REPORTS / "reproduction.md"


def fill(text: str, parts: Mapping[str, str]) -> str:
    """Replace what stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.

    Raises:
        UserError: a part has no place in the text, or a place has no part.
    """
    named = re.findall(r"<!-- begin ([a-z-]+) -->", text)
    if sorted(named) != sorted(parts):
        raise UserError(
            f"{PAGE} has places for {', '.join(sorted(named)) or 'nothing'};"
            f" what is generated is {', '.join(sorted(parts))}"
        )
    for name, part in parts.items():
        place = re.compile(f"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        match = place.search(text)
        if match is None:
            raise UserError(f"{PAGE} has no '<!-- end {name} -->' after its beginning")
        text = f"{text[: match.end(1)]}\n{part.rstrip()}\n\n{text[match.start(2) :]}"
    return text


def verdicts(lines: Sequence[Line]) -> str:
    """The claims and what they came to, each with its weakest test."""
    rows = []
    for number, line in enumerate(lines, 1):
        found = line.weakest.difference.paired
        rows.append(
            [
                str(number),
                line.claim.says,
                ", ".join(map(str, line.claim.tables)),
                _verdict(line),
                _names(line.weakest),
                words.interval(found),
                words.p_words(line.weakest.adjusted_p),
                str(found.n if found else 0),
            ]
        )
    heads = ["#", "claim", "tables", "verdict", "weakest test", "difference", "adjusted p", "n"]
    return words.table(heads, rows)


def _verdict(line: Line) -> str:
    if line.verdict == "not run":
        return f"**{line.verdict}**"
    if line.verdict == "incomplete":
        enough = sum(
            found.n >= LEAST_SEEDS for judged in line.tests if (found := judged.difference.paired)
        )
        return f"**incomplete**: {enough} of {len(line.tests)} tests have {LEAST_SEEDS} seeds"
    return f"**{line.verdict}**" + ("" if line.complete else ", preliminary")


def claims(lines: Sequence[Line]) -> str:
    """What is known of the paper's own claims, and what of ours is a guess."""
    rows = [[str(number), line.claim.says, line.claim.record, line.claim.guess]
            for number, line in enumerate(lines, 1)]  # fmt: skip
    return words.table(["#", "claim", "on record", "our guess"], rows)


def left_out(results: Sequence[Result], declared: Claims) -> str:
    """Declared cells that count for no test, and why."""
    found = {(r.dataset, r.group, r.method, r.seed): r for r in results if counts(r, declared)}
    rows = []
    for place in wanted(declared):
        missing = [seed for seed in declared.seeds if (*place, seed) not in found]
        if missing:
            seeds = ", ".join(map(str, missing))
            rows.append([f"{place[0]}, `{place[1]}`", f"`{place[2]}`", seeds, words.NOT_RUN])
        rows += [
            [f"{place[0]}, `{place[1]}`", f"`{place[2]}`", str(seed), "; ".join(run.not_finite)]
            for seed in declared.seeds
            if (run := found.get((*place, seed))) and run.not_finite
        ]
    if not rows:
        return "None: every cell that a test needs was run, and every value stayed finite."
    return words.table(["where", "method", "seeds", "why"], rows)


def wanted(declared: Claims) -> list[Key]:
    """Every method on every group that some test needs, once."""
    return [
        *dict.fromkeys(
            (test.dataset, test.group, method)
            for claim in declared.claims
            for test in claim.tests
            for method in (test.better, test.worse)
        )
    ]


def tests(lines: Sequence[Line]) -> str:
    """Every test of every claim."""
    rows = [
        [
            str(number),
            f"{judged.test.dataset}, `{judged.test.group}`",
            _names(judged),
            words.mean(judged.better),
            words.mean(judged.worse),
            words.interval(judged.difference.paired),
            words.p_words(judged.difference.p),
            words.p_words(judged.adjusted_p),
            words.welch(judged.difference.welch),
            str(judged.difference.paired.n if judged.difference.paired else 0),
        ]
        for number, line in enumerate(lines, 1)
        for judged in line.tests
    ]
    heads = [
        "#",
        "where",
        "test",
        "better",
        "worse",
        "paired difference",
        "p",
        "Holm",
        "Welch",
        "n",
    ]
    return words.table(heads, rows)


def methods(results: Mapping[Key, Mapping[int, Result]], declared: Claims) -> str:
    """What each method reached, who was its temporary teacher, and what became of its pivot."""
    rows = []
    for dataset, group, method in wanted(declared):
        runs = [*results.get((dataset, group, method), {}).values()]
        reached = summarise([run.target.last.top1 for run in runs]) if runs else None
        rows.append(
            [dataset, f"`{group}`", f"`{method}`", words.mean(reached), str(len(runs)),
             words.elected(runs), words.pivot(runs)]
        )  # fmt: skip
    heads = ["dataset", "group", "method", "top-1", "n", "temporary teacher", "its pivot's top-1"]
    return words.table(heads, rows)


def provenance(results: Sequence[Result], runs: Mapping[str, Mapping[str, str]]) -> str:
    """One row a run: its number, and where that came from."""
    rows = []
    for result in sorted(results, key=lambda r: (r.recipe, r.dataset, r.group, r.method, r.seed)):
        run = runs.get(result.fingerprint, {})
        rows.append(
            [f"`{result.recipe}`", f"{result.dataset}, `{result.group}`", f"`{result.method}`",
             str(result.seed), f"{result.target.last.top1:.2f}", run.get("run_id", ""),
             run.get("commit", ""), result.fingerprint[:12], run.get("seconds", "")]
        )  # fmt: skip
    heads = [
        "recipe", "where", "method", "seed", "top-1", "run id", "commit", "fingerprint", "seconds",
    ]  # fmt: skip
    return words.table(heads, rows) if rows else "Nothing has been run."


def _names(judged: Judged) -> str:
    return f"`{judged.test.better}` - `{judged.test.worse}`"


def page(path: Path, parts: Mapping[str, str]) -> str:
    """The text of a page with its generated parts as they are now.

    Raises:
        UserError: the page is missing, or see :func:`fill`.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; it is written by hand around what is generated")
    return fill(read_text(path), parts)
