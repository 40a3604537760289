"""What of params.yaml a promotion changes, and what it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from orc_repro.errors import UserError
from orc_repro.search.promotion import promote
from orc_repro.yaml_files import read_yaml
from tests.project import ROOT
from tests.search.files import content

GROUP = """
groups:
  # the first, in español
  small:
    students:
    - resnet8.a
    - resnet8  # the target

    # A comment that belongs to what follows.
    target: resnet8
    pivot: resnet14
  # another
  other:
    pivot: resnet14
    target: resnet8
    students:
    - resnet8.a
    - resnet8

  # Not of that list, either.
"""


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A search with two groups' lists in its answer; it is in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(yaml.safe_dump(content()))
    before = (ROOT / "params.yaml").read_text()
    assert before.count("\ngroups:\n") == 1
    Path("params.yaml").write_text(before.replace("\ngroups:\n", GROUP))
    Path("reports/studies/small-v1").mkdir(parents=True)
    best = {name: {"students": ["resnet8"]} for name in ("small", "other")}
    Path("reports/studies/small-v1/best.yaml").write_text(yaml.safe_dump({"groups": best}))
    return Path("small.yaml")


def test_comments_behind_a_list_stay(search: Path) -> None:
    before = Path("params.yaml").read_text()
    lines = promote(search)
    assert lines == [f"groups.{name}.students: [resnet8.a, resnet8] -> [resnet8]"
                     for name in ("small", "other")]  # fmt: skip
    old = "students:\n    - resnet8.a\n    - resnet8"
    changed = GROUP.replace(old, "students: [resnet8]")
    assert Path("params.yaml").read_text() == before.replace(GROUP, changed)
    groups = read_yaml(Path("params.yaml"))["groups"]
    assert groups["small"]["students"] == groups["other"]["students"] == ["resnet8"]
    assert promote(search) == ["params.yaml has these values already"]


def test_a_value_that_entries_share_is_not_changed_for_both(search: Path) -> None:
    path = Path("params.yaml")
    shared = "\ngroups:\n  small: &small {pivot: resnet14, students: [resnet8], target: resnet8}\n"
    path.write_text(path.read_text().replace(GROUP, f"{shared}  other: *small\n"))
    before = path.read_text()
    with pytest.raises(UserError, match=r"params\.yaml, line \d+: .*\*small"):
        promote(search)
    assert path.read_text() == before
