"""What a search's file may say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from orc_repro.errors import UserError
from orc_repro.search.declaration import Search, load_search
from orc_repro.validation import parse
from tests.search.files import content


def read(**changes: Any) -> Search:
    return parse(Search, content() | changes, "search.yaml")


@pytest.mark.parametrize("name", ["my search", "-x", "späte", "x" * 125])
def test_a_file_whose_name_cannot_be_a_searchs_is_one_sentence(tmp_path: Path, name: str) -> None:
    for stem, fits in (("fits_1.0-x", True), (name, False)):
        path = tmp_path / f"{stem}.yaml"
        path.write_text(yaml.safe_dump(content()))
        if fits:
            assert load_search(path).title == content()["title"]
        else:
            with pytest.raises(UserError, match="the file is named like the search, with letters"):
                load_search(path)


def test_a_range_of_whole_numbers_is_told_from_one_of_fractions() -> None:
    space = read().space
    assert space["method.promotion.top_k"].whole and not space["method.temperature"].whole


@pytest.mark.parametrize(
    ("searched", "sentence"),
    [
        ({"low": 2.0, "high": 1.0}, "low is 2.0; it must be below high, 1.0"),
        ({"low": 0.0, "high": 1.0, "log": True}, "on a logarithmic scale it must be above 0"),
        ({"low": 1.0}, "give low and high, or choices"),
        ({"low": 1.0, "high": 2.0, "choices": [1.0, 2.0]}, "or choices, not both"),
        ({"choices": ["loss"]}, "choices must be two or more, and differ"),
        ({"choices": ["loss", "loss"]}, "choices must be two or more, and differ"),
        ({"lowest": 1.0}, "unknown key space.method.temperature.lowest"),
        (
            {"low": 1.0, "high": 2.0, "when": {"method.beta": [0.5]}},
            "when names method.beta, which has no such choices",
        ),
    ],
)
def test_what_is_wrong_with_a_parameter_is_one_sentence(
    searched: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=r"search\.yaml") as refused:
        read(space={"method.temperature": searched})
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seeds": [0, 0]}, "seeds must differ"),
        ({"confirmation_seeds": [0, 1, 2]}, "confirmation_seeds must be fresh"),
        ({"confirmation_seeds": [7, 8]}, "confirmation_seeds is"),
        ({"cost": "flop_per_image"}, "pruner.kind is median; beside a cost it must be none"),
        ({"trials": 0}, "trials is 0"),
        ({"space": {}}, "space is"),
    ],
)
def test_what_does_not_fit_together_is_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        read(**changes)
    assert sentence in str(refused.value)
