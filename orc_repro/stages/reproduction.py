"""``reproduction``: the paper's claims and what became of them, from files alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from orc_repro.cells import Study, load_cells
from orc_repro.config import Params, load_params
from orc_repro.errors import UserError
from orc_repro.files import read_text, write_atomically
from orc_repro.project import POOLS, evaluated, trained
from orc_repro.report.results import (
    VALIDATION_TOP1,
    History,
    Result,
    read_history,
    read_results,
)
from orc_repro.report.runs import read_runs
from orc_repro.validation import read_json
from orc_repro.verdicts import account, page, teachers
from orc_repro.verdicts.claims import CLAIMS, Claims, load_claims
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
        "claims": page.claims(lines),
        "tests": page.tests(lines),
        "left-out": page.left_out(every, claims),
        "methods": page.methods(results, claims),
        "teachers": _teachers(claims, every, params, runs),
        "tuning": account.tuning(tuned),
        "alternatives": account.alternatives(
            claims.alternatives,
            {
                recipe: by_method(every, claims.model_copy(update={"recipe": recipe}))
                for recipe in {claims.recipe, *(a.recipe for a in claims.alternatives if a.recipe)}
            },
            claims.recipe,
        ),
        "compute": account.compute(every, params, runs),
        "runs": page.provenance(every, runs),
    }
    return page.page(page.PAGE, parts)


def _teachers(
    claims: Claims, every: Sequence[Result], params: Params, runs: Mapping[str, Mapping[str, str]]
) -> str:
    folders = [Path("studies") / POOLS / dataset for dataset in claims.datasets]
    pools = [Study(params, load_cells(folder), folder).cells for folder in folders]
    found = teachers.teachers(pools, every, params)
    files = {one.name: trained(one.dataset) / f"{one.name}.json" for one in found}
    histories = {name: read_json(History, path) for name, path in files.items() if path.exists()}
    return teachers.table(found, histories, runs)


def validation_accuracies(results: Sequence[Result]) -> dict[str, float]:
    """The target's validation accuracy after the last epoch, by the fingerprint of the run."""
    found = {}
    for result in results:
        history = read_history(result, trained(result.dataset))
        found[result.fingerprint] = history.epochs[-1][VALIDATION_TOP1] or 0.0
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
    if not page.PAGE.exists() or read_text(page.PAGE) != text_now():
        raise UserError(f"{page.PAGE} is not what the results give; run `orc-repro reproduction`")
