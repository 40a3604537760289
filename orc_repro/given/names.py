"""Other projects' names of the same layers, brought to the names that a network has here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

COUNTS = "num_batches_tracked"
AVERAGED = "n_averaged"
PREFIXES = ("module", "_orig_mod", "model", "net", "network", "backbone", "student", "teacher")
"""What wraps a network: DataParallel, torch.compile, and the usual attributes of a trainer."""

_STEM = {"conv1": "features.0.0", "bn1": "features.0.1"}
_HEADS = ("fc", "linear", "classifier")
_BLOCK = re.compile(r"layer(\d{1,3})\.(\d{1,3})\.(conv|bn|downsample|shortcut)\.?(\d)")

State = Mapping[str, Tensor]


def renamed(state: State, wanted: State, ordered: bool) -> dict[str, Tensor]:
    """Give tensors the names that a network has, where their names or order tell which is which.

    In this order: the names as they are, without prefixes that all of them have, the names of
    ResNets in RepDistiller, mdistiller and torchvision, and the order of the layers of each kind,
    if all shapes agree.

    Args:
        state: tensors by their names in a file.
        wanted: the network's own state dict.
        ordered: whether the file keeps the order of the layers.

    Returns:
        the tensors by the network's names; without common prefixes, but under their own names,
        where nothing fits.
    """
    bare = _without_prefixes({n: t for n, t in state.items() if not _is_average(n, t)}, wanted)
    if _fits(bare, wanted):
        return bare
    ways = [_resnet_names(bare)]
    if ordered:
        ways.append(_names_by_order(bare, wanted))
    for names in ways:
        other = {names.get(name, name): tensor for name, tensor in bare.items()}
        if len(other) == len(bare) and _fits(other, wanted):
            return other
    return bare


def _is_average(name: str, tensor: Tensor) -> bool:
    """Whether a tensor counts the networks that were averaged, as torch's AveragedModel does."""
    return name == AVERAGED and tensor.numel() == 1


def _fits(state: State, wanted: State) -> bool:
    """Whether the names are the network's; counts of batches may be missing."""
    counts = {name for name in wanted if name.endswith(COUNTS)}
    return wanted.keys() - counts <= state.keys() <= wanted.keys()


def _without_prefixes(state: dict[str, Tensor], wanted: State) -> dict[str, Tensor]:
    while state and not _fits(state, wanted):
        firsts = {name.partition(".")[0] for name in state}
        if len(firsts) > 1 or not firsts <= set(PREFIXES):
            break
        state = {name.partition(".")[2]: tensor for name, tensor in state.items()}
    return state


def _resnet_names(names: Iterable[str]) -> dict[str, str]:
    """The names here of layers that are called ``conv1``, ``bn1``, ``layer1.0.conv1``, ``fc``."""
    matches = {name: _BLOCK.match(name) for name in names}
    blocks = sorted({(int(m[1]), int(m[2])) for m in matches.values() if m})
    numbers = {block: number for number, block in enumerate(blocks, start=1)}
    ours = {}
    for name, match in matches.items():
        layer, _, leaf = name.rpartition(".")
        if match and match.end() == len(layer):
            block = f"features.{numbers[int(match[1]), int(match[2])]}"
            kind, number = match[3], int(match[4])
            if kind in ("conv", "bn"):
                ours[name] = f"{block}.residual.{number - 1}.{int(kind == 'bn')}.{leaf}"
            else:
                ours[name] = f"{block}.shortcut.{number}.{leaf}"
        elif layer in _HEADS:
            ours[name] = f"head.{leaf}"
        elif layer in _STEM:
            ours[name] = f"{_STEM[layer]}.{leaf}"
    return ours


def _names_by_order(state: State, wanted: State) -> dict[str, str]:
    """The names here of layers in the same order; empty if a number or shape of them differs."""
    theirs, ours = _layers(state), _layers(wanted)
    if theirs.keys() != ours.keys():
        return {}
    names: dict[str, str] = {}
    for kind, layers in ours.items():
        if [form for _, form in layers] != [form for _, form in theirs[kind]]:
            return {}
        for (our, form), (their, _) in zip(layers, theirs[kind], strict=True):
            names |= {f"{their}.{leaf}": f"{our}.{leaf}" for leaf in (*form, COUNTS)}
    return names


def _layers(state: State) -> dict[frozenset[str], list[tuple[str, dict[str, tuple[int, ...]]]]]:
    """The layers of each kind in order: names, and shapes by the names of their tensors."""
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, tensor in state.items():
        layer, _, leaf = name.rpartition(".")
        if leaf != COUNTS:
            shapes.setdefault(layer, {})[leaf] = tuple(tensor.shape)
    kinds: dict[frozenset[str], list[tuple[str, dict[str, tuple[int, ...]]]]] = {}
    for layer, form in shapes.items():
        kinds.setdefault(frozenset(form), []).append((layer, form))
    return kinds
