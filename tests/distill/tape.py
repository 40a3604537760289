"""Stands in for CUDA graphs where there is no GPU: what is done to memory, done again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

T = TypeVar("T")


@dataclass(frozen=True)
class _Operation:
    """An operation, what it was given, and of what it gave the tensors that are no views."""

    function: Any
    args: Any
    kwargs: Any
    new: dict[int, Tensor]


class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records operations on memory; :meth:`replay` does them again on the same memory.

    As with a CUDA graph: recording leaves memory as it was, what Python did in between is not done
    again, results appear where they were recorded, no version counter moves, and a number that the
    host asks for cannot be recorded.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._operations: list[_Operation] = []
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}
        self._made: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        kwargs = kwargs or {}
        given = {_storage(t)._cdata: _storage(t) for t in _tensors((args, kwargs))}
        for key, storage in given.items():
            if key not in self._made and key not in self._before:
                self._before[key] = (storage, storage.clone())  # type: ignore[no-untyped-call]
        made = func(*args, **kwargs)
        new = {i: t.data for i, t in enumerate(_tensors(made)) if _storage(t)._cdata not in given}
        self._made |= {_storage(t)._cdata for t in new.values()}
        args, kwargs = tree_map_only(Tensor, lambda t: t.data, (args, kwargs))
        self._operations.append(_Operation(func, args, kwargs, new))
        return made

    def undo(self) -> None:
        """Put memory back as it was before anything was recorded."""
        for storage, before in self._before.values():
            storage.copy_(before)

    @torch.no_grad()
    def replay(self) -> None:
        """Do it again."""
        for operation in self._operations:
            made = _tensors(operation.function(*operation.args, **operation.kwargs))
            for i, ours in operation.new.items():
                ours.copy_(made[i])


class Tapes:
    """A recorder for ``Replay``; counts what it did."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def run(self, function: Callable[[], T]) -> T:
        return function()

    def record(self, function: Callable[[], T]) -> tuple[Callable[[], None], T]:
        tape = Tape()
        with tape:
            result = function()
        tape.undo()
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            tape.replay()

        return replay, result


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _storage(tensor: Tensor) -> torch.UntypedStorage:
    return tensor.untyped_storage()
