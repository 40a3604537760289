"""What ``params.yaml`` says of methods, as frozen, strict models; see ``orc_repro/config.py``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from orc_repro.ranges import Concentration, Decay, Fraction, RateOrNone, Temperature, Weight
from orc_repro.validation import Strict


class CeConfig(Strict):
    """The target trained alone, by cross-entropy."""

    kind: Literal["ce"]


class KdConfig(Strict):
    """The target taught by the frozen pivot: (1-beta) CE + beta T^2 KL (Hinton et al., 2015)."""

    kind: Literal["kd"]
    temperature: Temperature
    beta: Fraction


class Ranking(Strict):
    """How the students are compared before a promotion."""

    criterion: Literal["loss", "accuracy", "improvement"]
    smoothing: Decay
    batch_norm: Literal["train", "eval"]


class Promotion(Strict):
    """Who is promoted, how many, and what they must reach.

    ``rule``: ``elected`` by ranking, anew in every iteration; always the ``deepest`` or the
    ``shallowest``; or at ``random``, drawn in every iteration. ``top_k: 0`` promotes nobody.
    """

    rule: Literal["elected", "deepest", "shallowest", "random"]
    top_k: Annotated[int, Field(ge=0, le=100)]
    margin: Weight
    min_accuracy: Fraction


class Feedback(Strict):
    """Which samples the students hand to the pivot.

    ``across``: with several processes, whether a sample's partner comes from its own process's
    part of the batch, or from all of it, for which the images are sent around.
    """

    across: Literal["process", "batch"]
    choice: Literal["student_loss", "sample_loss", "union", "hardest"]
    nobody_errs: Literal["self", "random"]


class MixUp(Strict):
    """lambda ~ Beta(alpha, alpha), one a batch or one a sample (Zhang et al., 2018)."""

    alpha: Concentration
    draw_per: Literal["batch", "sample"]


class Intensive(Strict):
    """What the pivot learns from, and its learning rate relative to the group's schedule."""

    material: Literal["mixed_feedback", "feedback", "mixed_random", "none"]
    pivot_lr_scale: RateOrNone


class Teaching(Strict):
    """Private and group teaching, and how a teacher is asked for its targets."""

    private: bool
    group: Literal["individual", "mean", "ensemble_logits", "ensemble_probabilities", "none"]
    order: Literal["sequential", "simultaneous"]
    pivot_batch_norm: Literal["running", "batch"]
    temporary_batch_norm: Literal["running", "batch"]


class OrcConfig(Strict):
    """Online role change (``docs/method.md``)."""

    kind: Literal["orc"]
    temperature: Temperature
    beta: Fraction
    ranking: Ranking
    promotion: Promotion
    feedback: Feedback
    mixup: MixUp
    intensive: Intensive
    teaching: Teaching


class TakdConfig(Strict):
    """A chain: the target taught by the smallest assistant, each by the next larger network."""

    kind: Literal["takd"]
    temperature: Temperature
    beta: Fraction


class DgkdConfig(Strict):
    """Dense guidance: the target taught by the pivot and all assistants, each of them likewise.

    ``drop_probability``: of each assistant's term, in each mini-batch, for the target alone.
    """

    kind: Literal["dgkd"]
    temperature: Temperature
    beta: Fraction
    drop_probability: Fraction


class FeatureConfig(Strict):
    """One frozen teacher and a loss on its features (``docs/feature_methods.md``)."""

    kind: Literal["feature"]
    loss: Literal["fitnet", "at", "vid", "rkd", "pkt"]
    weight: Weight
    ce_weight: Weight
    kd_weight: Weight
    temperature: Temperature


class DmlConfig(Strict):
    """Deep mutual learning: CE + weight times the mean KL from each peer.

    ``members``: the group's students, or these and the pivot's architecture, untrained.
    """

    kind: Literal["dml"]
    members: Literal["students", "group"]
    temperature: Temperature
    weight: Weight
    order: Literal["sequential", "simultaneous"]


class KdclConfig(Strict):
    """Knowledge distillation via collaborative learning: CE + weight T^2 KL from an ensemble.

    ``members`` as in :class:`DmlConfig`.
    """

    kind: Literal["kdcl"]
    members: Literal["students", "group"]
    ensemble: Literal["naive", "linear", "minlogit", "general"]
    temperature: Temperature
    weight: Weight


class OneConfig(Strict):
    """On-the-fly native ensemble: branches of the target on a shared trunk, and a gate."""

    kind: Literal["one"]
    branches: Annotated[int, Field(ge=2, le=100)]
    temperature: Temperature
    weight: Weight


AnyMethod = (
    CeConfig
    | KdConfig
    | TakdConfig
    | DgkdConfig
    | FeatureConfig
    | DmlConfig
    | KdclConfig
    | OneConfig
    | OrcConfig
)
MethodConfig = Annotated[AnyMethod, Field(discriminator="kind")]
