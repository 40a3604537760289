"""params.yaml: what is refused, and in which words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from orc_repro.config import Params, architecture_of, load_params
from orc_repro.errors import UserError

PARAMS = Path(__file__).parents[1] / "params.yaml"
FIRST_MOMENTUM = 1 + next(
    i for i, line in enumerate(PARAMS.read_text().splitlines()) if "momentum: 0.9" in line
)


@pytest.fixture
def params() -> Params:
    return load_params(PARAMS)


def refused(tmp_path: Path, old: str, new: str) -> str:
    """The sentence with which a changed params.yaml is refused."""
    text = PARAMS.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "params.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_params(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    sentence = sentence.removeprefix(f"{path}: ").removeprefix(f"{path}, ")
    return re.sub(r" \(and \d+ more\)$", "", sentence)


def test_the_files_own_values_are_read(params: Params) -> None:
    orc = params.methods["orc"]
    assert orc.kind == "orc"
    assert (orc.temperature, orc.beta, orc.promotion.top_k) == (4.0, 0.5, 1)
    assert params.recipes["digits"].optimizer.weight_decay == 5e-4
    assert params.groups["r26-r8"].students == ("resnet20", "resnet14", "resnet8")


def test_crd_learning_rate_is_lower_for_the_mobile_networks(params: Params) -> None:
    optimizer = params.recipes["cifar100-crd"].optimizer
    rates = [optimizer.learning_rate_of(n) for n in ("resnet20", "mobilenetv2", "shufflenetv1.a")]
    assert rates == [0.05, 0.01, 0.01]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("temperature: 4.0, beta: 0.9", "temperature: 0, beta: 0.9",
         "methods.kd.temperature is 0; it must be at least 0.01 and at most 1000"),
        ("beta: 0.9", "beta: 1.1", "methods.kd.beta is 1.1; it must be at least 0 and at most 1"),
        ("  orc-random:", "  orc.random:",
         "methods.orc.random: a name has no dot; DVC takes it for a path in the file"),
        ("epochs: 14", "epochs: twenty",
         "recipes.digits.epochs is 'twenty'; it must be a valid integer"),
        ("epochs: 14", "epochs: 20.0",
         "recipes.digits.epochs is 20.0; it must be a valid integer"),
        ("epochs: 14", "epoch: 20", "unknown key recipes.digits.epoch"),
        ("top_k: 1", "top_k: -1",
         "methods.orc.promotion.top_k is -1; it must be at least 0 and at most 100"),
        ("criterion: loss", "criterion: size",
         "methods.orc.ranking.criterion is 'size'; it must be 'loss', 'accuracy' or 'improvement'"),
        ("smoothing: 0.0", "smoothing: 1.0",
         "methods.orc.ranking.smoothing is 1.0; it must be at least 0 and below 1"),
        ("alpha: 1.0", "alpha: .nan", "methods.orc.mixup.alpha is nan; it must be a finite number"),
        ("kind: kd", "kind: dk", "methods.kd has kind 'dk'; it must be 'ce', 'kd', 'takd', 'dgkd',"
         " 'feature', 'dml', 'kdcl', 'one', 'orc'"),
        ("enabled: true", "enabled: yes",
         "tracking.enabled is 'yes'; it must be a valid boolean"),
        ("{milestones_epochs: [9, 11, 13]", "{milestones_epochs: [16, 12]",
         "recipes.digits.schedule: milestones_epochs must ascend, got [16, 12]"),
        ("[resnet20, resnet14, resnet8], target: resnet8",
         "[resnet20, resnet14, resnet8], target: resnet44",
         "groups.r26-r8: target 'resnet44' is not among the students: resnet20, resnet14, resnet8"),
        ("[resnet20, resnet14, resnet8], target: resnet8",
         "[resnet20, resnet8, resnet8], target: resnet8",
         "groups.r26-r8: 'resnet8' is named twice; tell them apart as 'resnet8.a', 'resnet8.b'"),
        ("students: [resnet14, resnet8]", "students: []",
         "groups.r20-r8.students is []; Tuple should have at least 1 item after validation, not 0"),
        ("momentum: 0.9", "momentum: 0.9\n      momentum: 0.8",
         f"line {FIRST_MOMENTUM + 1}: the key 'momentum' is given twice"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_value_and_what_is_allowed(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    assert refused(tmp_path, old, new) == sentence


def test_an_unknown_network_lists_the_known_ones(tmp_path: Path) -> None:
    sentence = refused(tmp_path, "pivot: resnet26", "pivot: resnet27")
    assert sentence.startswith("groups.r26-r8: unknown network 'resnet27'; known networks: ")
    assert "resnet26" in sentence and "wrn_40_2" in sentence


def test_a_missing_or_broken_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load_params(tmp_path / "nowhere.yaml")
    path = tmp_path / "params.yaml"
    for text in ("a: [1", "- 1", "a: !!python/object/apply:os.system [ls]"):
        path.write_text(text)
        with pytest.raises(UserError) as caught:
            load_params(path)
        assert "\n" not in str(caught.value)


def test_a_config_cannot_be_changed(params: Params) -> None:
    with pytest.raises(ValidationError):
        params.recipes["digits"].epochs = 3


def test_a_label_does_not_change_the_architecture() -> None:
    assert architecture_of("resnet20.b") == architecture_of("resnet20") == "resnet20"
