"""Which probes a result depends on."""

from __future__ import annotations

from pathlib import Path

import pytest

from orc_repro.config import OrcConfig, load_params
from orc_repro.distill import METHODS as KINDS
from orc_repro.models import names
from orc_repro.probes.behaviour import read_digests
from orc_repro.probes.catalogue import (
    METHODS,
    OPTIONS,
    evaluation_probes,
    preparation_probes,
    probed_method,
    probes,
    training_probes,
)
from orc_repro.validation import parse
from orc_repro.yaml_files import read_yaml
from tests.helpers import orc_config
from tests.project import ROOT

PARAMS = load_params(ROOT / "params.yaml")
DIGITS, CRD = PARAMS.recipes["digits"], PARAMS.recipes["cifar100-crd"]


def used(method: OrcConfig) -> set[str]:
    """The probes of a method alone."""
    listed = training_probes("train", (), method, DIGITS)
    return {name.removeprefix("method/") for name in listed if name.startswith("method/")}


def test_every_kind_of_method_and_every_network_has_a_probe_and_every_probe_a_digest() -> None:
    listed = [str(probe) for probe in probes()]
    assert len(set(listed)) == len(listed)
    assert set(METHODS) == set(KINDS)
    assert {f"network/{name}" for name in names()} <= set(listed)
    assert set(read_digests()) == set(listed)


def test_probes_of_different_options_have_different_digests() -> None:
    digests = read_digests()
    by_digest: dict[str, list[str]] = {}
    for name, value in digests.items():
        by_digest.setdefault(value, []).append(name)
    same = [sorted(group) for group in by_digest.values() if len(group) > 1]
    # Two ways to say that the pivot does not learn.
    assert same == [
        ["method/orc+intensive.material=none", "method/orc+intensive.pivot_lr_scale=0.0"]
    ]


def test_every_value_of_an_option_of_orc_has_a_probe() -> None:
    schema = OrcConfig.model_json_schema()
    values = set()
    for section, part in OrcConfig.model_fields.items():
        model = schema["$defs"].get(getattr(part.annotation, "__name__", ""), {})
        for key, field in model.get("properties", {}).items():
            values |= {(f"{section}.{key}", value) for value in field.get("enum", [])}
            values |= {(f"{section}.{key}", v) for v in (True, False) if field["type"] == "boolean"}
    base = METHODS["orc"]
    usual = {(f"{s}.{k}", v) for s in base if isinstance(base[s], dict) for k, v in base[s].items()}
    # Only several processes tell the two apart.
    assert values - usual - set(OPTIONS["orc"]) == {("feedback.across", "batch")}


def test_a_method_depends_on_the_probes_of_the_branches_it_takes() -> None:
    plain = {"ranking": METHODS["orc"]["ranking"]}
    usual = orc_config(teaching__pivot_batch_norm="batch", teaching__temporary_batch_norm="batch")
    assert plain["ranking"] == usual.ranking.model_dump()
    assert used(usual) == {"orc"}
    other = orc_config(
        promotion__top_k=3,
        promotion__margin=0.2,
        ranking__criterion="accuracy",
        teaching__pivot_batch_norm="batch",
        teaching__temporary_batch_norm="batch",
    )
    assert used(other) == {
        "orc",
        "orc+promotion.top_k=2",
        "orc+promotion.margin=0.05",
        "orc+ranking.criterion=accuracy",
    }


@pytest.mark.parametrize("name", [str(p.name) for p in probes() if p.subject == "method"])
def test_the_configuration_of_a_probe_takes_its_branch(name: str) -> None:
    params = read_yaml(ROOT / "params.yaml")
    params["methods"] = {"probed": probed_method(name)}
    method = parse(type(PARAMS), params, "test").methods["probed"]
    assert f"method/{name}" in training_probes("train", (), method, DIGITS)


def test_a_run_depends_on_its_networks_recipe_and_data() -> None:
    ce = PARAMS.methods["ce"]
    assert training_probes("train", ("resnet8", "resnet8.a"), ce, DIGITS) == [
        "method/ce",
        "recipe/exact",
        "network/resnet8",
    ]
    assert training_probes("pretrain", ("vgg8",), ce, CRD, "shards") == [
        "method/ce",
        "stage/pretrain",
        "recipe/fast",
        "photos/shards",
        "augmentation/crop",
        "augmentation/flip",
        "network/vgg8",
    ]
    assert evaluation_probes(("resnet8",)) == ["stage/evaluate", "network/resnet8"]
    assert preparation_probes(PARAMS.data["cifar100"]) == ["prepare/cifar"]


def test_no_stage_but_the_probes_depends_on_source() -> None:
    for path in [Path("dvc.yaml"), *Path(ROOT, "studies").rglob("dvc.yaml")]:
        for name, stage in read_yaml(ROOT / path)["stages"].items():
            if name == "probe":
                continue
            deps = stage.get("do", stage)["deps"]
            assert not [dep for dep in deps if dep.endswith(".py")]
            assert {dep for dep in deps if dep.startswith("orc_repro/")} <= {
                "orc_repro/probes.json",
                "orc_repro/published",
            }


def test_every_module_is_a_dependency_of_the_probes() -> None:
    deps = read_yaml(ROOT / "dvc.yaml")["stages"]["probe"]["deps"]
    for module in (ROOT / "orc_repro").rglob("*.py"):
        path = module.relative_to(ROOT).as_posix()
        assert any(path == dep or path.startswith(f"{dep}/") for dep in deps)
