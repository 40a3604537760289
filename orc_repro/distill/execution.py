"""How a method's networks compute in training: number format, compiled or not, replayed or not.

Validation and test know nothing of it: they evaluate in float32, as written.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.grad_mode import _unsafe_preserve_version_counter

from orc_repro.config import Recipe, architecture_of
from orc_repro.distill.pieces import in_pieces
from orc_repro.distill.replay import CudaGraphs, Replay
from orc_repro.errors import one_line
from orc_repro.processes.group import ALONE, Processes

T = TypeVar("T")

SPECIALISATIONS = 64
"""How often one network's code may be compiled anew before torch falls back in silence. All
networks of a family share their code, each with and without gradient and running statistics; torch
stops at 8.
"""


def warn_on_stderr(problem: str) -> None:
    """One line."""
    print(f"warning: {problem}", file=sys.stderr)


class Execution:
    """As a recipe says, where the platform can; where it cannot, as written, after one warning.

    Attributes:
        replay: records and replays a step's phases; None: they run as written.
        compiles: whether networks are compiled.
        streams: whether networks that do not wait for each other may run at once, on a GPU whose
            steps are replayed. Not part of a recipe before it has been measured.
        processes: this process among those that train together.
    """

    def __init__(
        self,
        recipe: Recipe | None = None,
        device: torch.device | str = "cpu",
        *,
        replays: bool = True,
        processes: Processes = ALONE,
        warn: Callable[[str], None] = warn_on_stderr,
    ) -> None:
        self.device, self._warn = torch.device(device), warn
        self.processes = processes
        self._recipe = recipe
        self._pieces = 1 if recipe is None else recipe.pieces
        self._compiled: dict[str, Callable[[Tensor], Tensor]] = {}
        self._streams: dict[str, torch.cuda.Stream] = {}
        self.replay: Replay | None = None
        self.streams = False
        wanted = "off" if recipe is None else recipe.compile
        self.compiles = wanted in ("default", "default+graphs")
        if "graphs" in wanted:
            lacks = self._lacks_for_graphs(replays)
            if lacks is None:
                self.replay = Replay(CudaGraphs(self.device))
            else:
                warn(f"`compile: {wanted}`, but {lacks}; this runs without graphs")

    def _lacks_for_graphs(self, replays: bool) -> str | None:
        if not replays:
            return "this method cannot be recorded"
        if self.processes.count > 1:
            return "several processes talk within a step"
        if self._pieces > 1:
            return "a batch in pieces is computed twice"
        return None if self.device.type == "cuda" else "no CUDA device"

    def precision(self, name: str) -> AbstractContextManager[Any]:
        """Within it a network computes in its own number format; weights stay in float32."""
        recipe = self._recipe
        if recipe is None:
            return nullcontext()
        asked = recipe.network_precisions.get(architecture_of(name), recipe.precision)
        if asked == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def forward(self, name: str, network: nn.Module, images: Tensor) -> Tensor:
        """A network's logits [B, C], of images [B, C_in, H, W]."""
        with self.precision(name):
            if self._pieces > 1:
                compute = partial(self._compute, name, network)
                return in_pieces(network, compute, images, self._pieces)
            return self._compute(name, network, images)

    def _compute(self, name: str, network: nn.Module, images: Tensor) -> Tensor:
        if not self.compiles:
            logits: Tensor = network(images)
            return logits
        if name not in self._compiled:
            self._compiled[name] = _compiled(network)
        try:
            return self._compiled[name](images)
        except torch._dynamo.exc.TorchDynamoException as error:
            # No C++ compiler, or one that cannot: nothing has been computed yet.
            self.compiles = False
            self._warn(f"networks are not compiled: {one_line(str(error), 200)}")
            logits = network(images)
            return logits

    def inputs(self, given: T) -> T:
        """A step's tensors, where its phases read them."""
        return given if self.replay is None else self.replay.inputs(given)

    def phase(self, key: Hashable, function: Callable[..., T], *given: Any) -> T:
        """``function(*given)``: a part of a step within which the host decides nothing."""
        if self.replay is None:
            return function(*given)
        return self.replay.phase(key, function, *given)

    @property
    def must_prepare(self) -> bool:
        """Whether everything that may be recorded later has to be compiled now."""
        return self.compiles and self.replay is not None and self.replay.warming_up

    @property
    def keeps_answers(self) -> bool:
        """Whether a backward pass has to leave the graph of what it went through."""
        return self.replay is not None and self.replay.recording

    def changing(self, weights: Iterable[nn.Parameter]) -> AbstractContextManager[Any]:
        """Within it these weights may be changed; see ``Replay.recording``."""
        if not self.keeps_answers:
            return nullcontext()
        return _unsafe_preserve_version_counter(tuple(weights))

    def set_learning_rate(self, group: dict[str, Any], rate: float) -> None:
        """Of a parameter group; one that is replayed has it in the device's memory."""
        known = group["lr"]
        if self.replay is None:
            group["lr"] = rate
        elif isinstance(known, Tensor) and known.device.type == self.device.type:
            known.fill_(rate)
        else:  # the first time, or what a checkpoint brought
            group["lr"] = torch.tensor(rate, device=self.device)

    def side_by_side(self, calls: Mapping[str, Callable[[], Tensor]]) -> dict[str, Tensor]:
        """Results of calls that do not wait for each other, by network."""
        if not self.streams or self.replay is None or self.device.type != "cuda":
            return {name: call() for name, call in calls.items()}
        outside = torch.cuda.current_stream()
        results = {}
        for name, call in calls.items():
            if name not in self._streams:
                self._streams[name] = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
            stream = self._streams[name]
            stream.wait_stream(outside)
            with torch.cuda.stream(stream):
                results[name] = call()
        for name in calls:
            outside.wait_stream(self._streams[name])
        return results


def _compiled(network: nn.Module) -> Callable[[Tensor], Tensor]:
    import torch._dynamo.config as limits  # a second of imports that only this needs

    limits.recompile_limit = max(limits.recompile_limit, SPECIALISATIONS)
    compiled: Callable[[Tensor], Tensor] = torch.compile(network, dynamic=False)
    return compiled
