"""Read a stranger's weights: tensors and plain values alone, of the form that the network has."""

from __future__ import annotations

import os
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from orc_repro.errors import UserError, one_line
from orc_repro.files import open_file, refuse_packed
from orc_repro.given.names import COUNTS, renamed
from orc_repro.memory import fits_into_memory

HALVES = (torch.float16, torch.bfloat16)


class Beside:
    """Stands for a value beside the weights, as an epoch's accuracy; nothing is kept of it."""

    def __new__(cls, *_: object, **__: object) -> Beside:
        """Take whatever the value would be made from."""
        return object.__new__(cls)

    def __setstate__(self, _: object) -> None:
        """Take whatever the value's state would be."""


# numpy's scalars and arrays (of numpy 1 and 2), and the options of a command line.
_PASSED_OVER = (
    *(f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")),
    *(f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")),
    *("numpy.dtype", "numpy.ndarray", "argparse.Namespace"),
)


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file, by name; nothing that may be hidden in it is executed.

    Args:
        path: ``.safetensors``, or of any other name what ``torch.save`` made of a state dict, or of
            a dict with one state dict in it.

    Raises:
        UserError: the file is missing or damaged, or holds anything else.
    """
    try:
        open_file(path).close()
        content = load_file(path) if path.suffix == ".safetensors" else _unpickled(path)
    except FileNotFoundError:
        raise UserError(f"the weights {path} do not exist") from None
    except pickle.UnpicklingError as error:  # torch's own words advise to trust the file
        named = re.search(r"GLOBAL (\S+)", str(error))
        kind = f" ({one_line(named[1], 100)})" if named else ""
        raise UserError(
            f"the weights {path} are damaged, or hold more than tensors and plain values{kind},"
            " which is not loaded; save the state_dict() of the network alone"
        ) from None
    # A damaged file may be read as nearly anything.
    except Exception as error:
        reason = one_line(" ".join(str(error).split()), 200)
        raise UserError(f"the weights {path} are damaged: {reason}") from None
    try:
        return {name: tensor.detach() for name, tensor in _unwrapped(content).items()}
    except ValueError as error:
        raise UserError(f"the weights {path} are no state dict: {error}") from None


def _unwrapped(content: object) -> Mapping[str, Tensor]:
    """The state dict that was saved, alone or as one value of a dict.

    Raises:
        ValueError: there is none, or there are several.
    """
    if _is_state(content):
        return content
    if not isinstance(content, Mapping):
        raise ValueError("names with a tensor each")
    inner = {name: value for name, value in content.items() if _is_state(value) and value}
    names = one_line(", ".join(f"'{name}'" for name in inner or content), 200)
    if not inner:
        raise ValueError(f"names with a tensor each, nor is one of {names}")
    if len(inner) > 1:
        raise ValueError(f"they hold several, {names}; save the one that is meant alone")
    return next(iter(inner.values()))


def _is_state(value: object) -> TypeGuard[Mapping[str, Tensor]]:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and _is_plain(tensor) for name, tensor in value.items()
    )


def _unpickled(path: Path) -> Any:
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if not fits_into_memory(size):
            raise ValueError("it is larger than the memory of this machine")
        refuse_packed(file)
        with warnings.catch_warnings():  # of a damaged file it warns as well
            warnings.simplefilter("ignore")
            with torch.serialization.safe_globals([(Beside, name) for name in _PASSED_OVER]):
                return torch.load(file, map_location="cpu", weights_only=True)


def _is_plain(value: object) -> bool:
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def load_given(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Copy a state dict into a network, under its own names (see :func:`renamed`).

    Shapes and types have to be the network's; half precision is exact in single precision. Files
    from before batch norms counted their batches lack these counts, which nothing here reads: they
    are taken as 0.

    Args:
        network: what the weights are for.
        state: tensors by their names in the file.
        path: the file; one of safetensors does not keep the order of the layers.

    Raises:
        UserError: names the first thing that does not fit; the network is as it was.
    """
    wanted = network.state_dict()
    counts = {name: torch.zeros_like(t) for name, t in wanted.items() if name.endswith(COUNTS)}
    state = counts | renamed(state, wanted, ordered=path.suffix != ".safetensors")
    state = {n: t.float() if _is_half_of(t, wanted.get(n)) else t for n, t in state.items()}
    finding = _finding(state, wanted)
    if finding:
        raise UserError(f"the weights {path} are not those of this network: {finding}")
    network.load_state_dict(state)


def _is_half_of(tensor: Tensor, wanted: Tensor | None) -> bool:
    return tensor.dtype in HALVES and wanted is not None and wanted.dtype == torch.float32


def _finding(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    missing = [name for name in wanted if name not in state]
    unknown = [name for name in state if name not in wanted]
    if missing and unknown:
        return (
            f"{missing[0]} is missing{_more(missing)}, and the network has no"
            f" {one_line(unknown[0], 100)}{_more(unknown)}"
        )
    if missing:
        return f"{missing[0]} is missing{_more(missing)}"
    if unknown:
        return f"it has no {one_line(unknown[0], 100)}{_more(unknown)}"
    wrong = [name for name in wanted if _form(state[name]) != _form(wanted[name])]
    if wrong:
        name = wrong[0]
        return f"{name} is {_form(state[name])}, not {_form(wanted[name])}{_more(wrong)}"
    return ""


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
