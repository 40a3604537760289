"""docs/tutorial.md, executed: every command, every file, every change, in its order."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from benchmarks.postgres import free_port
from orc_repro.report.results import read_results
from tests.project import ROOT, copy_project, environment
from tests.reliability.machine import wait_until

TUTORIAL, STUDY = ROOT / "docs/tutorial.md", "studies/default/study.yaml"
BLOCK = re.compile(r"(?:`(?P<path>[\w./]+)`:\n\n)?```(?P<kind>\w+)\n(?P<text>.*?)```", re.DOTALL)


class Block(NamedTuple):
    """``path``: the file that it is, if it is one."""

    path: str | None
    kind: str
    text: str


def blocks() -> list[Block]:
    return [Block(**found.groupdict()) for found in BLOCK.finditer(TUTORIAL.read_text())]


def shorten(params: str) -> str:
    """The text of params.yaml with one epoch of digits: the tutorial changes the text."""
    for long, short in (("epochs: 14", "epochs: 1"), ("epochs: [9, 11, 13]", "epochs: []")):
        assert params.count(long) == 1
        params = params.replace(long, short)
    return params


def searched(text: str) -> str:
    """The text of a search with a trial less; other files as they are."""
    return text.replace("trials: 3", "trials: 2")


def shell(project: Path, command: str) -> None:
    done = subprocess.run(
        ["bash", "-c", command.replace("orc-repro", "python -m orc_repro")],
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def serve(project: Path, command: str) -> None:
    """A server: it starts, and Ctrl-C ends it."""
    assert "5050" in command
    command = command.replace("5050", str(free_port()))  # which may be somebody else's here
    command = command.replace("orc-repro", "python -m orc_repro")
    said = project / "said"
    with said.open("w") as out:
        server = subprocess.Popen(
            ["bash", "-c", "exec " + command],
            cwd=project, env=environment(project), stdout=out, stderr=out, text=True,
            start_new_session=True,
        )  # fmt: skip
    assert wait_until(lambda: "startup complete" in said.read_text(), server)
    os.killpg(server.pid, signal.SIGINT)  # a terminal's Ctrl-C is for all that run in it
    server.wait(300)


def change(project: Path, diff: str) -> None:
    """Replace what each hunk has before by what it has after; it must be there once."""
    for part in diff.split("--- a/")[1:]:
        path = project / part.partition("\n")[0]
        for hunk in part.split("@@\n")[1:]:
            lines = hunk.splitlines()
            before = "\n".join(line[1:] for line in lines if line[:1] != "+") + "\n"
            after = "\n".join(line[1:] for line in lines if line[:1] != "-") + "\n"
            text = path.read_text()
            assert text.count(before) == 1, (path, before)
            path.write_text(text.replace(before, after))


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project", lambda _: None, {})
    (project / "params.yaml").write_text(shorten((ROOT / "params.yaml").read_text()))
    study = (ROOT / STUDY).read_text()
    assert "seeds: [0, 1, 2]" in study
    (project / STUDY).write_text(study.replace("seeds: [0, 1, 2]", "seeds: [0]"))
    unwanted = shutil.ignore_patterns("__pycache__")  # others are writing there
    shutil.copytree(ROOT / "tests", project / "tests", ignore=unwanted)
    shutil.copyfile(ROOT / "pyproject.toml", project / "pyproject.toml")
    shell(project, "git init -q && dvc init -q && orc-repro plan && git add -A")
    shell(project, "git -c user.name=t -c user.email=t@example.org commit -qm first")
    for block in blocks():
        if block.path is not None:
            path = project / block.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(searched(block.text))
        elif block.kind == "diff":
            change(project, block.text)
        elif block.kind == "sh":
            for command in block.text.splitlines():
                (serve if command.startswith("orc-repro ui") else shell)(project, command)
        else:
            raise AssertionError(f"a block of {block.kind} that is no file")
    methods = {result.method for result in read_results(project / "results/default/evaluated")}
    assert methods == {"ce", "kd", "orc", "checked"}
    table = pd.read_csv(project / "reports/table.csv")
    assert set(table["method"]) >= methods
    assert "fresh seeds" in (project / "reports/studies/kd-v1/page.md").read_text()
