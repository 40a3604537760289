"""What ``orc-repro COMMAND --help`` ends with: lines that work as they are."""

from __future__ import annotations

from collections.abc import Sequence

_SEARCH = "studies/search/group_temperature_promotion_digits.yaml"

FIRST = ("orc-repro run --workers 2", "orc-repro table", "orc-repro train --help")
"""For ``orc-repro --help``: what to begin with."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "plan": ("orc-repro plan", "orc-repro plan table02"),
    "probe": (
        "orc-repro probe",
        "orc-repro probe method/kd network/resnet8",
    ),
    "prepare": (
        "orc-repro prepare digits",
        "orc-repro prepare cifar100 --study table02",
    ),
    "list": ("orc-repro list imagenet --study studies/pools/imagenet",),
    "subset": (
        "orc-repro subset cifar10 --from data/raw --to data/raw/cifar10-few"
        " --train-per-class 50 --test-per-class 10",
    ),
    "pretrain": (
        "orc-repro pretrain digits-resnet20-digits-s0",
        "orc-repro pretrain digits-resnet20-digits-s0 --device cpu --restart",
    ),
    "assist": (
        "orc-repro assist cifar10-small-r20-r8-takd-resnet14-cifar10-pretraining-s0"
        " --study studies/pools/cifar10-small",
    ),
    "train": (
        "orc-repro train digits-r20-r8-orc-s0",
        "orc-repro train digits-r20-r8-orc-s0 --plan",
        "orc-repro train digits-r20-r8-orc-s0 --processes 2",
        "ORC_DEVICE=cuda:1 orc-repro train cifar100-r56-r20-orc-s0 --study studies/pools/cifar100",
    ),
    "search": (f"orc-repro search {_SEARCH}", f"orc-repro search {_SEARCH} --workers 4"),
    "promote": (f"orc-repro promote {_SEARCH}",),
    "evaluate": ("orc-repro evaluate digits-r20-r8-orc-s0",),
    "report": ("orc-repro report", "orc-repro report --study peers_cifar10"),
    "page": (
        "orc-repro page",
        "orc-repro page --runs-at https://mlflow.example.org --to page.html",
    ),
    "reproduction": ("orc-repro reproduction",),
    "table": ("orc-repro table", "orc-repro table --study studies/peers_cifar10"),
    "methods": ("orc-repro methods",),
    "tables": ("orc-repro tables", "orc-repro tables table03"),
    "run": (
        "orc-repro run --workers 2",
        "orc-repro run train@digits-r20-r8-orc-s0",
        "orc-repro run --study table02 cifar100-r56-r20-orc-s1",
    ),
    "status": ("orc-repro status", "orc-repro status table02"),
    "roles": (
        "orc-repro roles digits-r20-r8-orc-s0",
        "orc-repro roles digits-r20-r8-orc-s0 --format csv | head",
        "orc-repro roles digits-r20-r8-orc-s0 --to roles.parquet",
    ),
    "queue": (
        "orc-repro queue --list",
        "orc-repro queue --minutes 9",
        "orc-repro queue --study 'scaled_*'",
        "orc-repro queue --share 1/2 --device cuda:0",
    ),
    "import": ("orc-repro import ../other/orc_repro",),
    "certify": ("orc-repro certify",),
    "check": ("orc-repro check",),
    "sync": ("orc-repro sync", "MLFLOW_TRACKING_URI=https://mlflow.example.org orc-repro sync"),
    "register": ("orc-repro register default",),
    "publish": ("orc-repro publish default --method orc",),
    "ui": ("orc-repro ui", "orc-repro ui --port 5050"),
}
"""By command."""


def shown(lines: Sequence[str]) -> str:
    """The end of a help text; a paragraph a line, as that is what keeps lines apart."""
    return "\n\n".join(["Example:" if len(lines) == 1 else "Examples:", *lines])
