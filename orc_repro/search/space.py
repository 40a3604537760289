"""From a search's ranges to a trial's group, recipe and method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import BaseTrial

from orc_repro.config import AnyMethod, Group, MethodConfig, OrcConfig, Params, Recipe
from orc_repro.errors import UserError, one_line
from orc_repro.search.declaration import Search, Searched
from orc_repro.validation import Strict, parse

PARTS = ("group", "recipe", "method")
Values = dict[str, Any]
"""By path (``method.promotion.margin``), as Optuna keeps them: a list is words between commas."""


class Unfit(UserError):
    """Values that the configuration does not allow, be it only beside each other."""


class _Variant(Strict):
    group: Group
    recipe: Recipe
    method: MethodConfig


@dataclass(frozen=True)
class Variant:
    """What a trial trains."""

    group: Group
    recipe: Recipe
    method: AnyMethod


def check(search: Search, params: Params, where: str) -> None:
    """Refuse a space that leads somewhere the configuration does not allow.

    Raises:
        UserError: a name or path that does not exist, an end of a range or a choice that is not
            allowed, or a base value that the space does not have.
    """
    base = search.base
    content = _content(search, params, where)
    owns = {path: _value_at(content, path, where) for path in search.space}
    for path, searched in search.space.items():
        ends = [_kept(c) for c in searched.choices] or [searched.low, searched.high]
        for end in ends:
            variant(search, params, {path: end}, where)
        if _applies(searched, owns) and not _holds(searched, owns[path]):
            raise UserError(
                f"{where}: {path} is {one_line(str(owns[path]))} in params.yaml, and so in trial 0,"
                " but not in the space"
            )
    drops = params.recipes[base.recipe].schedule.milestones_epochs
    if search.pruner.kind != "none" and drops and search.pruner.after_epoch < drops[0]:
        raise UserError(
            f"{where}: pruner.after_epoch is {search.pruner.after_epoch}; it must be at least"
            f" {drops[0]}, the recipe's first drop of the learning rate"
        )


def base_values(search: Search, params: Params) -> Values:
    """Trial 0: what ``params.yaml`` has."""
    content = _content(search, params)
    found = {path: _kept(_value_at(content, path, "params.yaml")) for path in search.space}
    return {path: found[path] for path in search.space if _applies(search.space[path], found)}


def suggest(trial: BaseTrial, search: Search) -> Values:
    """A trial's values, in the order of the file; of those under a condition, what applies."""
    values: Values = {}
    for path, searched in search.space.items():
        if searched.choices and not searched.when:
            values[path] = trial.suggest_categorical(path, [_kept(c) for c in searched.choices])
    for path, searched in search.space.items():
        if path in values or not _applies(searched, values):
            continue
        if searched.choices:
            values[path] = trial.suggest_categorical(path, [_kept(c) for c in searched.choices])
        elif searched.whole:
            low, high = int(searched.low or 0), int(searched.high or 0)
            values[path] = trial.suggest_int(path, low, high, log=searched.log)
        else:
            low_, high_ = float(searched.low or 0), float(searched.high or 0)
            values[path] = trial.suggest_float(path, low_, high_, log=searched.log)
    return {path: values[path] for path in search.space if path in values}


def variant(search: Search, params: Params, values: Mapping[str, Any], where: str) -> Variant:
    """The base with some values changed.

    Raises:
        Unfit: the configuration does not allow them.
    """
    content = _content(search, params)
    for path, value in values.items():
        *sections, last = path.split(".")
        inner = content
        for section in sections:
            inner = inner[section]
        inner[last] = _meant(value, inner[last])
    try:
        found = parse(_Variant, content, where)
    except UserError as error:
        raise Unfit(str(error)) from None
    method, students = found.method, len(found.group.students)
    if isinstance(method, OrcConfig) and method.promotion.top_k > students:
        raise Unfit(
            f"{where}: method.promotion.top_k is {method.promotion.top_k}; the group has"
            f" {students} students"
        )
    return Variant(found.group, found.recipe, found.method)


def overlay(search: Search, values: Mapping[str, Any], params: Params) -> dict[str, Any]:
    """The same values as a part of ``params.yaml``, nested."""
    content = _content(search, params)
    sections = {
        "group": ("groups", search.base.group),
        "recipe": ("recipes", search.base.recipe),
        "method": ("methods", search.base.method),
    }
    found: dict[str, Any] = {}
    for path, value in values.items():
        part, *rest = path.split(".")
        inner = found
        for section in (*sections[part], *rest[:-1]):
            inner = inner.setdefault(section, {})
        inner[rest[-1]] = _meant(value, _value_at(content, path, "params.yaml"))
    return found


def unsearched(search: Search, params: Params) -> dict[str, Any]:
    """The base without what the space holds, nested."""
    content = _content(search, params)
    for path in search.space:
        *sections, last = path.split(".")
        inner = content
        for section in sections:
            inner = inner[section]
        del inner[last]
    return content


def _content(search: Search, params: Params, where: str = "the search") -> dict[str, Any]:
    base = search.base
    for section, name in (
        ("data", base.dataset), ("groups", base.group), ("recipes", base.recipe),
        ("methods", base.method),
    ):  # fmt: skip
        if name not in getattr(params, section):
            raise UserError(f"{where}: params.yaml's {section} has no '{one_line(name)}'")
    return {
        "group": params.groups[base.group].model_dump(mode="json"),
        "recipe": params.recipes[base.recipe].model_dump(mode="json"),
        "method": params.methods[base.method].model_dump(mode="json"),
    }


def _value_at(content: Mapping[str, Any], path: str, where: str) -> Any:
    found: Any = content
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            known = ", ".join(found) if isinstance(found, Mapping) else "nothing below it"
            raise UserError(f"{where}: there is no parameter {one_line(path)} ({known})")
        found = found[part]
    if isinstance(found, Mapping):
        raise UserError(f"{where}: {one_line(path)} is a section, not a parameter")
    return found


def _kept(value: Any) -> Any:
    """As Optuna keeps a choice: a list as its words."""
    return ", ".join(value) if isinstance(value, list | tuple) else value


def _meant(value: Any, like: Any) -> Any:
    if isinstance(like, list):
        return [word.strip() for word in str(value).split(",")]
    return float(value) if isinstance(like, float) and isinstance(value, int) else value


def _applies(searched: Searched, values: Mapping[str, Any]) -> bool:
    return all(values.get(path) in allowed for path, allowed in searched.when.items())


def _holds(searched: Searched, value: Any) -> bool:
    if searched.choices:
        return _kept(value) in [_kept(choice) for choice in searched.choices]
    assert searched.low is not None and searched.high is not None
    if not isinstance(value, int | float) or (searched.whole and not float(value).is_integer()):
        return False
    return searched.low <= value <= searched.high
