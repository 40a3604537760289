"""What an iteration costs, by counting: arithmetic, memory, operations, reads by the host.

Counted are the operations that really run, of any method, so there is no formula to be kept in
step with the code. Times are not known here.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

_HOST_READS = {"aten::_local_scalar_dense", "aten::item"}
_PRODUCTS = {
    "aten::convolution",
    "aten::convolution_backward",
    "aten::mm",
    "aten::addmm",
    "aten::bmm",
}
_SMALL_BATCHES = (4, 8)


@dataclass(frozen=True)
class Counted:
    """What some work did.

    Attributes:
        flop: floating-point operations of convolutions and matrix products, forward and backward;
            a multiplication and its addition are two. Everything else is a few percent of it.
        traffic_bytes: what convolutions and matrix products read and write, each tensor once: the
            least that has to move if everything between them were part of them.
        peak_bytes: the most that tensors made by the work, and still in use, held at once.
        operations: ATen operations, views included.
        host_reads: how often the host asked the device for a number and waited.
    """

    flop: int
    traffic_bytes: int
    peak_bytes: int
    operations: int
    host_reads: int


def count(work: Callable[[], object]) -> Counted:
    """Do some work on tensors and count what it does.

    Returns:
        see :class:`Counted`; grouped convolutions' backward is counted by torch, too high.
    """
    with _Watch() as watch, FlopCounterMode(display=False) as flop:
        work()
    return Counted(
        flop.get_total_flops(), watch.traffic, watch.peak, watch.operations, watch.host_reads
    )


@dataclass(frozen=True)
class StepCost:
    """What one iteration of a method costs at any batch size.

    Attributes:
        flop_per_image: see :class:`Counted`; for ORC up to 5 % more or less, by who is promoted.
        fixed_bytes: weights, momentum and statistics, whatever the batch.
        step_fixed_bytes: what a step adds to that whatever the batch: gradients.
        bytes_per_image: activations and the rest, at the moment when most is held.
    """

    flop_per_image: float
    fixed_bytes: int
    step_fixed_bytes: float
    bytes_per_image: float

    def peak_bytes(self, batch_size: int) -> float:
        """Predicted peak of networks, optimizers and one step; without the data and the library's
        own scratch memory.
        """
        return self.fixed_bytes + self.step_fixed_bytes + self.bytes_per_image * batch_size


def step_cost(
    make_step: Callable[[int], Callable[[], object]], fixed_bytes: int, pieces: int = 1
) -> StepCost:
    """The cost of a step, from two small batches: memory is linear in the batch.

    Args:
        make_step: for a batch size, a step that has been made once (so that momentum exists).
        fixed_bytes: what networks and optimizers hold.
        pieces: that every batch has to be divisible into.
    """
    small, large = (size * pieces for size in _SMALL_BATCHES)
    first, second = count(make_step(small)), count(make_step(large))
    slope = (second.peak_bytes - first.peak_bytes) / (large - small)
    return StepCost(
        flop_per_image=(first.flop + second.flop) / (small + large),
        fixed_bytes=fixed_bytes,
        step_fixed_bytes=max(0.0, first.peak_bytes - slope * small),
        bytes_per_image=slope,
    )


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation; knows which of the storages they made are still alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self.operations = self.host_reads = self.traffic = self._live = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # What is given is older than the work, unless an operation here made it.
        given = {_storage(t)._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        made = func(*args, **(kwargs or {}))
        self.operations += 1
        self.host_reads += func._schema.name in _HOST_READS
        if func._schema.name in _PRODUCTS:
            moved = tree_leaves((args, kwargs, made))
            self.traffic += sum(t.nbytes for t in moved if isinstance(t, Tensor))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                storage = _storage(tensor)
                if storage._cdata not in self._known and storage._cdata not in given:
                    self._came(storage)
        return made

    def _came(self, storage: torch.UntypedStorage) -> None:
        held = storage.nbytes()
        self._known.add(storage._cdata)
        self._live += held
        self.peak = max(self.peak, self._live)
        weakref.finalize(storage, self._went, storage._cdata, held)

    def _went(self, key: int, held: int) -> None:
        self._known.discard(key)
        self._live -= held


def _storage(tensor: Tensor) -> torch.UntypedStorage:
    return tensor.untyped_storage()
