"""``reproduction``: the paper's claims and what became of them, from files alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orc_repro.config import load_params
from orc_repro.errors import UserError
from orc_repro.files import write_atomically
from orc_repro.page.files import read_runs
from orc_repro.project import evaluated, trained
from orc_repro.report.results import History, Result, read_results
from orc_repro.validation import read_json
from orc_repro.verdicts import account, page
from orc_repro.verdicts.claims import CLAIMS, load_claims
from orc_repro.verdicts.judge import by_method, judge
from orc_repro.verdicts.tuning import choices


def text_now() -> str:
    """``reports/reproduction.md`` with the numbers that the results give.

    Raises:
        UserError: the claims or the page are not as they have to be.
    """
    params = load_params()
    claims = load_claims(params)
    every = [r for dataset in claims.datasets for r in read_results(evaluated(dataset))]
    results, runs = by_method(every, claims), read_runs()
    lines = judge(claims, results)
    tuned = (
        ()
        if claims.tuning is None
        else choices(claims.tuning, params, every, validation_accuracies(every))
    )
    parts = {
        "verdicts": page.verdicts(lines),
        "tests": page.tests(lines),
        "methods": page.methods(results, claims),
        "tuning": account.tuning(tuned),
        "alternatives": account.alternatives(claims.alternatives, results),
        "compute": account.compute(every, params, runs),
        "runs": page.provenance(results, runs),
    }
    return page.page(page.PAGE, parts)


def validation_accuracies(results: Sequence[Result]) -> dict[str, float]:
    """The target's validation accuracy after the last epoch, by the fingerprint of the run."""
    found = {}
    for result in results:
        history = read_json(History, trained(result.dataset) / f"{result.cell}.json")
        found[result.fingerprint] = history.epochs[-1]["val/top1"] or 0.0
    return found


def write_reproduction() -> Path:
    """Bring the page's numbers up to date."""
    write_atomically(page.PAGE, text_now().encode())
    return page.PAGE


def check_reproduction() -> None:
    """Check the page, where there are claims.

    Raises:
        UserError: it is not what the results give.
    """
    if not CLAIMS.exists():
        return
    if not page.PAGE.exists() or page.PAGE.read_text(encoding="utf-8") != text_now():
        raise UserError(f"{page.PAGE} is not what the results give; run `orc-repro reproduction`")
