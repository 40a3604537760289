"""Phases of a step recorded once and replayed: on a GPU a phase is then a single launch.

A group for small images is bound by launches, not by arithmetic (``docs/performance.md``). Between
two phases the host may look at what the first left behind and choose the next, as an election
does; within a phase it may not.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor
from torch.autograd.grad_mode import _unsafe_preserve_version_counter
from torch.utils._pytree import tree_leaves, tree_map_only

from orc_repro.errors import UserError, one_line
from orc_repro.memory import is_out_of_memory

T = TypeVar("T")

WARM_UP_STEPS = 3
"""Steps as written before anything is recorded: momentum has to exist, libraries to have chosen
their kernels. As many as PyTorch's own notes on graphs take.
"""


class Recorder(Protocol):
    """Runs a function now, or records what it does to memory so that it can be done again."""

    def run(self, function: Callable[[], T]) -> T:
        """Run it, where it will be recorded later."""

    def record(self, function: Callable[[], T]) -> tuple[Callable[[], None], T]:
        """How to replay it, and its result, whose memory each replay writes anew."""


class CudaGraphs:
    """Records CUDA graphs. They share memory, so they are replayed in the order of recording."""

    def __init__(self, device: torch.device) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def run(self, function: Callable[[], T]) -> T:
        """Run it on the stream that records."""
        outside = torch.cuda.current_stream()
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            result = function()
        outside.wait_stream(self._stream)
        return result

    def record(self, function: Callable[[], T]) -> tuple[Callable[[], None], T]:
        """Capture it; nothing is computed before the first replay."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            result = function()
        return graph.replay, result


@dataclass(frozen=True)
class _Recorded:
    given: list[Tensor]
    replay: Callable[[], None]
    result: Any


class Replay:
    """The phases of one method's steps, each recorded when it is first met after the warm-up.

    Attributes:
        recording: whether what runs now is being recorded. A phase that is recorded later may
            need the answers of one recorded before, so backward passes must then keep them, and
            a change of weights must not be held against them: when a phase is replayed, weights
            are those that its answers were made with.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._recorded: dict[Hashable, _Recorded] = {}
        self._inputs: Any = None
        self._steps = 0
        self.recording = False

    @property
    def warming_up(self) -> bool:
        """Whether steps still run as written."""
        return self._steps <= WARM_UP_STEPS

    def inputs(self, given: T) -> T:
        """A step's tensors, copied to where the recorded phases read them.

        Raises:
            ValueError: a shape is another than in the first step.
        """
        self._steps += 1
        if self._inputs is None:
            self._inputs = tree_map_only(Tensor, torch.clone, given)
        for ours, theirs in zip(tree_leaves(self._inputs), tree_leaves(given), strict=True):
            if ours.shape != theirs.shape:
                raise ValueError(
                    f"recorded for {tuple(ours.shape)}, given {tuple(theirs.shape)}: a recorded"
                    " step has one shape"
                )
            # What was recorded with these tensors is computed anew from them before it is used.
            with _unsafe_preserve_version_counter(ours):
                ours.copy_(theirs)
        copied: T = self._inputs
        return copied

    def phase(self, key: Hashable, function: Callable[..., T], *given: Any) -> T:
        """``function(*given)``, or its replay.

        Args:
            key: tells phases apart; with it goes whatever the host chose before.
            given: of :meth:`inputs`, or of earlier phases.

        Raises:
            UserError: the phase does something that cannot be recorded.
        """
        if self.warming_up:
            return self._recorder.run(lambda: function(*given))
        if key not in self._recorded:
            self._recorded[key] = self._record(lambda: function(*given), given)
        known = self._recorded[key]
        if any(a is not b for a, b in zip(known.given, _tensors(given), strict=True)):
            raise ValueError(f"phase {key!r} was recorded for other tensors")
        known.replay()
        result: T = known.result
        return result

    def _record(self, function: Callable[[], Any], given: tuple[Any, ...]) -> _Recorded:
        self.recording = True
        try:
            replay, result = self._recorder.record(function)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise UserError(
                f"a step cannot be recorded as a CUDA graph ({one_line(str(error), 200)});"
                " `compile: off` trains without"
            ) from None
        finally:
            self.recording = False
        return _Recorded(_tensors(given), replay, result)


def _tensors(given: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor)]
