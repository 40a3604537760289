"""What all trials of a search stand on: its data, its pivot, and what no trial changes."""

from __future__ import annotations

from orc_repro.config import Params
from orc_repro.distill import METHODS
from orc_repro.errors import UserError
from orc_repro.project import PIVOTS
from orc_repro.search.declaration import Search
from orc_repro.search.space import Unfit, Variant, unsearched, variant
from orc_repro.stages.origin import check_origin
from orc_repro.stages.run import manifest_of
from orc_repro.stages.train import digest_of
from orc_repro.tracking.description import flat


def teachers_of(search: Search, found: Variant) -> dict[str, str]:
    """The path of the weights that each teacher of a trial starts with.

    Raises:
        Unfit: the method starts from another network than the pivot, or there is no pivot.
    """
    names = METHODS[found.method.kind].teachers_of(found.group)
    if others := [name for name in names if name != found.group.pivot]:
        raise Unfit(
            f"{search.base.method} starts from {' and '.join(others)}, trained before by the same"
            " method; a search trains no assistants, so its group may have the target alone"
        )
    if names and search.base.pivot is None:
        raise Unfit(f"base.pivot is null; {search.base.method} starts from a pivot's weights")
    return {name: (PIVOTS / f"{search.base.pivot}.safetensors").as_posix() for name in names}


def check_inputs(search: Search, params: Params) -> None:
    """Check the data and the pivot's weights, before anything is stored.

    Raises:
        UserError: one of them is not there, the data has changed, or the method needs others.
    """
    check_origin(params, search.base.dataset)
    manifest_of(search.base.dataset)
    teachers_of(search, variant(search, params, {}, "the search's base"))
    pivot = search.base.pivot
    if pivot is not None and not (PIVOTS / f"{pivot}.safetensors").exists():
        raise UserError(
            f"the pivot's weights {PIVOTS / pivot}.safetensors do not exist; `dvc repro"
            f" pretrain@{pivot}` makes them (or the same stage of a pool)"
        )


def foundation(search: Search, params: Params) -> dict[str, str]:
    """Flat, so that a difference can be named. Values of trials side by side are of one of these.

    What the space holds is left out: ``promote`` changes it in params.yaml, and trial 0 keeps its.
    """
    fixed = [pair for part, at in unsearched(search, params).items() for pair in flat(part, at)]
    found = dict(fixed) | {"the data": manifest_of(search.base.dataset).digest}
    if search.base.pivot is not None:
        weights = (PIVOTS / f"{search.base.pivot}.safetensors").as_posix()
        found["the pivot's weights"] = digest_of({"pivot": weights})
    return found
