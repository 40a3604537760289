"""A loss on features of one frozen teacher, beside cross-entropy.

The losses and the layers that some of them learn with are torchdistill's. Which of them serve,
under which weight, and why others do not: ``docs/feature_methods.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orc_repro._torchvision import import_torchvision
from orc_repro.config import AnyMethod, FeatureConfig, Group, Sgd
from orc_repro.distill import losses
from orc_repro.distill.method import Method, StepResult, as_teacher, count_correct
from orc_repro.distill.roles import Roles
from orc_repro.errors import UserError
from orc_repro.models.layers import Classifier

# What RKD's authors and CRD's protocol have in common; the weight of the whole comes on top.
_RKD_DISTANCE, _RKD_ANGLE = 25.0, 50.0
# VID's variance is a parameter for each channel, kept above the one and started at the other.
_VID_LEAST_VARIANCE, _VID_FIRST_VARIANCE = 1e-5, 5.0

_BY_POSITION = ("fitnet", "at", "vid")  # they compare maps position by position


@dataclass(frozen=True)
class Features:
    """What a network makes of B images on the way to its logits.

    Attributes:
        stages: the map [B, width, h, w] at the end of each stage.
        pooled: what the linear layer sees, [B, width].
        logits: [B, C].
    """

    stages: tuple[Tensor, ...]
    pooled: Tensor
    logits: Tensor


def stage_ends(features: nn.Sequential) -> tuple[int, ...]:
    """The index of each stage's last module, by what the modules are.

    A stage begins where images become smaller. It ends at its last module that looks at more than
    one position: neither a stem or a widening of 1x1 nor the norm before the head is part of it.
    """
    ends: list[int] = []
    last: int | None = None
    for index, module in enumerate(features):
        parts = list(module.modules())
        if last is not None and any(map(_shrinks, parts)):
            ends.append(last)
            last = None
        if any(isinstance(part, nn.Conv2d) and part.kernel_size != (1, 1) for part in parts):
            last = index
    return tuple(ends) if last is None else (*ends, last)


def _shrinks(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d | nn.MaxPool2d) and module.stride not in (1, (1, 1))


def look(network: Classifier, images: Tensor, ends: tuple[int, ...]) -> Features:
    """A network's features of images [B, C_in, H, W], in the mode it is in; float32 maps."""
    stages = []
    x = images
    for index, module in enumerate(network.features):
        x = module(x)
        if index in ends:
            stages.append(losses.upcast(x))
    pooled = x.mean(dim=(2, 3))
    return Features(tuple(stages), losses.upcast(pooled), network.head(pooled))


def compared(loss: str, features: Features) -> tuple[Tensor, ...]:
    """Those of a network's features that a loss looks at."""
    if loss in ("at", "vid"):
        return features.stages
    if loss == "fitnet":
        return (features.stages[len(features.stages) // 2],)
    return (features.pooled,)


def of_one_size(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """The larger of two maps [B, width, h, w] is averaged down to the other's positions."""
    # Not adaptive_avg_pool2d, whose gradient is not deterministic on a GPU; the same where, as
    # here, one size is a multiple of the other.
    if one.shape[-1] > other.shape[-1]:
        return F.avg_pool2d(one, one.shape[-1] // other.shape[-1]), other
    if one.shape[-1] < other.shape[-1]:
        return one, F.avg_pool2d(other, other.shape[-1] // one.shape[-1])
    return one, other


class FeatureLoss(nn.Module):
    """One of torchdistill's losses, and the layers that carry the student's maps to the teacher's.

    Args:
        name: as ``FeatureConfig.loss``.
        student, teacher: the widths of what ``compared`` gives of each.

    Raises:
        UserError: torchdistill is not installed.
    """

    def __init__(self, name: str, student: tuple[int, ...], teacher: tuple[int, ...]) -> None:
        super().__init__()
        if find_spec("torchdistill") is None:
            raise UserError(
                f"the loss '{name}' is torchdistill's, which is not installed; install it with:"
                ' pip install "orc-repro[features]"'
            )
        self.name = name
        self.loss = _loss(name, len(student))
        self.adapters = nn.ModuleList(
            _adapter(name, *widths) for widths in zip(student, teacher, strict=True)
        )

    def forward(self, student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> Tensor:
        """A scalar, from what ``compared`` gives of the student and of the teacher."""
        seen: dict[str, dict[str, Any]] = {}
        aims: dict[str, dict[str, Any]] = {}
        for i, (one, other) in enumerate(zip(student, teacher, strict=True)):
            if self.name in _BY_POSITION:
                one, other = of_one_size(one, other)
            seen[str(i)] = {"output": self.adapters[i](one)}
            aims[str(i)] = {"output": other}
        loss: Tensor = self.loss(seen, aims, None)  # no loss here asks for labels
        return loss


def _loss(name: str, pairs: int) -> nn.Module:
    """torchdistill's loss between the outputs of "0", "1", ... of student and teacher."""
    from torchdistill.losses import mid_level

    taps = [{"io": "output", "path": str(i)} for i in range(pairs)]
    pairs_of = {tap["path"]: {"student": tap, "teacher": tap} for tap in taps}
    made: nn.Module
    if name == "fitnet":
        first = {"module_path": "0", "io": "output"}
        made = mid_level.SimpleLossWrapper(
            nn.MSELoss(),
            input={**first, "is_from_teacher": False},
            target={**first, "is_from_teacher": True},
        )
    elif name == "at":
        made = mid_level.ATLoss(pairs_of, mode="code")
    elif name == "vid":
        made = mid_level.VIDLoss(pairs_of)
    elif name == "rkd":
        made = mid_level.RKDLoss("0", "0", _RKD_DISTANCE, _RKD_ANGLE, reduction="mean")
    else:
        made = mid_level.PKTLoss("0", "output", "0", "output")
    return made


def _adapter(name: str, student: int, teacher: int) -> nn.Module:
    """From the student's map [B, student, h, w] to what the loss compares with the teacher's."""
    if name not in ("fitnet", "vid"):
        return nn.Identity()
    import_torchvision()  # torchdistill.models imports it
    from torchdistill.models.adaptation import ConvReg
    from torchdistill.models.wrapper import Regressor4VID

    made: nn.Module
    if name == "fitnet":
        made = ConvReg(student, teacher, kernel_size=1, stride=1, padding=0)
    else:
        made = Regressor4VID(student, teacher, teacher, _VID_LEAST_VARIANCE, _VID_FIRST_VARIANCE)
    return made


class Feature(Method):
    """The pivot teaches the target by what both make of an image; the pivot is never changed."""

    takes_pieces = False

    def __init__(
        self, config: FeatureConfig, group: Group, networks: Mapping[str, nn.Module], optimizer: Sgd
    ) -> None:
        self.config, self.target, self.pivot = config, group.target, group.teacher
        self.roles = Roles(self.pivot, (), (self.target,))
        self.looked_at = {name: _with_stages(name, networks[name]) for name in networks}
        self.ends = {name: stage_ends(net.features) for name, net in self.looked_at.items()}
        stages = [len(self.ends[name]) for name in (self.target, self.pivot)]
        if config.loss in _BY_POSITION and len(set(stages)) > 1:
            raise UserError(
                f"{config.loss} cannot pair the {stages[0]} stages of {self.target} with the"
                f" {stages[1]} of {self.pivot}"
            )
        widths = [self._widths(name) for name in (self.target, self.pivot)]
        # The same for every seed, so that the target alone differs between methods of one seed.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.feature_loss = FeatureLoss(config.loss, *widths)
        self.feature_loss.to(self.looked_at[self.target].head.weight.device)
        super().__init__(networks, trained=[self.target], optimizer=optimizer)

    @classmethod
    def networks_of(cls, group: Group, config: AnyMethod) -> tuple[str, ...]:
        """The pivot and the target."""
        return (group.teacher, group.target)

    @classmethod
    def teachers_of(cls, group: Group) -> tuple[str, ...]:
        """The pivot."""
        return (group.teacher,)

    @property
    def can_be_replayed(self) -> bool:
        """What torchdistill's losses do on the host is theirs to change."""
        return False

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The networks and the adapters."""
        return self.networks | {"adapters": self.feature_loss}

    def parameters_of(self, name: str) -> Iterable[nn.Parameter]:
        """The adapters are learned with the target, under its learning rate and weight decay."""
        return [*self.networks[name].parameters(), *self.feature_loss.parameters()]

    def iterate(self, images: Tensor, labels: Tensor, draws: Mapping[str, Tensor]) -> StepResult:
        """ce_weight H(y, P_S) + kd_weight T^2 KL(P_T || P_S) + weight L(features of S and T)."""
        config = self.config
        with self.execution.precision(self.target):
            seen = look(self.looked_at[self.target], images, self.ends[self.target])
        aims = self._ask_pivot(images)
        ce = losses.cross_entropy(seen.logits, labels).mean()
        feature = self.feature_loss(compared(config.loss, seen), compared(config.loss, aims))
        parts = {"ce": ce, "feature": feature}
        loss = config.ce_weight * ce + config.weight * feature
        if config.kd_weight:
            targets = losses.soft_targets(aims.logits, config.temperature)
            parts["kd_pivot"] = losses.distillation(seen.logits, targets, config.temperature)
            loss = loss + config.kd_weight * parts["kd_pivot"]
        self.update([self.target], [loss])
        parts["loss"] = loss
        return StepResult(
            losses={f"{self.target}/{part}": value.detach() for part, value in parts.items()},
            correct={self.target: count_correct(seen.logits, labels)},
            roles=self.roles,
        )

    def state_dict(self) -> dict[str, Any]:
        """The base's, with the adapters."""
        return super().state_dict() | {"feature_loss": self.feature_loss.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        super().load_state_dict(state)
        self.feature_loss.load_state_dict(state["feature_loss"])

    def _ask_pivot(self, images: Tensor) -> Features:
        pivot = self.looked_at[self.pivot]
        with as_teacher(pivot, "running"), self.execution.precision(self.pivot):
            return look(pivot, images, self.ends[self.pivot])

    def _widths(self, name: str) -> tuple[int, ...]:
        """Channels of what the loss compares, seen on an image of zeros that changes nothing."""
        network = self.looked_at[name]
        first = next(part for part in network.modules() if isinstance(part, nn.Conv2d))
        was_training = network.training
        with torch.no_grad():
            image = first.weight.new_zeros(1, first.in_channels, 32, 32)
            features = look(network.eval(), image, self.ends[name])
        network.train(was_training)
        return tuple(tensor.shape[1] for tensor in compared(self.config.loss, features))


def _with_stages(name: str, network: nn.Module) -> Classifier:
    if isinstance(network, Classifier):
        return network
    raise UserError(f"feature cannot look into {name}: it needs a network for small images")
