"""Change the code in a copy: a probe must see each change of behaviour, and no other change."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from orc_repro.probes.behaviour import PACKAGE, differing, read_digests, run_probes

CE, KD, ORC = "method/ce", "method/kd", "method/orc"


@dataclass(frozen=True)
class Mutant:
    """An edit of one module, the probes that must see it, and some that must not."""

    name: str
    module: str
    edits: tuple[tuple[str, str], ...]
    seen_by: tuple[str, ...]
    unseen_by: tuple[str, ...] = ()


def mutant(
    name: str,
    module: str,
    old: str,
    new: str,
    seen_by: tuple[str, ...],
    unseen_by: tuple[str, ...] = (),
) -> Mutant:
    """A mutant of one edit."""
    return Mutant(name, module, ((old, new),), seen_by, unseen_by)


MUTANTS = (
    mutant(
        "learning rate times 10",
        "recipe_config.py",
        "return self.network_learning_rates.get(",
        "return 10 * self.network_learning_rates.get(",
        (CE, KD, ORC, "stage/pretrain"),
        ("network/resnet8", "stage/evaluate", "prepare/folder"),
    ),
    mutant(
        "milestone one epoch late",
        "training/schedule.py",
        "epoch >= milestone",
        "epoch > milestone",
        (CE, ORC),
        ("stage/evaluate",),
    ),
    mutant(
        "flips off",
        "stages/run.py",
        "recipe.augmentation.flip)",
        "False)",
        ("augmentation/flip",),
        (CE, "augmentation/crop"),
    ),
    mutant(
        "crops off",
        "stages/run.py",
        "Augmentation(recipe.augmentation.crop_padding,",
        "Augmentation(0,",
        ("augmentation/crop",),
        (CE, "augmentation/flip"),
    ),
    mutant(
        "mean and deviation swapped",
        "data/batches.py",
        ".sub_(self._mean).div_(self._std)",
        ".sub_(self._std).div_(self._mean)",
        (CE, "stage/evaluate"),
        ("network/resnet8", "prepare/folder"),
    ),
    mutant(
        "teachers not loaded",
        "stages/train.py",
        "        load_teachers(networks, cell.teachers)\n",
        "",
        (KD, ORC, "method/feature"),
        (CE, "method/dml"),
    ),
    mutant(
        "teacher in the wrong mode",
        "distill/method.py",
        'network.train(batch_norm == "batch")',
        'network.train(batch_norm != "batch")',
        (KD, ORC),
        (CE,),
    ),
    mutant(
        "T for T squared",
        "distill/losses.py",
        "divergence * temperature**2",
        "divergence * temperature",
        (KD, ORC, "method/dml", "method/kdcl", "method/one"),
        (CE,),
    ),
    mutant(
        "beta swapped in KD",
        "distill/frozen/kd.py",
        "(1 - self.config.beta) * ce + self.config.beta * term",
        "self.config.beta * ce + (1 - self.config.beta) * term",
        (KD, "method/takd"),
        (CE, ORC, "method/dgkd"),
    ),
    mutant(
        "KD averaged over classes",
        "distill/losses.py",
        'reduction="batchmean"',
        'reduction="mean"',
        (KD, ORC, "method/takd"),
        (CE,),
    ),
    mutant(
        "MixUp weight of the label lost",
        "distill/losses.py",
        "(weight * own + (1 - weight) * partner).mean()",
        "own.mean()",
        (ORC,),
        (KD, "method/orc+intensive.material=none"),
    ),
    mutant(
        "feedback of the wrong student",
        "distill/orc/feedback.py",
        "losses.mean(dim=1), -torch.inf",
        "-losses.mean(dim=1), -torch.inf",
        (ORC,),
        (KD, "method/orc+feedback.choice=union"),
    ),
    mutant(
        "margin ignored",
        "distill/roles.py",
        "(margin if holds[name] else 0.0)",
        "0.0",
        ("method/orc+promotion.margin=0.05",),
        (ORC, KD),
    ),
    mutant(
        "tie to the challenger",
        "distill/roles.py",
        "            not holds[name],",
        "            holds[name],",
        (ORC,),
        (KD, CE),
    ),
    mutant(
        "top_k from the wrong end",
        "distill/roles.py",
        "ranked[:top_k]",
        "ranked[len(ranked) - top_k :]",
        (ORC, "method/orc+promotion.top_k=2"),
        ("method/orc+promotion.top_k=0", KD),
    ),
    Mutant(
        "untaught networks moved by their momentum",
        "distill/method.py",
        (
            (
                "        for name in names:\n            with self.execution.changing",
                "        for name in self.optimizers:\n            with self.execution.changing",
            ),
            ("zero_grad(set_to_none=True)", "zero_grad(set_to_none=False)"),
        ),
        (ORC, "method/dml"),
        (CE, KD),
    ),
    mutant(
        "weight decay lost",
        "distill/method.py",
        "weight_decay=optimizer.weight_decay",
        "weight_decay=0.0",
        (CE, ORC),
        ("stage/evaluate",),
    ),
    mutant(
        "momentum lost",
        "distill/method.py",
        "momentum=optimizer.momentum",
        "momentum=0.0",
        (CE, ORC),
        ("stage/evaluate",),
    ),
    mutant(
        "statistics of a teacher updated",
        "distill/method.py",
        "norm.track_running_stats = False",
        "norm.track_running_stats = True",
        (ORC, "method/dml"),
        (KD, CE),
    ),
    mutant(
        "evaluation in training mode",
        "training/evaluate.py",
        "    network.eval()\n",
        "    network.train()\n",
        (CE, "stage/evaluate"),
        ("network/resnet8",),
    ),
    mutant(
        "top-5 as top-1",
        "training/evaluate.py",
        "topk(5,",
        "topk(1,",
        ("stage/evaluate",),
        (CE, KD),
    ),
    Mutant(
        "last batch kept",
        "data/batches.py",
        (
            ("    steps = count // batch_size\n", "    steps = -(-count // batch_size)\n"),
            (
                "torch.randperm(count, generator=generator)",
                "torch.randperm(count, generator=generator).repeat(2)",
            ),
        ),
        (CE,),
        ("stage/evaluate",),
    ),
    mutant(
        "resume that repeats a batch",
        "training/loop.py",
        "order, done.step, part)",
        "order, max(done.step - 1, 0), part)",
        (CE, KD),
        ("stage/pretrain",),
    ),
    mutant(
        "optimizers forgotten at a resume",
        "distill/method.py",
        '            optimizer.load_state_dict(state["optimizers"][name])',
        "            pass",
        (CE, KD),
        ("stage/pretrain",),
    ),
    mutant(
        "best epoch off by one",
        "training/loop.py",
        "Best(epoch=epoch,",
        "Best(epoch=epoch + 1,",
        (CE, ORC),
        ("stage/evaluate",),
    ),
    mutant(
        "one seed for students of one architecture",
        "training/networks.py",
        "stream_seed(seed, stream, name)",
        "stream_seed(seed, stream, architecture_of(name))",
        (ORC, "method/dml"),
        (CE, KD),
    ),
    mutant(
        "recipe ignored",
        "distill/__init__.py",
        "networks, recipe.optimizer)",
        'networks, recipe.optimizer.model_copy(update={"learning_rate": 1e-3}))',
        (CE, KD, ORC),
        ("stage/evaluate",),
    ),
    mutant(
        "no limit to AVX2",
        "instructions.py",
        'return recipe.deterministic and precisions == {"fp32"}',
        "return False",
        ("recipe/exact",),
        ("recipe/fast", CE),
    ),
    mutant(
        "bfloat16 ignored",
        "distill/execution.py",
        'if asked == "fp32":',
        "if asked:",
        ("recipe/bf16",),
        ("recipe/exact", CE),
    ),
    mutant(
        "no assistant dropped",
        "distill/frozen/dgkd.py",
        'draws["assistants"] >= self.config.drop_probability',
        'draws["assistants"] >= 0.0',
        ("method/dgkd+drop_probability=0.5",),
        ("method/dgkd", KD),
    ),
    mutant(
        "the worst network of the naive ensemble",
        "distill/peers/ensembles.py",
        "best = _cross_entropies(logits, labels).argmin(dim=0)",
        "best = _cross_entropies(logits, labels).argmax(dim=0)",
        ("method/kdcl",),
        ("method/kdcl+ensemble=minlogit", "method/one"),
    ),
    mutant(
        "ranking in training mode",
        "distill/orc/method.py",
        'if self.config.ranking.batch_norm == "eval":',
        "if False:",
        ("method/orc+ranking.batch_norm=eval",),
        (ORC,),
    ),
    mutant(
        "the pivot learns at full rate",
        "distill/orc/method.py",
        "learning_rate_scales={self.pivot: config.intensive.pivot_lr_scale}",
        "learning_rate_scales={}",
        (ORC,),
        (KD, "method/orc+intensive.material=none"),
    ),
    mutant(
        "a pivot drawn as a student is",
        "stages/pretrain.py",
        'stream="pretrain"',
        'stream="init"',
        ("stage/pretrain",),
        (CE, "method/dml"),
    ),
    mutant(
        "no shortcut",
        "models/resnet.py",
        "F.relu(self.residual(x) + self.shortcut(x))",
        "F.relu(self.residual(x))",
        ("network/resnet8", "network/resnet8x4", CE),
        ("network/vgg8", "network/wrn_16_1"),
    ),
    mutant(
        "the least likely class predicted",
        "stages/predictions.py",
        "argmax(dim=1) for batch",
        "argmin(dim=1) for batch",
        ("stage/evaluate",),
        (CE,),
    ),
    mutant(
        "photographs resized otherwise for evaluation",
        "data/crops.py",
        "v2.Resize(views.resize)",
        "v2.Resize(views.resize + 3)",
        ("photos/folder",),
        (CE, "augmentation/crop"),
    ),
)


@pytest.fixture(scope="module")
def kept() -> dict[str, str]:
    """The digests of the code as it is."""
    return read_digests()


def copy_with(folder: Path, module: str, edits: tuple[tuple[str, str], ...]) -> Path:
    """Copy the package and edit one module; each edit is of one place."""
    package = folder / "orc_repro"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    apply(package, module, edits)
    return package


def apply(package: Path, module: str, edits: tuple[tuple[str, str], ...]) -> None:
    """Edit one module of a copy."""
    path = package / module
    text = path.read_text()
    for old, new in edits:
        assert text.count(old) == 1, f"{module} has {text.count(old)} times: {old}"
        text = text.replace(old, new)
    path.write_text(text)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_change_of_behaviour_is_seen_where_it_matters_and_nowhere_else(
    mutant: Mutant, kept: dict[str, str], tmp_path: Path
) -> None:
    package = copy_with(tmp_path, mutant.module, mutant.edits)
    looked_at = [*mutant.seen_by, *mutant.unseen_by]
    digests = run_probes(looked_at, package)
    changed = differing({name: kept[name] for name in looked_at}, digests)
    assert sorted(changed) == sorted(mutant.seen_by)


HARMLESS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    # a comment
    (
        "training/loop.py",
        (("        method.train()\n", "        # every network\n        method.train()\n"),),
    ),
    # a docstring
    ("distill/frozen/kd.py", (('"""The teachers and the target."""', '"""Whom it asks."""'),)),
    # the wording of an error
    ("models/zoo.py", (("unknown network '", "there is no network '"),)),
    # a local variable renamed
    (
        "training/schedule.py",
        (
            (
                "sum(epoch >= milestone for milestone in milestones_epochs)",
                "sum(epoch >= one for one in milestones_epochs)",
            ),
        ),
    ),
    # a private function renamed
    (
        "distill/roles.py",
        (
            ("            _smoothed(self.loss, losses", "            _mean(self.loss, losses"),
            (" _smoothed(self.accuracy, acc", " _mean(self.accuracy, acc"),
            ("def _smoothed(", "def _mean("),
        ),
    ),
    # other words on the screen
    ("progress.py", (("  validation ", "  accuracy "),)),
    # an expression written otherwise
    (
        "distill/losses.py",
        (
            (
                "    return weight * images + (1 - weight) * partners",
                "    return (weight * images) + partners * (1 - weight)",
            ),
        ),
    ),
    # another message of a checkpoint
    ("training/checkpoints.py", (("its SHA-256 is another", "its hash differs"),)),
)


def test_changes_of_text_alone_are_not_seen(kept: dict[str, str], tmp_path: Path) -> None:
    package = copy_with(tmp_path, *HARMLESS[0])
    for module, edits in HARMLESS[1:]:
        apply(package, module, edits)
    # a function moved to another module
    text = (package / "distill/method.py").read_text()
    start = text.index("def count_correct(")
    end = text.index("@contextmanager", start)
    (package / "distill/counting.py").write_text("from torch import Tensor\n\n\n" + text[start:end])
    moved = text[:start] + text[end:]
    (package / "distill/method.py").write_text(
        moved.replace(
            "from orc_repro.distill.roles import Roles\n",
            "from orc_repro.distill.counting import count_correct\n"
            "from orc_repro.distill.roles import Roles\n",
        )
    )
    names = [CE, KD, ORC, "method/dml", "method/orc+ranking.smoothing=0.9", "stage/pretrain"]
    names += ["stage/evaluate", "network/resnet8", "augmentation/crop", "recipe/exact"]
    assert differing({name: kept[name] for name in names}, run_probes(names, package)) == []
