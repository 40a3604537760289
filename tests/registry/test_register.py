"""Registered networks load anywhere and answer exactly what was evaluated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList

from tests.project import command, copy_project, environment

CELLS = [f"digits-small-{method}-s{seed}" for method in ("ce", "dml") for seed in (0, 1)]
NAME = "digits-resnet8"
MAKE = """
import sys
from orc_repro.cells import load_study
from orc_repro.stages.evaluate import evaluate_cell
from orc_repro.stages.train import train
for cell in sys.argv[1:]:
    train(load_study(), cell, "cpu")
    evaluate_cell(load_study(), cell, "cpu")
"""
# Run where the project is not installed: nothing but the model's own code may be imported.
PREDICT = """
import json, sys
import mlflow, numpy
model = mlflow.pyfunc.load_model(sys.argv[1])
images, labels = (numpy.load(f"{sys.argv[2]}/test_{kind}.npy") for kind in ("images", "labels"))
logits = model.predict(images)
parts = numpy.concatenate([model.predict(images[i : i + 100]) for i in range(0, len(images), 100)])
chances = model.predict(images, params={"probabilities": True})
import orc_repro
print(json.dumps({
    "correct": int((logits.argmax(1) == labels).sum()), "of": len(labels),
    "in parts": int((parts.argmax(1) == labels).sum()),
    "shape": list(logits.shape), "sum": [float(chances.sum(1).min()), float(chances.sum(1).max())],
    "code": orc_repro.__file__, "metadata": model.metadata.metadata,
}))
"""


def shrink(params: dict[str, Any]) -> None:
    params["groups"]["small"] = {
        "pivot": None,
        "students": ["resnet8.a", "resnet8"],
        "target": "resnet8",
    }
    params["recipes"]["digits"] |= {
        "epochs": 3,
        "schedule": {"milestones_epochs": [2], "factor": 0.1},
    }


def uri(project: Path) -> str:
    return f"sqlite:///{project / '.orc/mlflow.db'}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    row = {"groups": ["small"], "methods": ["ce", "dml"], "seeds": [0, 1]}
    project = copy_project(tmp_path_factory.mktemp("registry"), shrink, row)
    command(project, "orc_repro", "plan")
    command(project, "orc_repro", "prepare", "digits")
    subprocess.run(
        [sys.executable, "-c", MAKE, *CELLS], cwd=project, env=environment(project), check=True
    )
    return project


@pytest.fixture(scope="module")
def told(project: Path) -> list[str]:
    return command(project, "orc_repro", "register").stdout.splitlines()


def result_of(project: Path, cell: str) -> dict[str, Any]:
    found = json.loads((project / f"results/default/evaluated/{cell}.json").read_text())
    target: dict[str, Any] = found["networks"]["resnet8"]["last"]
    return target


def validation_of(project: Path, cell: str) -> float:
    history = json.loads((project / f"results/default/trained/{cell}.json").read_text())
    return float(history["epochs"][-1]["val/top1"])


def predictions(project: Path, model: str, elsewhere: Path) -> dict[str, Any]:
    given = environment(project) | {"MLFLOW_TRACKING_URI": uri(project)}
    del given["PYTHONPATH"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", PREDICT, model, str(project / "data/prepared/digits")],
        cwd=elsewhere, env=given, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_best_seed_of_each_method_is_registered(project: Path, told: list[str]) -> None:
    client: Any = MlflowClient(uri(project))
    versions = client.search_model_versions(f"name = '{NAME}'")
    wanted = {
        max(cells, key=lambda cell: (validation_of(project, cell), cell.endswith("s0")))
        for cells in (CELLS[:2], CELLS[2:])
    }
    assert {version.tags["cell"] for version in versions} == wanted
    best = max(validation_of(project, cell) for cell in wanted)
    alias = client.get_model_version_by_alias(NAME, "best")
    assert float(alias.tags["validation_top1"]) == best
    assert told[-1] == f"models:/{NAME}@best is version {alias.version}, {alias.tags['cell']}"
    run = client.get_run(alias.run_id)
    assert run.data.tags["cell"] == alias.tags["cell"] and run.info.status == "FINISHED"
    assert [f"models:/{made.model_id}" for made in run.outputs.model_outputs] == [alias.source]
    points = client.get_metric_history(alias.run_id, "val/top1")
    assert len(points) == 3


def test_a_model_answers_exactly_what_was_evaluated(
    project: Path, told: list[str], tmp_path: Path
) -> None:
    found = predictions(project, f"models:/{NAME}@best", tmp_path)
    evaluated = result_of(project, told[-1].split(", ")[1])
    assert 100 * found["correct"] / found["of"] == evaluated["top1"]
    assert found["in parts"] == found["correct"]
    assert found["shape"] == [found["of"], 10]
    assert found["sum"] == pytest.approx([1.0, 1.0])
    assert float(found["metadata"]["test_top1"]) == evaluated["top1"]
    assert Path(found["code"]).is_relative_to(project / ".orc/artifacts")  # its own copy


def test_nothing_in_a_model_is_pickled(project: Path, told: list[str]) -> None:
    files = [path for path in (project / ".orc/artifacts").rglob("*") if path.is_file()]
    models = [path for path in files if "/models/" in path.as_posix()]
    assert {path.suffix for path in models} <= {"", ".json", ".py", ".safetensors", ".txt", ".yaml"}
    assert any(path.name == "weights.safetensors" for path in models)
    written = next(path for path in models if path.name == "MLmodel").read_text()
    assert "python_model: " not in yaml.safe_load(written)["flavors"]["python_function"]


def test_registering_again_changes_nothing(project: Path, told: list[str]) -> None:
    client: Any = MlflowClient(uri(project))

    def state() -> list[Any]:
        versions = client.search_model_versions(f"name = '{NAME}'")
        models = client.search_logged_models(
            [experiment.experiment_id for experiment in client.search_experiments()]
        )
        return [
            sorted((v.version, v.model_id, tuple(v.aliases)) for v in versions),
            sorted(model.model_id for model in models),
        ]

    before = state()
    again = command(project, "orc_repro", "register", "default").stdout.splitlines()
    assert state() == before
    assert [line.replace("was registered before", "registered") for line in again] == told


def test_other_weights_than_the_evaluated_are_refused(project: Path, told: list[str]) -> None:
    cell = next(line.split(": ")[1].split(",")[0] for line in told)
    path = project / f"weights/cells/{cell}/last/resnet8.safetensors"
    content = path.read_bytes()
    try:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        refused = command(project, "orc_repro", "register", check=False)
        path.unlink()
        for other in path.parent.parent.glob("*/*"):
            os.rename(other, other.with_suffix(".away"))
        missing = command(project, "orc_repro", "register", check=False)
    finally:
        for other in path.parent.parent.glob("*/*.away"):
            os.rename(other, other.with_suffix(".safetensors"))
        path.write_bytes(content)
    assert refused.returncode == missing.returncode == 2
    assert "are not those that were evaluated" in refused.stderr
    assert "are not here" in missing.stderr
    assert "Traceback" not in refused.stderr + missing.stderr


def test_a_run_that_has_not_ended_in_the_store_is_one_sentence() -> None:
    from orc_repro.errors import UserError
    from orc_repro.stages.register import _run_of

    class Store:
        tracking_uri = "http://runs"

        def search_experiments(self, page_token: str | None = None) -> Any:
            return PagedList([SimpleNamespace(experiment_id="1")], None)

        def search_runs(self, *_: Any, **__: Any) -> list[Any]:
            return [SimpleNamespace(info=SimpleNamespace(end_time=None))]

    result: Any = SimpleNamespace(fingerprint="f", cell="digits-small-ce-s0")
    with pytest.raises(UserError, match=r"ce-s0 in http://runs has not ended there; .*sync"):
        _run_of(Store(), result)


def test_a_store_that_fails_meanwhile_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orc_repro.errors import UserError
    from orc_repro.stages import register

    class Locked:
        tracking_uri = "http://runs"

        def search_model_versions(self, *_: Any, **__: Any) -> Any:
            raise MlflowException("database is locked\n[SQL: SELECT 1]")

    release: Any = SimpleNamespace(name="a network", about={})
    monkeypatch.setenv("ORC_SCRATCH", str(tmp_path))
    monkeypatch.setattr(register, "best_of_each_method", lambda _: [release])
    monkeypatch.setattr(register, "open_client", Locked)
    monkeypatch.setattr("mlflow.set_tracking_uri", lambda _: None)
    with pytest.raises(UserError, match=r"http://runs .*database is locked") as caught:
        register.register(SimpleNamespace())  # type: ignore[arg-type]
    assert "SQL" not in str(caught.value)


def test_a_run_that_is_not_in_the_store_is_one_sentence(project: Path, tmp_path: Path) -> None:
    given = environment(project) | {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'other.db'}"}
    done = subprocess.run(
        [sys.executable, "-m", "orc_repro", "register"],
        cwd=project, env=given, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "is not in sqlite:" in done.stderr and "`orc-repro sync` sends" in done.stderr
