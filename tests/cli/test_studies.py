"""Every command takes a study in the same three spellings, and says so in the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from orc_repro.cli import app
from orc_repro.cli.options import STUDY
from orc_repro.errors import UserError
from orc_repro.stages.jobs import jobs_of
from tests.project import ROOT
from tests.stages.commands import orc_repro

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
SEVERAL = {"queue", "certify"}
REPORTED = {"report", "table", "status"}
ASKING = {
    name: parameter
    for name, command in COMMANDS.items()
    for parameter in command.params
    if parameter.name == "study"
}
SPELLINGS = ("table01_cifar10", "table01", "studies/table01_cifar10")


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def given(name: str, word: str) -> Any:
    """What a command gets for a word."""
    parameter, command = ASKING[name], COMMANDS[name]
    words = ["x" for other in command.params if other.required and other is not parameter]
    words += [word] if parameter.param_type_name == "argument" else ["--study", word]
    return command.make_context(name, words).params["study"]


def test_they_are_all_the_commands_there_are() -> None:
    single = "probe prepare list pretrain assist train evaluate report table roles run status"
    assert set(ASKING) == {*single.split(), "register", "publish"} | SEVERAL
    assert all(parameter.help.startswith(STUDY) for parameter in ASKING.values())


@pytest.mark.parametrize("name", sorted(set(ASKING) - SEVERAL))
def test_one_study_in_every_spelling(name: str) -> None:
    for word in SPELLINGS:
        assert given(name, word) == Path("studies/table01_cifar10")
    with pytest.raises(UserError, match="'nobody' is no study"):
        given(name, "nobody")
    for word in ("cifar100-3k", "studies/pools/cifar100-3k"):
        if name in REPORTED:
            with pytest.raises(UserError, match="studies/pools/cifar100-3k is a pool"):
                given(name, word)
        else:
            assert given(name, word) == Path("studies/pools/cifar100-3k")


@pytest.mark.parametrize("word", [*SPELLINGS, "table01*", "studies/table01*"])
def test_the_queue_shows_those_in_every_spelling(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = orc_repro(capsys, "queue", "--list", "--study", word)
    assert code == 0 and "cifar10-r26-r8-orc-s0" in said and "digits" not in said


def test_what_is_run_is_cells_or_stages_or_all_of_a_study(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (argument,) = (one for one in COMMANDS["run"].params if one.name == "targets")
    assert argument.help == "Cells, or stages as train@CELL; all of the study if left out."
    asked: list[str] = []
    monkeypatch.setattr("orc_repro.stages.pipeline.run_pipeline", asked.extend)
    for words in (["digits-r20-r8-ce-s0", "train@digits-r20-r8-ce-s1"], []):
        assert orc_repro(capsys, "run", *words)[0] == 0
    cell, stage, whole = asked
    assert cell == "dvc.yaml:evaluate@digits-r20-r8-ce-s0"
    assert (stage, whole) == ("dvc.yaml:train@digits-r20-r8-ce-s1", "dvc.yaml:report")


@pytest.mark.parametrize("words", [("--study", "cifar10-small"), ("--table", "cifar10-sm")])
def test_a_pool_is_run_whole(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("orc_repro.stages.pipeline.run_pipeline", asked.extend)
    assert orc_repro(capsys, "run", *words)[0] == 0
    pool = jobs_of(Path("studies/pools/cifar10-small"))
    assert asked == [job.address for job in pool if job.kind == "evaluate"]
