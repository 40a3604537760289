"""Every command's help ends with examples, and each example is a line that the command takes."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from orc_repro.cells import DEFAULT_STUDY, load_study
from orc_repro.cli import app
from orc_repro.cli.examples import EXAMPLES, FIRST
from tests.project import ROOT, environment

COMMANDS: Any = typer.main.get_command(app)
LINES = [line for lines in EXAMPLES.values() for line in lines]


def test_every_command_has_examples() -> None:
    assert set(COMMANDS.commands) == set(EXAMPLES)


@pytest.mark.parametrize("name", ["", *EXAMPLES])
def test_help_ends_with_them(name: str) -> None:
    words = [*name.split(), "--help"]
    shown = CliRunner().invoke(app, words, terminal_width=200, env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert all(f" {line} " in shown.output for line in EXAMPLES.get(name, FIRST))


@pytest.mark.parametrize("line", LINES)
def test_an_example_is_understood_and_names_what_there_is(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    words = shlex.split(line.partition(" | ")[0])
    words = words[words.index("orc-repro") + 1 :]
    given = COMMANDS.commands[words[0]].make_context(words[0], words[1:]).params
    named = given.get("study")
    study = load_study(named if isinstance(named, Path) else DEFAULT_STUDY)  # several: patterns
    for part, section in (
        ("cell", study.cells.cells),
        ("pivot", study.cells.pivots),
        ("assistant", study.cells.assistants),
        ("dataset", study.params.data),
    ):
        assert given.get(part) is None or given[part] in section
    assert given.get("search") is None or given["search"].is_file()


def completed(words: str) -> list[str]:
    """What bash is offered behind a line."""
    shell = environment(ROOT) | {
        "_ORC_REPRO_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    done = subprocess.run(["orc-repro"], cwd=ROOT, env=shell, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_the_shell_completes_commands_cells_and_choices() -> None:
    assert completed("orc-repro tra") == ["train"]
    seeds = [f"digits-r20-r8-kd-s{seed}" for seed in range(3)]
    assert completed("orc-repro train digits-r20-r8-kd") == seeds
    assert completed("orc-repro pretrain digits") == ["digits-resnet20-digits-s0"]
    assert completed("orc-repro roles x --format p") == ["parquet"]
    study = "--study studies/pools/cifar10-small"
    (offered,) = completed(f"orc-repro assist {study} cifar10-small-r20-r8-takd")
    assert offered in load_study(ROOT / "studies/pools/cifar10-small").cells.assistants
    study = "--study cifar10-small"
    assert completed(f"orc-repro assist {study} cifar10-small-r20-r8-takd") == [offered]
    assert completed("orc-repro train --study /nowhere d") == []


def test_the_shell_completes_studies_as_names_or_folders_and_pools_where_they_are_taken() -> None:
    assert completed("orc-repro status peers") == ["peers_cifar10"]
    assert completed("orc-repro table --study cifar") == []
    assert completed("orc-repro run --study table02") == ["table02_cifar100"]
    pools = [f"studies/pools/cifar10{rest}" for rest in ("", "-3k", "-small", "0", "0-3k")]
    assert completed("orc-repro run --study studies/pools/cifar10") == pools
