"""What alternatives change, and what all of it cost."""

from __future__ import annotations

from orc_repro.config import load_params
from orc_repro.verdicts import account
from orc_repro.verdicts.claims import Alternative
from tests.project import ROOT
from tests.verdicts.made import result


def test_an_alternative_is_compared_with_its_baseline_by_seed() -> None:
    other = Alternative(
        asks="why?",
        dataset="d",
        group="g",
        baseline="a",
        methods=("b", "c"),
        elsewhere={"h": ("b",)},
    )
    again = Alternative(asks="how?", dataset="d", group="g", baseline="a", methods=("b",))
    results = {
        ("d", "g", "a"): {seed: result("a", seed, 50.0 + seed) for seed in range(3)},
        ("d", "g", "b"): {seed: result("b", seed, 52.0 + 2 * seed) for seed in range(2)},
        ("d", "h", "b"): {0: result("b", 0, 51.0)},
    }
    # Differences 2 and 3 over the two seeds that both have: mean 2.5, half-width
    # 12.706 * 0.7071 / 1.4142 = 6.353.
    longer = again.model_copy(update={"recipe": "long"})
    shown = account.alternatives([other, again, longer], {"short": results}, "short")
    assert shown.count("| *d, `g`, `short`* | `a` | 51.00 ± 1.00 | 3 |  |  |") == 1
    assert "| why? | `b` | 53.00 ± 1.41 | 2 | +2.50 (-3.85 to +8.85) | 2 |" in shown
    assert "|  | `c` | not run | 0 | not run | 0 |" in shown
    assert "|  | `b` on `h` | 51.00 | 1 | +1.00 | 1 |" in shown
    assert "| how? | `b` | 53.00 ± 1.41 |" in shown
    assert "| *d, `g`, `long`* | `a` | not run | 0 |" in shown


def test_what_was_spent_is_summed_by_group() -> None:
    params = load_params(ROOT / "params.yaml")
    # ResNet8 has 12.5 million multiplications an image here; alone, three passes' worth.
    runs = [result("ce", seed, 1.0, dataset="cifar10-3k", group="r26-r8") for seed in (0, 1)]
    shown = account.compute(runs, params, {"ce0": {"seconds": "1800.0"}})
    assert "| `scaled` | cifar10-3k | `r26-r8` | 2 | 12 GFLOP | not recorded |" in shown
    known = {"ce0": {"seconds": "1800.0"}, "ce1": {"seconds": "900.0"}}
    assert "| 0.75 |" in account.compute(runs, params, known)
    assert account.compute([], params, {}) == "Nothing has been run."
    # Methods and groups of results that no study shows any more may be gone.
    gone = [result("gone", 0, 1.0, dataset="cifar10-3k", group="r26-r8")]
    assert "| not known any more |" in account.compute([*runs, *gone], params, {})
