"""Published orders of methods beside measured ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orc_repro.published.tables import OTHER_PROTOCOL, Claim
from orc_repro.report.paper_protocol import Protocol
from orc_repro.report.statistics import Summary, direction, paired_difference

if TYPE_CHECKING:
    from orc_repro.report.tables import Comparison, MethodRow

Verdict = Literal["agrees", "contradicts", "undecided", "not run", "no method of ours"]


@dataclass(frozen=True)
class ClaimLine:
    """A published order of two methods, and what our cells say of it.

    Attributes:
        table: the published table's id.
        networks: of our comparison; of the claim where there is none.
        comparison: where both methods are declared; None if nowhere.
        better: our method that is said to be better; None without one. ``worse`` likewise.
        difference: better - worse, paired by seed, in points of top-1 accuracy after the last
            epoch; None if no seed has both.
        verdict: ``agrees`` and ``contradicts`` only where :func:`direction` has a sign.
        flags: what differs from the published protocol in either method, or that it is not known
            to be the table's; empty if not run.
    """

    table: str
    claim: Claim
    networks: str | None
    comparison: Comparison | None
    better: str | None
    worse: str | None
    difference: Summary | None
    verdict: Verdict
    flags: tuple[str, ...]


def claim_lines(
    table: str,
    claim: Claim,
    comparisons: Sequence[Comparison],
    networks: Mapping[str, str | None],
    protocol: Protocol,
) -> list[ClaimLine]:
    """A claim, once for each pair of our methods and comparison that it speaks of; never none.

    A claim without networks speaks of every comparison.
    """
    names = protocol.paper.names
    pairs = [
        (better, worse)
        for better in names
        for worse in names
        if better != worse and claim.better in names[better] and claim.worse in names[worse]
    ]
    if not pairs:
        none: Verdict = "no method of ours"
        return [ClaimLine(table, claim, claim.networks, None, None, None, None, none, ())]
    lines: list[ClaimLine] = []
    for better, worse in pairs:
        before = len(lines)
        for comparison in comparisons:
            place = networks[comparison.group]
            rows = {row.method: row for row in comparison.rows}
            if claim.networks not in (None, place) or not {better, worse} <= rows.keys():
                continue
            ours, theirs = rows[better], rows[worse]
            difference = paired_difference(_top1(ours), _top1(theirs))
            ran = bool(ours.results and theirs.results)
            flags = [f for row in (ours, theirs) for f in protocol.flags(row, len(row.results))]
            if not claim.protocol:
                flags.append(f"claims of {table}: {OTHER_PROTOCOL}")
            lines.append(
                ClaimLine(
                    table, claim, place, comparison, better, worse, difference,
                    _verdict(difference) if ran else "not run",
                    tuple(dict.fromkeys(flags)) if ran else (),
                )
            )  # fmt: skip
        if len(lines) == before:
            lines.append(
                ClaimLine(table, claim, claim.networks, None, better, worse, None, "not run", ())
            )
    return lines


def _top1(row: MethodRow) -> dict[int, float]:
    return {seed: result.target.last.top1 for seed, result in row.results.items()}


def _verdict(difference: Summary | None) -> Verdict:
    verdicts: dict[int, Verdict] = {1: "agrees", -1: "contradicts"}
    return verdicts.get(direction(difference), "undecided")
