"""``reproduction``: the paper's claims and what became of them, from files alone."""

from __future__ import annotations

from pathlib import Path

from orc_repro.config import load_params
from orc_repro.errors import UserError
from orc_repro.files import write_atomically
from orc_repro.page.files import read_runs
from orc_repro.project import evaluated
from orc_repro.report.results import read_results
from orc_repro.verdicts import page
from orc_repro.verdicts.claims import CLAIMS, load_claims
from orc_repro.verdicts.judge import by_method, judge


def text_now() -> str:
    """``reports/reproduction.md`` with the numbers that the results give.

    Raises:
        UserError: the claims or the page are not as they have to be.
    """
    claims = load_claims(load_params())
    datasets = dict.fromkeys(test.dataset for claim in claims.claims for test in claim.tests)
    results = by_method([r for d in datasets for r in read_results(evaluated(d))], claims)
    lines = judge(claims, results)
    parts = {
        "verdicts": page.verdicts(lines),
        "tests": page.tests(lines),
        "methods": page.methods(results, claims),
        "runs": page.provenance(results, read_runs()),
    }
    return page.page(page.PAGE, parts)


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
