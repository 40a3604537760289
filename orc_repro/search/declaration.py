"""What a search is: one strict file in ``studies/search``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from orc_repro.errors import UserError, one_line
from orc_repro.ranges import Epoch, Seed, Trials, TrialsOrNone, Version
from orc_repro.validation import LONGEST_NAME, Name, Strict, is_name, parse
from orc_repro.yaml_files import read_yaml

End = (
    Annotated[int, Field(ge=-(10**12), le=10**12)]
    | Annotated[float, Field(ge=-(10**12), le=10**12)]
)
Scalar = bool | End | str
Choice = Scalar | Annotated[tuple[str, ...], Field(strict=False)]


class Base(Strict):
    """The cell that is varied: names of ``params.yaml``, and the pivot its networks learn from.

    ``pivot`` is the key of a ``pretrain`` stage, whose weights are to be there. ``method`` and
    ``group`` are also trial 0, so that a search never ends below them.
    """

    dataset: Name
    group: Name
    recipe: Name
    method: Name
    pivot: Name | None


class Searched(Strict):
    """What one parameter may be: a range (whole numbers where both ends are), or choices.

    ``when``: only where other parameters have one of these values; elsewhere it is the base's.
    """

    low: End | None = None
    high: End | None = None
    log: bool = False
    choices: Annotated[tuple[Choice, ...], Field(strict=False)] = ()
    when: dict[str, Annotated[tuple[Scalar, ...], Field(strict=False)]] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _range_or_choices(self) -> Searched:
        if self.choices:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("give low and high, or choices, not both")
            if len(set(self.choices)) < max(2, len(self.choices)):
                raise ValueError("choices must be two or more, and differ")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give low and high, or choices")
        if self.low >= self.high:
            raise ValueError(f"low is {self.low}; it must be below high, {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low}; on a logarithmic scale it must be above 0")
        return self

    @property
    def whole(self) -> bool:
        """Whether it is a range of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)


class Sampler(Strict):
    """Who suggests: Optuna's TPE after so many random trials, or chance alone."""

    kind: Literal["tpe", "random"]
    seed: Seed
    startup_trials: TrialsOrNone


class Pruner(Strict):
    """Who stops a trial early: nobody, or the median of the trials before it.

    ``after_epoch``: no earlier; below the schedule's first drop of the learning rate, accuracy says
    little about the end. ``startup_trials``: so many trials are never stopped.
    """

    kind: Literal["none", "median"]
    startup_trials: TrialsOrNone
    after_epoch: Epoch


class Search(Strict):
    """``studies/search/<name>.yaml``.

    Attributes:
        version: to be raised with the space: a stored search keeps to the space it began with.
        cost: a second objective, to be small: arithmetic of an iteration an image, or none. With
            two objectives nothing can be stopped early.
        trials: how many, trial 0 included.
        seeds: of each trial; its value is their mean.
        confirmation_seeds: fresh ones, for the best trial against trial 0.
    """

    title: str
    version: Version
    base: Base
    space: dict[str, Searched] = Field(min_length=1)
    sampler: Sampler
    pruner: Pruner
    cost: Literal["none", "flop_per_image"]
    trials: Trials
    seeds: Annotated[tuple[Seed, ...], Field(strict=False, min_length=1)]
    confirmation_seeds: Annotated[tuple[Seed, ...], Field(strict=False, min_length=3)]

    @model_validator(mode="after")
    def _fits(self) -> Search:
        if self.cost != "none" and self.pruner.kind != "none":
            raise ValueError(f"pruner.kind is {self.pruner.kind}; beside a cost it must be none")
        for seeds in (self.seeds, self.confirmation_seeds):
            if len(set(seeds)) < len(seeds):
                raise ValueError("seeds must differ")
        if set(self.seeds) & set(self.confirmation_seeds):
            raise ValueError("confirmation_seeds must be fresh: none of them may be in seeds")
        for path, searched in self.space.items():
            for other, values in searched.when.items():
                known = self.space.get(other)
                if known is None or not set(values) <= set(known.choices):
                    raise ValueError(f"{path}: when names {other}, which has no such choices")
                if known.when:
                    raise ValueError(f"{path}: when names {other}, which is conditional itself")
        return self

    @property
    def space_content(self) -> dict[str, Any]:
        """What may not change while a search is stored."""
        return self.model_dump(mode="json", include={"base", "space", "seeds", "version", "cost"})


def load_search(path: Path) -> Search:
    """Read a search's file.

    Raises:
        UserError: names the key, its value and what is allowed; also where the search's name, which
            is the file's, would not do as a part of a path.
    """
    search = parse(Search, read_yaml(path), str(path))
    seed = max(*search.seeds, *search.confirmation_seeds)
    if not is_name(f"{path.stem}-v{search.version}-s{seed}"):
        raise UserError(
            f"{one_line(str(path))}: the file is named like the search, with letters, digits, dots,"
            f" dashes and underscores alone, and at most some {LONGEST_NAME - 20} of them"
        )
    return search
