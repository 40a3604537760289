"""Strict models, and what is wrong with their input in one sentence."""

from __future__ import annotations

import re
from pathlib import Path
from reprlib import Repr
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from orc_repro.errors import UserError, one_line
from orc_repro.files import read_file
from orc_repro.ranges import range_in_words

Model = TypeVar("Model", bound=BaseModel)

LONGEST_NAME = 128
LARGEST_JSON = 256 * 2**20
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
# A name that becomes a part of a path: it cannot lead anywhere else.
Name = Annotated[str, Field(pattern=_NAME, max_length=LONGEST_NAME)]


def _without_dots(name: str) -> str:
    if "." in name:
        raise ValueError("a name has no dot; DVC takes it for a path in the file")
    return name


# A name in params.yaml.
Key = Annotated[Name, AfterValidator(_without_dots)]

_SHOWN = Repr()  # a value nested without end is shown to a certain depth
_SHOWN.maxstring = _SHOWN.maxother = 80


class Strict(BaseModel):
    """Frozen; knows its keys; converts nothing but whole numbers to fractions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def parse(model: type[Model], content: dict[str, Any], where: str) -> Model:
    """Validate a mapping, turning the first finding into one sentence."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{where}: {_findings(error, content, model)}") from None


def is_name(text: str) -> bool:
    """Whether what a folder or file is called already would do as a :data:`Name`."""
    return len(text) <= LONGEST_NAME and re.fullmatch(_NAME, text) is not None


def read_json(model: type[Model], path: Path) -> Model:
    """Read and validate a JSON file.

    Raises:
        UserError: it cannot be read, is damaged, or has another form.
    """
    try:
        return model.model_validate_json(read_file(path, LARGEST_JSON))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    except ValidationError as error:
        raise UserError(f"{path}: {_findings(error, None, model)}") from None


def _findings(
    error: ValidationError, content: dict[str, Any] | None, model: type[BaseModel]
) -> str:
    # An unknown key explains the missing one beside it, so it comes first.
    findings = sorted(
        error.errors(include_url=False), key=lambda finding: finding["type"] != "extra_forbidden"
    )
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return f"{_sentence(findings[0], content, model)}{more}"


def _sentence(finding: Any, content: dict[str, Any] | None, model: type[BaseModel]) -> str:
    # pydantic puts a union's discriminator value into the path; only keys of the file belong there.
    # Without the content (JSON, which has no such unions) the path is taken as it is.
    keys: list[str] = []
    here: Any = content
    for part in finding["loc"]:
        if (isinstance(here, dict) and part in here) or (
            isinstance(here, (list, tuple)) and isinstance(part, int) and part < len(here)
        ):
            here = here[part]
        elif content is not None and part != finding["loc"][-1]:
            continue
        keys.append(str(part))
    if keys[-1:] == ["[key]"]:  # what pydantic adds where a name in a mapping is what is wrong
        keys.pop()
    path = one_line(".".join(keys))
    message = finding["msg"].removeprefix("Value error, ")
    match finding["type"]:
        case "json_invalid":
            return one_line(message)
        case "extra_forbidden":
            return f"unknown key {path}"
        case "missing":
            return f"{path} is missing"
        case "value_error":
            return one_line(f"{path}: {message}" if path else message)
        case "union_tag_invalid":
            context = finding["ctx"]
            kind = context["discriminator"].strip("'")
            return one_line(
                f"{path} has {kind} '{context['tag']}'; it must be {context['expected_tags']}"
            )
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal" if (
            words := range_in_words(model, finding["loc"])
        ):
            return one_line(f"{path} is {_SHOWN.repr(finding['input'])}; it must be {words}")
        case _:
            allowed = message.replace("Input should be", "it must be")
            return one_line(f"{path} is {_SHOWN.repr(finding['input'])}; {allowed}")
