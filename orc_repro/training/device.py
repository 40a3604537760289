"""The device a run uses, and how exactly it repeats."""

from __future__ import annotations

import os

import torch

from orc_repro.config import Recipe
from orc_repro.errors import UserError
from orc_repro.processes.joining import local_rank, started_by_torchrun


def pick_device(wish: str = "auto") -> torch.device:
    """``auto`` takes a CUDA device if there is one; ``cpu`` and ``cuda[:n]`` are taken as said.

    Of several processes on one machine each has a GPU of its own, unless one is named.

    Raises:
        UserError: the wish is not one of these, or there is no such GPU.
    """
    if wish == "auto":
        wish = "cuda" if torch.cuda.is_available() else "cpu"
    if wish == "cuda" and started_by_torchrun():
        wish = f"cuda:{local_rank()}"
    try:
        device = torch.device(wish)
    except RuntimeError:
        raise UserError(f"the device is '{wish}'; it must be auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"the device is '{wish}'; it must be auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"the device is '{wish}', but {torch.cuda.device_count()} GPUs are usable")
    return device


def set_up(recipe: Recipe) -> None:
    """Set threads and determinism for this process, before anything is computed.

    The number of CPU threads changes how sums are split and so the last bits of a result; with it
    fixed and deterministic kernels, a machine repeats a run bit for bit.
    """
    if recipe.cpu_threads is not None:
        torch.set_num_threads(recipe.cpu_threads)
    if recipe.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
    else:
        torch.backends.cudnn.benchmark = True
    # The same switch as use_deterministic_algorithms, which also imports the compiler: a second.
    torch.set_deterministic_debug_mode("error" if recipe.deterministic else "default")


def device_name(device: torch.device) -> str:
    """What to call a device in a run's tags."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
