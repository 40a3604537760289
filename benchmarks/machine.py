"""What the machine can do at best, measured in the same run as everything else."""

from __future__ import annotations

import platform
from dataclasses import dataclass

import torch

from benchmarks.timing import best
from orc_repro.training.device import device_name

SIDE = 2048
COPIED_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Machine:
    """Peaks of a device; ``gemm_flops`` by number format, multiplication and addition two each."""

    device: str
    threads: int
    torch: str
    python: str
    gemm_flops: dict[str, float]
    copy_bytes_per_second: float


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 products are instructions of this processor."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    capabilities: dict[str, object] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # not in every version
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def measured(device: torch.device) -> Machine:
    """The machine, with peaks of a large matrix product and of a copy."""
    types = [torch.float32] + ([torch.bfloat16] if has_fast_bf16(device) else [])
    found = {}
    for kind in types:
        a = torch.randn(SIDE, SIDE, device=device).to(kind)
        b = torch.randn(SIDE, SIDE, device=device).to(kind)
        out = torch.empty_like(a)
        found[str(kind).removeprefix("torch.")] = (
            2 * SIDE**3 / best(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), 10)  # type: ignore[misc]
        )
    source = torch.zeros(COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return Machine(
        device=device_name(device),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        python=platform.python_version(),
        gemm_flops=found,
        # Each byte is read and written.
        copy_bytes_per_second=2 * COPIED_BYTES / best(lambda: target.copy_(source), 10),
    )
