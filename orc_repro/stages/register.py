"""``register``: a study's best target networks as models in MLflow, one a method."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from orc_repro.addresses import reason_of, shown
from orc_repro.cells import Study
from orc_repro.errors import UserError
from orc_repro.progress import Work
from orc_repro.project import WEIGHTS, evaluated, trained
from orc_repro.registry.release import Release
from orc_repro.report.results import VALIDATION_TOP1, Result, read_history, read_result
from orc_repro.stages.run import manifest_of
from orc_repro.stages.train import weights_digest
from orc_repro.tracking.finals import final_metrics
from orc_repro.tracking.paging import every, pages
from orc_repro.tracking.store import UNKNOWN, open_client, store_lock

ALIAS = "best"


def register(study: Study) -> list[str]:
    """Log and register the best seed of each method, and point ``best`` at the best of them all.

    Best is by validation accuracy after the last epoch; the test split chooses nothing. A network
    that is registered already is left as it is.

    Returns:
        a line for each network, and for each alias.

    Raises:
        UserError: nothing is evaluated, weights are missing or not those that were evaluated, a
            run is not in the store, or the store does not answer.
    """
    releases = list(best_of_each_method(study))
    if not releases:
        raise UserError(f"no cell of {study.folder} is evaluated; `orc-repro run` makes them")
    client = open_client()
    import mlflow
    from mlflow.exceptions import MlflowException

    mlflow.set_tracking_uri(client.tracking_uri)  # its registry asks no client for a model's place
    try:
        with store_lock(), Work("register", len(releases), "models") as work:
            lines = list(_lines(client, releases, work))
    except MlflowException as error:
        raise UserError(
            f"{shown(client.tracking_uri)} has not registered every network ({reason_of(error)});"
            " the same command goes on with the others"
        ) from None
    return lines


def _lines(client: Any, releases: list[Release], work: Work) -> Iterator[str]:
    for release in releases:
        version, new = _version_of(client, release)
        work.done()
        state = "registered" if new else "was registered before"
        yield (
            f"{release.name} version {version}: {release.result.cell},"
            f" validation {release.validation_top1:.2f} %, {state}"
        )
    for name in dict.fromkeys(release.name for release in releases):
        yield _point_at_best(client, name)


def best_of_each_method(study: Study, methods: Collection[str] = ()) -> Iterator[Release]:
    """The seed of each method, in each group, whose target has the highest validation accuracy.

    Of equal ones the lowest seed. Of these methods alone, if there are any: the weights of others
    need not be here.

    Raises:
        UserError: weights are missing, or are not those that were evaluated; or a result and a
            history are of two runs.
    """
    rows: dict[tuple[str, str, str], list[tuple[float, Result]]] = {}
    for key, cell in sorted(study.cells.cells.items(), key=lambda entry: entry[1].seed):
        result = read_result(key, evaluated(cell.study))
        if result is not None and (not methods or cell.method in methods):
            history = read_history(result, trained(cell.study))
            top1 = history.epochs[-1][VALIDATION_TOP1] or 0.0
            row = (cell.dataset, cell.group, cell.method)
            rows.setdefault(row, []).append((top1, result))
    for candidates in rows.values():
        top1, result = max(candidates, key=lambda candidate: candidate[0])
        folder = WEIGHTS / result.cell
        if not any(folder.glob("*/*.safetensors")):
            raise UserError(
                f"the weights {folder} are not here; `orc-repro train {result.cell}` makes them"
                " (or `dvc pull`, from a remote that you have set up)"
            )
        if weights_digest(folder) != result.weights_digest:
            raise UserError(
                f"the weights {folder} are not those that were evaluated;"
                f" `orc-repro evaluate {result.cell}` does it again"
            )
        yield Release(result, top1, manifest_of(result.dataset))


def _version_of(client: Any, release: Release) -> tuple[str, bool]:
    """The version that holds a network, made if there is none; and whether it was."""
    from mlflow.exceptions import MlflowException

    about = release.about
    for version in every(client.search_model_versions, f"name = '{release.name}'"):
        if version.tags.get("weights_sha256") == about["weights_sha256"]:
            return str(version.version), False
    run = _run_of(client, release.result)
    model_id = _log(client, release, run)
    try:
        client.get_registered_model(release.name)
    except MlflowException as error:
        if error.error_code != UNKNOWN:
            raise
        client.create_registered_model(
            release.name,
            description=f"Networks that classify {about['dataset']}, from raw uint8 images"
            f" [N, {', '.join(map(str, release.manifest.image_shape))}].",
        )
    made = client.create_model_version(
        release.name,
        f"models:/{model_id}",
        run_id=run.info.run_id,
        tags=about,
        description=f"`{about['cell']}`: test top-1 {release.result.target.last.top1:.2f} %",
        model_id=model_id,
    )
    return str(made.version), True


def _run_of(client: Any, result: Result) -> Any:
    which = f"tags.fingerprint = '{result.fingerprint}' and tags.superseded = 'false'"
    for experiments in pages(client.search_experiments):
        ids = [experiment.experiment_id for experiment in experiments]
        if runs := client.search_runs(ids, which, max_results=1):
            break
    else:
        raise UserError(
            f"the run of {result.cell} is not in {shown(client.tracking_uri)}; `orc-repro sync`"
            " sends what was run on this machine"
        )
    if runs[0].info.end_time is None:
        raise UserError(
            f"the run of {result.cell} in {shown(client.tracking_uri)} has not ended there;"
            " `orc-repro sync` sends how it did"
        )
    return runs[0]


def _log(client: Any, release: Release, run: Any) -> str:
    """The network as a model of its run, with what it scored; returns the model's id."""
    from mlflow.entities import LoggedModelOutput, Metric

    result = release.result
    model = client.create_logged_model(
        run.info.experiment_id,
        name=f"{release.name}-{result.method}",
        source_run_id=run.info.run_id,
        tags=release.about,
        model_type="classifier",
    )
    try:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "model"
            release.write(folder, model.model_id, run.info.run_id)
            client.log_model_artifacts(model.model_id, str(folder))
    except BaseException:
        client.finalize_logged_model(model.model_id, "FAILED")
        raise
    # The run has these points already: the same key, time and step is the same point.
    scores = [
        Metric(name, value, run.info.end_time, result.epochs, model.model_id)
        for name, value in final_metrics(result)
    ]
    client.log_batch(run.info.run_id, metrics=scores)
    client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, result.epochs)])
    client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def _point_at_best(client: Any, name: str) -> str:
    versions = [
        version
        for version in every(client.search_model_versions, f"name = '{name}'")
        if "validation_top1" in version.tags  # somebody may have registered another under this name
    ]
    best = max(versions, key=lambda v: (float(v.tags["validation_top1"]), -int(v.version)))
    client.set_registered_model_alias(name, ALIAS, best.version)
    return f"models:/{name}@{ALIAS} is version {best.version}, {best.tags['cell']}"
