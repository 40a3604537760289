"""Every number of a file or an option has two ends."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
from pydantic import BaseModel

import orc_repro
from orc_repro.cli import COMMANDS
from orc_repro.cli.working import MINUTES
from orc_repro.errors import UserError
from orc_repro.validation import parse
from orc_repro.yaml_files import read_yaml
from tests.project import ROOT

CHECKED_IN_CODE = {"queue --minutes"}  # which is no NaN, either; typer would take that
OWN_STATE = "orc_repro.training."  # of a checkpoint, which is compared with its run


def modules_with_models() -> list[str]:
    """The modules whose text declares a model; importing all others would take long."""
    package = Path(orc_repro.__file__).parent
    named = pkgutil.walk_packages([str(package)], "orc_repro.", onerror=lambda _: None)
    found = []
    for info in named:
        path = package.joinpath(*info.name.split(".")[1:])
        text = (path / "__init__.py" if info.ispkg else path.with_suffix(".py")).read_text()
        if "(Strict)" in text or "(BaseModel)" in text:
            found.append(info.name)
    return found


def models() -> list[type[BaseModel]]:
    found: dict[str, type[BaseModel]] = {}
    for name in modules_with_models():
        import_module(name)
        for value in vars(sys.modules[name]).values():
            if (
                isinstance(value, type)
                and issubclass(value, BaseModel)
                and value.__module__ == name
            ):
                found[f"{name}.{value.__name__}"] = value
    return [found[name] for name in sorted(found)]


MODELS = models()


def endless(schema: Any, where: str, numbers: bool) -> Iterator[str]:
    """The numbers of a JSON schema that lack an end; fractions only if ``numbers``."""
    if isinstance(schema, list):
        for i, part in enumerate(schema):
            yield from endless(part, f"{where}.{i}", numbers)
    if not isinstance(schema, dict):
        return
    kind = schema.get("type")
    if kind == "integer" or (kind == "number" and numbers):
        above = "maximum" in schema or "exclusiveMaximum" in schema
        below = "minimum" in schema or "exclusiveMinimum" in schema
        if not {"const", "enum"} & schema.keys() and not (above and below):
            yield where
    for key, part in schema.items():
        if key not in ("default", "const", "enum", "examples"):
            yield from endless(part, f"{where}.{key}", numbers)


def test_models_are_there() -> None:
    assert len(MODELS) > 40
    assert {"Params", "Search", "Declaration", "Claims", "Result"} <= {m.__name__ for m in MODELS}


@pytest.mark.parametrize("model", MODELS, ids=lambda m: f"{m.__module__}.{m.__name__}")
def test_every_number_of_a_model_has_two_ends(model: type[BaseModel]) -> None:
    if model.__module__.startswith(OWN_STATE):
        return
    measured = bool(model.model_config.get("allow_inf_nan", True))  # a log may hold any float
    assert not list(endless(model.model_json_schema(), model.__name__, numbers=not measured))


def numeric_options() -> Iterator[tuple[str, Any]]:
    for command, function in COMMANDS.items():
        for name, hint in get_type_hints(function, include_extras=True).items():
            # Annotated[int, ...] or, where None stands beside it, a union within.
            if get_origin(hint) is Annotated:
                kind, option = get_args(hint)[:2]
                if {int, float} & {kind, *get_args(kind)}:
                    yield f"{command} --{name}", option


def test_every_number_of_a_command_has_two_ends() -> None:
    options = dict(numeric_options())
    assert "train --processes" in options and "ui --port" in options
    endless_ones = {
        name for name, option in options.items() if option.min is None or option.max is None
    }
    assert endless_ones == CHECKED_IN_CODE and len(MINUTES) == 2


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("recipes.digits.cpu_threads", 2**31),
        ("recipes.digits.batch_size", 2**64),
        ("recipes.digits.augmentation.crop_padding", 2**63),
        ("recipes.digits.optimizer.weight_decay", 1e300),
        ("methods.kd.temperature", 1e200),
        ("methods.orc.mixup.alpha", 1e-300),
        ("methods.orc.promotion.top_k", 10**30),
        ("train.processes", 10**20),
        ("checkpoints.every_seconds", 1e300),
        ("data.digits.split_seed", 2**70),
    ],
)
def test_a_number_beyond_its_range_is_named_with_the_range(path: str, value: float) -> None:
    from orc_repro.config import Params

    content = read_yaml(ROOT / "params.yaml")
    *sections, last = path.split(".")
    inner = content
    for section in sections:
        inner = inner[section]
    inner[last] = value
    with pytest.raises(
        UserError, match=rf"{path} is .*; it must be (at least|above) .* and (at most|below) "
    ):
        parse(Params, content, "params.yaml")


def test_a_schedule_that_raises_the_learning_rate_has_an_end() -> None:
    from orc_repro.config import Recipe

    recipe = read_yaml(ROOT / "params.yaml")["recipes"]["digits"]
    recipe["schedule"] = {"milestones_epochs": [1, 2, 3], "factor": 2.0}
    assert parse(Recipe, recipe, "recipe").schedule.factor == 2.0
    recipe["schedule"] = {"milestones_epochs": list(range(1, 100)), "factor": 10.0}
    with pytest.raises(UserError, match="1000"):
        parse(Recipe, recipe, "recipe")
