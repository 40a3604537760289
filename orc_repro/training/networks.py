"""Building a run's networks, and their weights on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from orc_repro.config import architecture_of
from orc_repro.data.manifest import Manifest
from orc_repro.errors import UserError, one_line
from orc_repro.files import open_file, write_atomically
from orc_repro.models import build
from orc_repro.training.streams import stream_seed


def build_network(
    name: str, manifest: Manifest, seed: int, device: torch.device, stream: str = "init"
) -> nn.Module:
    """A network with weights drawn from the stream (seed, ``stream``, name).

    They depend on nothing else, so the target starts from the same weights in every method.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, stream, name))
        network = build(
            architecture_of(name),
            num_classes=manifest.num_classes,
            in_channels=manifest.in_channels,
        )
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def build_networks(
    names: Sequence[str], manifest: Manifest, seed: int, device: torch.device
) -> dict[str, nn.Module]:
    """A cell's networks by name; see :func:`build_network`."""
    return {name: build_network(name, manifest, seed, device) for name in names}


def count_parameters(network: nn.Module) -> int:
    """Number of trainable values, running statistics not counted."""
    return sum(parameter.numel() for parameter in network.parameters())


def save_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write a network's state dict as safetensors; the same weights give the same bytes."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    try:
        write_atomically(path, save(plain))
    except OSError as error:
        raise UserError(f"the weights {path} cannot be written: {error}") from None


def load_weights(network: nn.Module, path: Path) -> None:
    """Read a state dict into a network.

    Raises:
        UserError: the file is missing or damaged, or holds another network's weights.
    """
    try:
        open_file(path).close()  # safetensors would wait for a pipe or a device without end
        weights = load_file(path)
    except FileNotFoundError:
        raise UserError(f"the weights {path} do not exist; run the stage that makes them") from None
    except (OSError, SafetensorError) as error:
        raise UserError(f"the weights {path} are damaged: {one_line(str(error))}") from None
    # Before anything is copied; torch would convert another type in silence.
    if _form(weights) != _form(network.state_dict()):
        raise UserError(f"the weights {path} are not those of this network")
    network.load_state_dict(weights)


def _form(weights: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in weights.items()}
