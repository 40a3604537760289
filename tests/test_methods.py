"""The list of methods."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from orc_repro.config import FeatureConfig, load_params
from orc_repro.distill import METHODS, SOURCES
from orc_repro.methods import FEATURES, overview

ROOT = Path(__file__).parents[1]


def told() -> dict[str, str]:
    lines = overview(load_params(ROOT / "params.yaml"))
    return {line.split()[0]: line.split("  ", 1)[1].strip() for line in lines}


def test_every_method_has_one_line_and_every_kind_a_source() -> None:
    params = load_params(ROOT / "params.yaml")
    lines = overview(params)
    assert [line.split()[0] for line in lines] == list(params.methods)
    assert set(SOURCES) == set(METHODS) == {method.kind for method in params.methods.values()}


def test_a_variant_says_what_it_changes_and_nothing_else() -> None:
    lines = told()
    assert lines["kd"] == "Hinton, Vinyals, Dean 2015: one frozen teacher"
    assert lines["kd-half"] == "kd with beta 0.5"
    assert lines["kdcl-linear"] == "kdcl-naive with ensemble linear"
    assert lines["orc-deepest"] == "orc with promotion.rule deepest"
    assert lines["orc-group-only"] == ("orc with intensive.material none, teaching.private False")


def test_a_tuned_method_says_so_and_so_does_what_stands_beside_it() -> None:
    lines = told()
    tuned = "its free parameter tuned (scaled reproduction)"
    assert lines["tuned-orc"] == f"as orc, {tuned}"
    assert lines["tuned-kd"] == f"kd with beta 0.3, {tuned}"
    assert lines["tuned-kdcl"] == f"kdcl-naive with ensemble minlogit, {tuned}"
    assert lines["tuned-kd-low"] == "as tuned-kd, tried in tuning"
    assert lines["tuned-kd-high"] == "tuned-kd with beta 0.9, tried in tuning"
    assert lines["tuned-dgkd-chain"] == "tuned-dgkd with beta 0.5, for its assistants"
    assert lines["tuned-orc-mean"] == "tuned-orc with teaching.group mean"
    assert all("tuned" in line for name, line in lines.items() if name.startswith("tuned-"))


def test_a_loss_on_features_has_a_source_of_its_own() -> None:
    lines = told()
    assert set(FEATURES) == set(get_args(FeatureConfig.model_fields["loss"].annotation))
    for loss, (title, by) in {
        "fitnet": ("FitNet", "Romero et al., ICLR 2015"),
        "at": ("AT", "Zagoruyko, Komodakis, ICLR 2017"),
        "vid": ("VID", "Ahn et al., CVPR 2019"),
        "rkd": ("RKD", "Park et al., CVPR 2019"),
        "pkt": ("PKT", "Passalis, Tefas, ECCV 2018"),
    }.items():
        assert lines[loss].startswith(f"{title}, {by}: ")
        assert lines[loss].endswith("by torchdistill")
