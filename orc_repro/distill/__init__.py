"""Methods, their losses and roles: ``docs/method.md`` in code.

A new method is one module here, a configuration, and its name below, in ``probes/catalogue.py`` and
in ``params.yaml`` (``docs/tutorial.md``, step 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from orc_repro.config import AnyMethod, Group, Recipe
from orc_repro.distill.ce import Ce
from orc_repro.distill.execution import Execution, warn_on_stderr
from orc_repro.distill.feature import Feature
from orc_repro.distill.frozen.dgkd import Dgkd
from orc_repro.distill.frozen.kd import Kd
from orc_repro.distill.frozen.takd import Takd
from orc_repro.distill.method import Method, StepResult
from orc_repro.distill.orc.method import Orc
from orc_repro.distill.peers.dml import Dml
from orc_repro.distill.peers.kdcl import Kdcl
from orc_repro.distill.peers.one import One
from orc_repro.errors import UserError
from orc_repro.processes.group import ALONE, Processes

METHODS: dict[str, type[Method]] = {
    "ce": Ce,
    "kd": Kd,
    "takd": Takd,
    "dgkd": Dgkd,
    "feature": Feature,
    "dml": Dml,
    "kdcl": Kdcl,
    "one": One,
    "orc": Orc,
}

SOURCES: dict[str, str] = {
    "ce": "plain training, what every method has to beat",
    "kd": "Hinton, Vinyals, Dean 2015: one frozen teacher",
    "takd": "Mirzadeh et al., AAAI 2020: a chain of assistants",
    "dgkd": "Son et al., ICCV 2021: the pivot and all assistants at once",
    "feature": "FitNet, AT, VID, RKD, PKT: a loss on features, by torchdistill",
    "dml": "Zhang et al., CVPR 2018: everyone teaches everyone",
    "kdcl": "Guo et al., CVPR 2020: an ensemble of those that learn together",
    "one": "Lan, Zhu, Gong, NeurIPS 2018: branches and their gated ensemble",
    "orc": "Choi et al., ICCV 2023: pivot, temporary teacher, online role change",
}
"""Where each kind of method comes from."""

__all__ = [
    "METHODS",
    "SOURCES",
    "Ce",
    "Dgkd",
    "Dml",
    "Execution",
    "Feature",
    "Kd",
    "Kdcl",
    "Method",
    "One",
    "Orc",
    "StepResult",
    "Takd",
    "build_method",
]


def build_method(
    config: AnyMethod,
    group: Group,
    networks: Mapping[str, nn.Module],
    recipe: Recipe,
    processes: Processes = ALONE,
) -> Method:
    """The method a cell names, over networks by name (see ``Method.networks_of``).

    It computes as the recipe says, on the device its networks are on.

    Raises:
        UserError: the recipe asks for pieces of a batch, which the method or the batch cannot have.
    """
    method: Any = METHODS[config.kind]
    if recipe.pieces > 1 and not method.takes_pieces:
        raise UserError(f"{config.kind} computes whole batches only; `pieces` must be 1")
    if recipe.batch_norm == "batch" and processes.count > 1 and not method.takes_pieces:
        raise UserError(
            f"{config.kind} has batch norm beside its networks, of each process; `batch_norm` must"
            " be process"
        )
    part = recipe.batch_size // processes.count
    if part % recipe.pieces:
        raise UserError(f"{part} images of a batch cannot be divided into {recipe.pieces} pieces")
    built: Method = method(config, group, networks, recipe.optimizer)
    device = next(networks[group.target].parameters()).device
    built.execution = Execution(
        recipe,
        device,
        replays=built.can_be_replayed,
        processes=processes,
        warn=warn_on_stderr if processes.leads else _say_nothing,
    )
    if built.execution.must_prepare:
        _let_backward_keep_its_graph()
    return built


def _let_backward_keep_its_graph() -> None:
    """Before anything is compiled: a step that is recorded goes back through a graph and keeps it.

    The compiler otherwise lets a backward pass write into what the forward pass has saved, and
    refuses to keep the graph from then on.
    """
    import torch._functorch.config as compiler  # a second of imports that only this needs

    compiler.donated_buffer = False


def _say_nothing(problem: str) -> None:
    """Another process of the run says it."""
