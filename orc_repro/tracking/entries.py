"""A run's entries in MLflow, its own and its row's: found, or made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from orc_repro.project import PREPARED
from orc_repro.tracking.description import Description
from orc_repro.tracking.notes import NOTE, run_note
from orc_repro.tracking.paging import every
from orc_repro.tracking.store import experiment_id

LONGEST_DIGEST = 36  # MLflow's, of a dataset


def find_or_create(client: Any, about: Description) -> tuple[str, str]:
    """The ids of a run's own entry and of its row's; call under ``store_lock``."""
    experiment = _experiment(client, about)
    same = f"tags.fingerprint = '{about.fingerprint}' and tags.level = 'seed'"
    found = None
    for run in list(every(client.search_runs, [experiment], same)):
        if run.data.tags.get("attempt") == about.attempt:
            found = run
            continue
        client.set_tag(run.info.run_id, "superseded", "true")
        if run.info.status == "RUNNING":  # killed, and not to be resumed any more
            client.set_terminated(run.info.run_id, "KILLED")
    parent = row_run(client, about, experiment)
    tags = about.tags | {
        "mlflow.parentRunId": parent,
        "level": "seed",
        "cell": about.cell,
        "row": about.row,
        "fingerprint": about.fingerprint,
        "attempt": about.attempt,
        "superseded": "false",
        "status": "running",
        NOTE: run_note(about),
    }
    if found is None:
        # Not when it is sent: that may be long after the run has ended.
        began = about.started_ms or None
        found = client.create_run(experiment, began, tags, about.run_name)
    _send_params(client, found.info.run_id, about.params)
    _send_dataset(client, found.info.run_id, about)
    return str(found.info.run_id), parent


def row_run(client: Any, about: Description, experiment: str) -> str:
    """The id of a row's entry in an experiment; call under ``store_lock``."""
    found = client.search_runs(
        [experiment], f"tags.row = '{about.row}' and tags.level = 'row'", max_results=1
    )
    tags = {"level": "row", "row": about.row} | {
        key: about.tags[key] for key in ("method", "dataset", "group") if key in about.tags
    }
    run = found[0] if found else None
    if run is None:
        run = client.create_run(experiment, run_name=about.row_name, tags=tags)
    if run.info.status == "RUNNING":
        params = {key: value for key, value in about.params.items() if key != "seed"}
        _send_params(client, run.info.run_id, params)
        client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def _experiment(client: Any, about: Description) -> str:
    """The run's own; or an earlier version's, if that holds what the run compares with."""
    before = about.experiment_before
    old = client.get_experiment_by_name(before) if before else None
    if old is not None and old.lifecycle_stage == "active" and before != about.experiment:
        which = [f"tags.{key} = '{about.tags[key]}'" for key in ("dataset", "group")]
        beside = " and ".join(["tags.level = 'row'", *which])
        if client.search_runs([old.experiment_id], beside, max_results=1):
            return str(old.experiment_id)
    return experiment_id(client, about.experiment)


def _send_params(client: Any, run_id: str, params: Mapping[str, str]) -> None:
    """Also to a run that was found: whoever created it may have been killed before this."""
    from mlflow.entities import Param

    client.log_batch(run_id, params=[Param(k, v) for k, v in params.items()])


def _send_dataset(client: Any, run_id: str, about: Description) -> None:
    """What it learns from, as MLflow's own kind of input; once, however often it is sent."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    if not about.images:
        return
    name = about.params["dataset"]
    dataset = Dataset(
        name=name,
        digest=about.tags["data.manifest_sha256"][:LONGEST_DIGEST],
        source_type="local",
        source=json.dumps({"uri": (PREPARED / name).as_posix()}),
        profile=json.dumps(about.images),
    )
    context = InputTag("mlflow.data.context", "training")
    client.log_inputs(run_id, [DatasetInput(dataset, [context])])
