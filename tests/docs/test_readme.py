"""The README's numbers are those of the results, and its files and folders exist."""

from __future__ import annotations

import re
from statistics import mean

import yaml

from orc_repro import __version__
from orc_repro.report.results import read_results
from tests.project import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
GROUPS = {
    "ResNet20; 14, 8, **8**": ("cifar100-3k", "r20-three"),
    "ResNet26; 20, **14**": ("cifar100-3k", "r26-r14"),
    "ResNet8; 8, **8**": ("cifar100-3k", "r8-three"),
    "ResNet26; 20, 14, **8**": ("cifar10-3k", "r26-r8"),
}
METHODS = {
    "alone": "ce",
    "KD": "tuned-kd",
    "ORC": "tuned-orc",
    **{name: f"tuned-{name.lower()}" for name in ("TAKD", "DGKD", "DML", "KDCL", "ONE")},
}


def test_measured_numbers_are_those_of_five_seeds() -> None:
    lines = [line for line in TEXT.splitlines() if line.startswith("| CIFAR-")]
    assert lines
    compared = 0
    for line in lines:
        _, group, alone, kd, orc, others = (cell.strip() for cell in line.strip("|").split("|"))
        dataset, name = GROUPS[group]
        reached: dict[str, list[float]] = {}
        for result in read_results(ROOT / "results" / dataset / "evaluated"):
            if (result.group, result.recipe) == (name, "scaled"):
                reached.setdefault(result.method, []).append(result.target.last.top1)
        shown = {"alone": alone, "KD": kd, "ORC": orc}
        shown |= dict(re.findall(r"([A-Z]+) ([\d.]+)", others))
        for method, number in shown.items():
            values = reached[METHODS[method]]
            assert len(values) == 5
            assert number == f"{mean(values):.2f}", (group, method)
            compared += 1
    assert compared >= 3 * len(lines)


def test_what_it_links_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", TEXT):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_the_citation_has_the_version_of_the_code() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
