"""Verdicts by the protocol's rules, on made accuracies."""

from __future__ import annotations

import pytest

from orc_repro.config import load_params
from orc_repro.errors import UserError
from orc_repro.report.results import Result
from orc_repro.verdicts import page
from orc_repro.verdicts.claims import CLAIMS, Claims, load_claims
from orc_repro.verdicts.judge import by_method, judge
from orc_repro.yaml_files import read_yaml
from tests.project import ROOT
from tests.verdicts.made import result

SEEDS = (0, 1, 2)
NOISE = (0.0, 0.1, -0.1)


def claims(*pairs: tuple[str, str]) -> Claims:
    return Claims.model_validate(
        {
            "recipe": "scaled",
            "seeds": SEEDS,
            "level": 0.05,
            "claims": [
                {
                    "says": "the first is better",
                    "tables": (1,),
                    "record": "a note has it",
                    "tests": [
                        {"dataset": "d", "group": "g", "better": better, "worse": worse}
                        for better, worse in pairs
                    ],
                }
            ],
        }
    )


def results(**means: float) -> list[Result]:
    """Three seeds a method; noise differs from method to method, or pairing would be perfect."""
    return [
        result(method, seed, mean + NOISE[(seed + shift) % 3])
        for shift, (method, mean) in enumerate(means.items())
        for seed in SEEDS
    ]


def verdict_of(declared: Claims, found: list[Result]) -> str:
    (line,) = judge(declared, by_method(found, declared))
    return line.verdict


def test_every_test_has_to_be_clearly_positive() -> None:
    declared = claims(("a", "b"), ("a", "c"))
    assert verdict_of(declared, results(a=60, b=50, c=50)) == "supported"
    assert verdict_of(declared, results(a=60, b=50, c=60)) == "undecided at this scale"
    assert verdict_of(declared, results(a=60, b=50, c=70)) == "not supported"
    assert verdict_of(declared, results(a=60, b=60.1, c=70)) == "not supported"


def test_what_was_not_run_has_no_verdict() -> None:
    declared = claims(("a", "b"), ("a", "c"))
    assert verdict_of(declared, results(a=60, b=50)) == "incomplete"
    assert verdict_of(declared, results(b=50, c=60)) == "not run"
    assert verdict_of(declared, []) == "not run"


def test_what_speaks_against_a_claim_decides_it_whatever_is_missing() -> None:
    declared = claims(("a", "b"), ("a", "c"))
    found = results(a=60, b=70)
    assert verdict_of(declared, found) == "not supported"
    (line,) = judge(declared, by_method(found, declared))
    assert not line.complete
    assert "**not supported**, preliminary" in page.verdicts([line])


def test_two_seeds_say_nothing_however_alike_their_differences_are() -> None:
    declared = claims(("a", "b"))
    two = [result("a", seed, 53.0) for seed in (0, 1)] + [
        result("b", seed, 50.0) for seed in (0, 1)
    ]
    assert verdict_of(declared, two) == "incomplete"
    (line,) = judge(declared, by_method(two, declared))
    assert "**incomplete**: 0 of 1 tests have 3 seeds" in page.verdicts([line])


def test_equal_differences_are_undecided() -> None:
    declared = claims(("a", "b"), ("a", "c"))
    same = [result(name, seed, mean) for name, mean in (("a", 53.0), ("b", 50.0)) for seed in SEEDS]
    assert verdict_of(claims(("a", "b")), same) == "undecided at this scale"
    # They are weaker than a test that is clearly positive, and do not hide one that is not run.
    clear = [result("c", seed, 40 + by) for seed, by in zip(SEEDS, NOISE, strict=True)]
    (line,) = judge(declared, by_method([*same, *clear], declared))
    assert (line.verdict, line.weakest.test.worse) == ("undecided at this scale", "b")
    assert verdict_of(declared, same) == "incomplete"


def test_the_number_of_tests_counts() -> None:
    # One test: differences 1.0, 1.2, 0.8 (sd 0.2), t = 8.7, p = 0.013; five times that is 0.065.
    a = [result("a", seed, 50 + by) for seed, by in zip(SEEDS, (1.0, 1.2, 0.8), strict=True)]
    rest = [result(name, seed, 50) for name in "bcdef" for seed in SEEDS]
    assert verdict_of(claims(("a", "b")), [*a, *rest]) == "supported"
    five = claims(*[("a", name) for name in "bcdef"])
    assert verdict_of(five, [*a, *rest]) == "undecided at this scale"


def test_the_weakest_test_stands_for_its_claim() -> None:
    declared = claims(("a", "b"), ("a", "c"))
    (line,) = judge(declared, by_method(results(a=60, b=50, c=70), declared))
    assert line.weakest.test.worse == "c" and line.complete
    (line,) = judge(declared, by_method(results(a=60, b=50), declared))
    assert line.weakest.test.worse == "c" and not line.complete
    # Differences 0.9, 1.1, 1 and 2.9, 3.1, 3: both are adjusted to the larger of 2 p and 1 p.
    ties = [result(name, seed, mean + by)
            for name, mean, noise in (("a", 53, (0, 0, 0)), ("b", 50, NOISE), ("c", 51, (0, 1, -1)))
            for seed, by in zip(SEEDS, noise, strict=True)]  # fmt: skip
    (line,) = judge(declared, by_method(ties, declared))
    assert line.weakest.test.worse == "c"


def test_only_declared_seeds_of_the_recipe_that_stayed_finite_count() -> None:
    declared = claims(("a", "b"))
    odd = [
        result("a", 7, 1.0),
        result("a", 0, 1.0, recipe="another"),
        result("b", 1, 1.0, not_finite=("b: loss",)),
    ]
    found = by_method(odd, declared)
    assert found == {}
    two = [result("a", 0, 1.0), result("a", 1, 1.0, row="another")]
    with pytest.raises(UserError, match="of a on d, g, are of several configurations"):
        by_method(two, declared)


def test_the_page_has_every_number_with_its_origin() -> None:
    declared = claims(("a", "b"))
    found = by_method(results(a=60, b=50), declared)
    found["d", "g", "a"][0] = result(
        "a", 0, 60.0, elected={"x": 30, "y": 10}, role_changes=4, pivot_before=70.0
    )
    lines = judge(declared, found)
    assert "| 1 | the first is better | 1 | **supported** | `a` - `b` | +10.0" in page.verdicts(
        lines
    )
    assert "| d, `g` | `a` - `b` | 60.00 ± 0.10 | 50.00 ± 0.10 |" in page.tests(lines)
    assert "x 75 %, y 25 %" in page.methods(found, declared)
    known = {"a0": {"run_id": "r1", "commit": "c1", "seconds": "9.0"}}
    runs = [run for seeds in found.values() for run in seeds.values()]
    shown = page.provenance(runs, known)
    assert "| `scaled` | d, `g` | `a` | 0 | 60.00 | r1 | c1 | a0 | 9.0 |" in shown
    assert "| 1 | the first is better | a note has it | nothing |" in page.claims(lines)
    four = declared.model_copy(update={"seeds": (*SEEDS, 3)})
    few = judge(four, by_method(results(a=60, b=50), four))
    assert "**supported**, preliminary" in page.verdicts(few)


def test_what_counts_for_no_test_is_listed_with_the_reason() -> None:
    declared = claims(("a", "b"))
    found = results(a=60, b=50)
    assert page.left_out(found, declared).startswith("None: every cell that a test needs was run")
    found[1] = result("a", 1, 60.0, not_finite=("b: loss in epoch 0, step 3",))
    shown = page.left_out([*found[:-2], result("b", 7, 1.0)], declared)
    assert "| d, `g` | `a` | 1 | b: loss in epoch 0, step 3 |" in shown
    assert "| d, `g` | `b` | 1, 2 | not run |" in shown


def test_only_what_is_between_the_marks_is_replaced() -> None:
    text = "before\n<!-- begin one -->\nold\n<!-- end one -->\nafter\n"
    assert page.fill(text, {"one": "new"}) == text.replace("old", "\nnew\n")
    assert page.fill(page.fill(text, {"one": r"\1"}), {"one": "new"}) == page.fill(
        text, {"one": "new"}
    )
    with pytest.raises(UserError, match="has places for one; what is generated is two"):
        page.fill(text, {"two": "new"})
    with pytest.raises(UserError, match="has no '<!-- end one -->'"):
        page.fill(text.replace("end one", "end other"), {"one": "new"})


def test_the_declared_claims_name_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    params = load_params(ROOT / "params.yaml")
    declared = load_claims(params, ROOT / CLAIMS)
    assert len(declared.claims) == 7
    # Each cell that a test needs is declared by a scaled study, for every seed.
    cells = {
        (cell["recipe"], cell["dataset"], cell["group"], cell["method"], cell["seed"])
        for path in ROOT.glob("studies/scaled_*/cells.yaml")
        for cell in read_yaml(path)["cells"].values()
    }
    recipe = declared.recipe
    for claim in declared.claims:
        for test in claim.tests:
            for method in (test.better, test.worse):
                for seed in declared.seeds:
                    assert (recipe, test.dataset, test.group, method, seed) in cells
    for other in declared.alternatives:
        for group, method in ((other.group, other.baseline), *other.answers):
            recipe = other.recipe or declared.recipe
            assert all((recipe, other.dataset, group, method, seed) in cells for seed in SEEDS)
            assert params.groups[group].target == params.groups[other.group].target
    broken = params.model_copy(update={"methods": {}})
    with pytest.raises(UserError, match=r"params\.yaml has no method 'ce'"):
        load_claims(broken, ROOT / CLAIMS)
