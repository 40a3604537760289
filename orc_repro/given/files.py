"""Reading a stranger's weights: tensors alone, of exactly the form that the network has."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from orc_repro.errors import UserError, one_line
from orc_repro.files import open_file, refuse_packed
from orc_repro.memory import fits_into_memory

COUNTS = "num_batches_tracked"


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name; nothing that may be hidden in it is executed.

    Args:
        path: ``.safetensors``, or of any other name what ``torch.save`` made of a state dict.

    Raises:
        UserError: the file is missing or damaged, or holds anything else.
    """
    try:
        open_file(path).close()
        found = load_file(path) if path.suffix == ".safetensors" else _unpickled(path)
    except FileNotFoundError:
        raise UserError(f"the weights {path} do not exist") from None
    except pickle.UnpicklingError:  # torch's own words advise to trust the file
        raise UserError(
            f"the weights {path} are damaged, or hold more than tensors, which is not loaded"
        ) from None
    # A damaged file may be read as nearly anything.
    except Exception as error:
        reason = one_line(" ".join(str(error).split()), 200)
        raise UserError(f"the weights {path} are damaged: {reason}") from None
    if not isinstance(found, Mapping) or not all(
        isinstance(name, str) and _is_plain(value) for name, value in found.items()
    ):
        raise UserError(f"the weights {path} are no state dict: names with a tensor each")
    return {name: tensor.detach() for name, tensor in found.items()}


def _unpickled(path: Path) -> Any:
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if not fits_into_memory(size):
            raise ValueError("it is larger than the memory of this machine")
        refuse_packed(file)
        with warnings.catch_warnings():  # of a damaged file it warns as well
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)


def _is_plain(value: object) -> bool:
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def load_given(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Copy a state dict into a network; names, shapes and types have to be the network's.

    Files from before batch norms counted their batches lack these counts, which nothing here
    reads: they are taken as 0.

    Raises:
        UserError: names the first thing that does not fit; the network is as it was.
    """
    wanted = network.state_dict()
    counts = {name: torch.zeros_like(t) for name, t in wanted.items() if name.endswith(COUNTS)}
    state = counts | dict(state)
    finding = _finding(state, wanted)
    if finding:
        raise UserError(f"the weights {path} are not those of this network: {finding}")
    network.load_state_dict(state)


def _finding(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    missing = [name for name in wanted if name not in state]
    unknown = [name for name in state if name not in wanted]
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
