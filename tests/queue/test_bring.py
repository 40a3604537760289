"""Results that were made elsewhere, by little more than torch, are this checkout's in the end.

One project is worked off where neither MLflow nor DVC can be imported; another takes its runs over,
or refuses them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import Random

import pytest
import yaml

from orc_repro.errors import UserError
from orc_repro.queue import bring as module
from orc_repro.queue.bring import bring
from tests.hostile.contract import attempt, listing, spoiled
from tests.project import ROOT, command, environment
from tests.queue.made import CELLS, PIVOT, inside, make
from tests.reliability.machine import outputs, run_folder
from tests.stages.commands import orc_repro
from tests.test_pipeline_dvc import git, stages_run

ORC = CELLS[-1]


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its data, which nobody has run."""
    project = make(tmp_path_factory.mktemp("bring") / "planned")
    command(project, "orc_repro", "prepare", "digits")
    return project


@pytest.fixture(scope="module")
def elsewhere(planned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, worked off where only what training needs can be imported; tracking is on."""
    project = tmp_path_factory.mktemp("elsewhere") / "project"
    shutil.copytree(planned, project)
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("enabled: false", "enabled: true"))

    path = {"PYTHONPATH": f"{project}:{ROOT}"}
    words = ["-m", "tests.queue.blocked", "queue", "--minutes", "9", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=project,
        env=environment(project) | path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "3 of 3 cells measured" in done.stdout and "warning" not in done.stderr
    return project


@pytest.fixture
def here(planned: Path, tmp_path: Path) -> Path:
    return shutil.copytree(planned, tmp_path / "here")


@pytest.fixture
def theirs(elsewhere: Path, tmp_path: Path) -> Path:
    return shutil.copytree(elsewhere, tmp_path / "theirs")


def test_runs_come_over_whole_and_once(here: Path, elsewhere: Path) -> None:
    with inside(here):
        taken, refused = bring(elsewhere)
        assert (refused, taken) == ([], [f"{key}: taken over" for key in (PIVOT, *CELLS)])
        assert outputs(here) == outputs(elsewhere)
        for cell in CELLS:
            name = f"results/default/evaluated/{cell}.json"
            assert Path(name).read_bytes() == (elsewhere / name).read_bytes()
        for theirs in (elsewhere / ".orc/runs").iterdir():
            ours = Path(".orc/runs") / theirs.name
            unwanted = {"run.lock", "config.json"}
            names = {p for p in listing(theirs)} - unwanted
            assert names == set(listing(ours)) - unwanted
            for name in names:
                if (theirs / name).is_file() and name != "artifacts/config/resolved.json":
                    assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
        assert list(Path(".orc/incoming").iterdir()) == []
        taken, refused = bring(elsewhere)
        assert (refused, taken) == ([], [f"{key}: is here already" for key in (PIVOT, *CELLS)])


def test_parameters_are_told_as_this_checkout_calls_them(here: Path, theirs: Path) -> None:
    about = run_folder(theirs, ORC) / "run.json"
    whole = about.read_bytes()
    change_json(about, lambda content: content.update(params={"seed": "of an older release"}))
    with inside(here):
        _, refused = bring(theirs)
        assert refused == []
        ours = Path(".orc/runs") / about.parent.name / "run.json"
        assert json.loads(ours.read_bytes()) == json.loads(whole)


def test_a_pivot_that_dvc_brought_is_not_replaced(here: Path, theirs: Path) -> None:
    weights = Path(f"weights/pivots/{PIVOT}.safetensors")
    with inside(here):
        bring(theirs)
        pivot = run_folder(Path(), PIVOT)
        shutil.rmtree(pivot)
        lock = {"schema": "2.0", "stages": {f"pretrain@{PIVOT}": {"outs": [
            {"path": weights.as_posix(), "md5": md5(weights)}
        ]}}}  # fmt: skip
        Path("dvc.lock").write_text(yaml.safe_dump(lock))
        taken, refused = bring(theirs)
        assert refused == [] and f"{PIVOT}: is here already, without its run" in taken
        assert not (pivot / "outcome.json").exists()
        Path("dvc.lock").unlink()
        taken, refused = bring(theirs)
        assert refused == [] and f"{PIVOT}: taken over" in taken


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def test_what_another_run_left_among_the_weights_is_gone(here: Path, elsewhere: Path) -> None:
    folder = here / f"weights/cells/{ORC}"
    (folder / "last").mkdir(parents=True)
    for name in ("last/resnet8.b.safetensors", "last/resnet8.safetensors", "notes.txt"):
        (folder / name).write_text("of another run")
    with inside(here):
        _, refused = bring(elsewhere)
        assert refused == [] and outputs(here) == outputs(elsewhere)


def test_a_run_under_way_is_continued_and_never_taken_back(
    here: Path, theirs: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_folder(theirs, ORC)
    (folder / "outcome.json").unlink()
    with inside(here):
        taken, _ = bring(theirs)
        assert taken[-1] == f"{ORC}: taken over, to be continued"
        assert not Path(f"weights/cells/{ORC}").exists()
        taken, _ = bring(theirs)
        assert taken[-1] == f"{ORC}: is as far here"
        code, said = orc_repro(capsys, "queue", "--device", "cpu")
        assert code == 0 and "2 stages done, 3 of 3 cells measured" in said
    assert outputs(here) == outputs(elsewhere)


@pytest.mark.parametrize("name", ["metrics.jsonl", "roles.jsonl"])
def test_a_run_under_way_that_could_not_go_on_replaces_nothing(
    name: str, here: Path, theirs: Path
) -> None:
    folder = run_folder(theirs, ORC)
    (folder / "outcome.json").unlink()
    log = (folder / name).read_bytes()
    with inside(here):
        for shorter in (log[: log.index(b"\n") + 1], log.replace(b'time_ms": 1', b'time_ms": 2')):
            (folder / name).write_bytes(shorter)
            _, refused = bring(theirs)
            assert len(refused) == 1 and "its newest checkpoint was written with" in refused[0]
        (folder / name).unlink()
        _, refused = bring(theirs)
        assert len(refused) == 1 and "its newest checkpoint was written with" in refused[0]
        assert listing(Path(".orc/runs") / folder.name) == ["run.lock"]


def test_an_import_that_is_cut_short_leaves_no_history_beside_other_weights(
    here: Path, theirs: Path
) -> None:
    history, whole = Path(f"results/default/trained/{ORC}.json"), outputs(theirs)
    move, states = module._move, list[bool]()
    with inside(here):
        for point in range(100):
            moves = count()

            def cut(path: Path, goal: Path) -> None:
                if ORC in goal.as_posix() and next(moves) == point:  # noqa: B023
                    raise KeyboardInterrupt
                move(path, goal)

            history.parent.mkdir(parents=True, exist_ok=True)
            history.write_text("{}")  # of a run before
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(module, "_move", cut)
                try:
                    bring(theirs)
                except KeyboardInterrupt:
                    states.append(history.exists())
            if history.exists():
                assert {n: outputs(here)[n] for n in whole if ORC in n} == {
                    n: content for n, content in whole.items() if ORC in n
                }
            if len(states) == point:
                break
    assert set(states) == {True, False}


def change_json(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _link(path: Path) -> None:
    real = path.rename(path.with_name("real"))
    path.symlink_to(real)


def _without_checkpoint(path: Path) -> None:
    path.write_bytes(b"")
    for checkpoint in path.parent.glob("checkpoint-*"):
        checkpoint.unlink()


def _another_result(path: Path) -> None:
    change_json(path, lambda content: content.update(weights_digest="0" * 64))


def _lead_out(path: Path) -> None:
    def change(content: dict[str, object]) -> None:
        found = content["outputs"]
        assert isinstance(found, dict)
        found["../../outside"] = "0" * 64

    change_json(path, change)


SPOILT: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "weights": (f"weights/cells/{ORC}/last/resnet8.safetensors", _flip, "is not the file that"),
    "roles": (f"roles/{ORC}.parquet", _flip, "is not the file that the run wrote"),
    "result": (f"results/default/evaluated/{ORC}.json", _another_result, "weights_digest"),
    "link": (f"weights/cells/{ORC}/best/resnet8.safetensors", _link, "no plain file"),
    "missing": (f"results/default/trained/{ORC}.json", Path.unlink, "missing, or no plain file"),
    "way out": ("RUN/outcome.json", _lead_out, "which no run does"),
    "log": ("RUN/metrics.jsonl", lambda path: path.write_bytes(b""), "every epoch once"),
    "no role": ("RUN/roles.jsonl", Path.unlink, "not the one that its newest checkpoint was"),
    "changes": ("RUN/roles.jsonl", _without_checkpoint, "the log of role changes"),
    "checkpoint": ("RUN/CHECKPOINT", _flip, "a checkpoint is damaged: its SHA-256 is another"),
    "who": (
        "RUN/run.json",
        lambda path: change_json(path, lambda content: content.update(row="0" * 32)),
        "its row is another",
    ),
    "undeclared": (
        "RUN/run.json",
        lambda path: change_json(path, lambda content: content.update(cell="nobody")),
        "default declares no nobody here",
    ),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    what: str, here: Path, theirs: Path
) -> None:
    name, spoil, sentence = SPOILT[what]
    run = run_folder(theirs, ORC)
    (checkpoint,) = (path.name for path in run.glob("checkpoint-*"))
    place = name.replace("RUN", run.relative_to(theirs).as_posix())
    spoil(theirs / place.replace("CHECKPOINT", checkpoint))
    with inside(here):
        taken, refused = bring(theirs)
        assert len(taken) == 3 and len(refused) == 1, refused
        assert sentence in refused[0] and refused[0].isprintable()
        assert not [n for n in listing(here) if ORC in n and not n.startswith("orc_repro")]
        assert listing(Path(".orc/runs") / run.name) in ([], ["run.lock"])


def test_files_of_strangers_are_taken_or_refused_in_a_sentence(here: Path, theirs: Path) -> None:
    draw = Random(0)
    run = run_folder(theirs, ORC)
    with inside(here):
        bring(theirs)
        for name in ("run.json", "outcome.json", "metrics.jsonl", "roles.jsonl", "committed.json"):
            whole = (run / name).read_bytes()
            for _ in range(4):
                shutil.rmtree(Path(".orc/runs") / run.name, ignore_errors=True)
                (run / name).write_bytes(spoiled(whole, draw))
                taken, refused = bring(theirs)
                assert len(taken) + len(refused) == 4
                assert all(line.isprintable() and len(line) < 2000 for line in refused)
            (run / name).write_bytes(whole)


def test_another_configuration_is_named(
    here: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (here / "params.yaml").read_text()
    (here / "params.yaml").write_text(text.replace("batch_size: 32", "batch_size: 64"))
    with inside(here):
        code, said = orc_repro(capsys, "import", str(elsewhere))
        assert code == 2 and "recipe.batch_size was 32 and is 64" in said
        assert "its teachers are neither here nor there" in said
        code, said = orc_repro(capsys, "import", str(here / "studies"))
        assert code == 2 and "has no folder .orc/runs or runs" in said
    assert outputs(here) == {}
    with inside(here):
        _, sentence = attempt(lambda: bring(Path("nowhere")), here, (UserError,))
    assert sentence == "nowhere has no folder .orc/runs or runs"


def test_dvc_is_told_of_what_it_would_have_made_and_check_passes(
    here: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(here, "init", "-q")
    command(here, "dvc", "init", "-q")
    with inside(here):
        bring(elsewhere)
        # Not what the run wrote any more: DVC is told of the others alone.
        spoilt = Path(f"results/default/trained/{CELLS[0]}.json")
        whole = spoilt.read_bytes()
        spoilt.write_bytes(whole + b"\n")
        stranger = Path(f"weights/cells/{CELLS[1]}/last/another.safetensors")
        stranger.write_bytes(b"weights")
    said = command(here, "orc_repro", "certify").stdout
    assert f"{CELLS[1]}: {stranger} is not of its run; remove it" in said
    assert "4 stages are DVC's now; 4 are not run" in said
    (here / spoilt).write_bytes(whole)
    (here / stranger).unlink()
    said = command(here, "orc_repro", "certify").stdout
    assert "4 stages are DVC's now; 0 are not run" in said
    assert "0 stages are DVC's now; 0 are" in command(here, "orc_repro", "certify").stdout
    assert outputs(here) == outputs(elsewhere)
    done = command(here, "dvc", "repro")
    assert stages_run(done.stdout) == ["report"]
    git(here, "add", "-A")
    git(here, "commit", "-qm", "measured elsewhere")
    clone = here.with_name("clone")
    git(here, "clone", "-q", str(here), str(clone))
    assert "as dvc.lock says" in command(clone, "orc_repro", "check").stdout
    losses = here / "orc_repro/distill/losses.py"
    losses.write_text(losses.read_text() + "# changed\n")
    (here / "dvc.lock").unlink()
    said = command(here, "orc_repro", "certify").stdout
    assert "8 stages are DVC's now; 0 are not run" in said  # a comment changes no result
