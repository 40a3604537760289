"""The processes that train one run together, and what they tell each other.

One process is the rule; then everything here is a no-op. With more, each computes its part of every
batch, and what has to be one thing is made one by a collective of ``torch.distributed``: gradients
and running statistics are averaged, the ballot of an election is, sums of an epoch are added up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from orc_repro.errors import UserError, one_line
from orc_repro.memory import is_out_of_memory

T = TypeVar("T")


class Disagreement(Exception):
    """Processes that must have decided alike have not: training would go on with a mixture."""


@dataclass(frozen=True)
class Processes:
    """This process among those of its run.

    Attributes:
        rank: 0 for the one that leads: it alone writes.
        count: how many there are.
        host: a group for what the device must not wait for; None is the default group.
        debug: whether :meth:`must_agree` looks.
    """

    rank: int = 0
    count: int = 1
    host: Any = None
    debug: bool = False

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def part_of(self, batch_size: int) -> slice:
        """Which images of every batch are this process's.

        Raises:
            UserError: the batch cannot be divided equally.
        """
        if batch_size % self.count:
            raise UserError(
                f"a batch of {batch_size} images cannot be divided among {self.count} processes"
            )
        size = batch_size // self.count
        return slice(self.rank * size, (self.rank + 1) * size)

    def rows_of(self, total: int) -> tuple[int, int]:
        """Where this process's part of a split begins and ends; nothing is in two parts."""
        return self.rank * total // self.count, (self.rank + 1) * total // self.count

    def average(self, tensors: Sequence[Tensor]) -> None:
        """The mean over all processes, in place; one collective for all tensors together."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with together():
            dist.all_reduce(flat)
        flat /= self.count
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        torch._foreach_copy_(  # as many copies as tensors in as few launches as torch can
            list(tensors), [part.view(t.shape) for part, t in zip(parts, tensors, strict=True)]
        )

    def mean_of(self, values: Tensor) -> Tensor:
        """The mean of a tensor over all processes."""
        if self.count > 1:
            values = values.clone()
            self.average([values])
        return values

    def add_up(self, *tensors: Tensor) -> None:
        """The sum over all processes, in place."""
        self._reduce(tensors, dist.ReduceOp.SUM if self.count > 1 else None)

    def least(self, *tensors: Tensor) -> None:
        """The smallest value of all processes, in place."""
        self._reduce(tensors, dist.ReduceOp.MIN if self.count > 1 else None)

    def _reduce(self, tensors: Sequence[Tensor], operation: Any) -> None:
        if operation is not None:
            with together():
                for tensor in tensors:
                    dist.all_reduce(tensor, op=operation)

    def joined(self, part: Tensor) -> Tensor:
        """The parts of all processes, one behind the other along the first dimension."""
        if self.count == 1:
            return part
        part = part.contiguous()
        parts = [torch.empty_like(part) for _ in range(self.count)]
        with together():
            dist.all_gather(parts, part)
        return torch.cat(parts)

    def highest(self, numbers: Sequence[int]) -> list[int]:
        """The highest of each number that any process gives; on the host."""
        if self.count == 1:
            return list(numbers)
        values = torch.tensor(numbers)
        with together():
            dist.all_reduce(values, op=dist.ReduceOp.MAX, group=self.host)
        found: list[int] = values.tolist()
        return found

    def from_leader(self, value: T) -> T:
        """What the leading process has; the others' own value is not looked at."""
        if self.count == 1:
            return value
        box = [value]
        with together():
            dist.broadcast_object_list(box, src=0, group=self.host)
        return box[0]

    def take_leaders(self, tensors: Iterable[Tensor]) -> None:
        """What the leading process has, in place."""
        if self.count > 1:
            with together():
                for tensor in tensors:
                    dist.broadcast(tensor, src=0)

    def gathered(self, value: T) -> list[T]:
        """What every process has, in their order, for the one that leads; nothing for others."""
        if self.count == 1:
            return [value]
        found: list[Any] = [None] * self.count
        with together():
            dist.gather_object(value, found if self.leads else None, dst=0, group=self.host)
        return found if self.leads else []

    def differing(self, value: object) -> int | None:
        """The first process whose value is another than the leader's; None if all are the same."""
        if self.count == 1:
            return None
        found: list[Any] = [None] * self.count
        with together():
            dist.all_gather_object(found, value, group=self.host)
        return next((rank for rank, other in enumerate(found) if other != found[0]), None)

    def must_agree(self, what: str, value: object) -> None:
        """In debug mode, see that all processes have the same.

        Raises:
            Disagreement: one has another.
        """
        if self.debug and (other := self.differing(value)) is not None:
            raise Disagreement(f"{what} of process {other} is not that of process 0")


ALONE = Processes()


@contextmanager
def together() -> Iterator[None]:
    """Another process that is gone is noticed by what is said to it: as one sentence."""
    try:
        yield
    except RuntimeError as error:  # of several classes, one of which is RuntimeError itself
        if is_out_of_memory(error):
            raise
        raise UserError(
            "another process of this run is gone or does not answer"
            f" ({one_line(' '.join(str(error).split()), 150)}); the same command goes on from the"
            " last checkpoint"
        ) from None
