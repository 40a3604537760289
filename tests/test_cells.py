"""A study's cells against the parameters they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from orc_repro.cells import DEFAULT_STUDY, load_study, load_study_of
from orc_repro.errors import UserError

ROOT = Path(__file__).parents[1]
DEFAULT = ROOT / "studies/default"


def test_top_k_beyond_the_group_is_refused_before_anything_runs(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text().replace("top_k: 1", "top_k: 9"))
    with pytest.raises(UserError, match=r"top_k is 9; group r20-r8 has 2 students, .* 0 to 2"):
        load_study(DEFAULT, path)


def test_what_does_not_exist_names_some_that_do() -> None:
    study = load_study(DEFAULT, ROOT / "params.yaml")
    with pytest.raises(UserError, match=r"has no cell 'nope' .it has digits-r20-r8-ce-s0, "):
        study.cell("nope")
    with pytest.raises(UserError, match=r"no pivot 'nope' .it has digits-resnet20-digits-s0\)"):
        study.pivot("nope")
    with pytest.raises(UserError, match=r"no assistant 'nope' .it has none\)"):
        study.assistant("nope")


def test_a_group_that_lost_its_pivot_is_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    text = (ROOT / "params.yaml").read_text()
    path.write_text(text.replace("r20-r8: {pivot: resnet20", "r20-r8: {pivot: null"))
    with pytest.raises(UserError, match=r"groups\.r20-r8\.pivot is null; kd needs a pivot"):
        load_study(DEFAULT, path)


def test_a_cell_that_a_study_shows_of_a_pool_is_the_pools_wherever_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    pooled = "cifar100-3k-r8-three-tuned-orc-s0"
    for study in (Path("studies/scaled_table08"), Path("studies/pools/cifar100-3k"), DEFAULT_STUDY):
        found = load_study_of(pooled, study)
        assert (found.name, found.cell(pooled).study) == ("cifar100-3k", "cifar100-3k")
    assert load_study_of("digits-r20-r8-orc-s0").name == "default"
    for study in (DEFAULT_STUDY, Path("studies/scaled_table08")):
        with pytest.raises(UserError, match="has no cell 'nobody'"):
            load_study_of("nobody", study).cell("nobody")
