"""A search in MLflow: each trial's run says how it ended, the parent which was best."""

from __future__ import annotations

from contextlib import suppress

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from orc_repro.addresses import reason_of, shown
from orc_repro.config import Tracking
from orc_repro.project import run_folder
from orc_repro.search.storage import REASON, RUN
from orc_repro.tracking.delivery import Delivery, Removed
from orc_repro.tracking.store import open_client, store_uri

_SAID = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


def tell(study: Study, best: FrozenTrial, settings: Tracking) -> str | None:
    """Tag every trial's run that was made on this machine.

    Returns:
        None, or a sentence why it could not be done; the same command does it again.
    """
    if not settings.enabled:
        return None
    uri = store_uri()
    try:
        client = open_client(uri)
        # Those that failed first: their runs went on as another trial's, which has the last word.
        trials = sorted(study.get_trials(deepcopy=False), key=lambda t: t.state != TrialState.FAIL)
        for trial in trials:
            for key, fingerprint in trial.user_attrs.items():
                folder = run_folder(str(fingerprint))
                if not key.startswith(RUN) or not (folder / "run.json").exists():
                    continue
                with suppress(Removed):
                    _tag(Delivery(client, folder, settings), trial, best)
    except Exception as error:  # a store may raise anything; the search's files are safe
        return f"the trials are not tagged in {shown(uri)} ({reason_of(error)})"
    return None


def _tag(delivery: Delivery, trial: FrozenTrial, best: FrozenTrial) -> None:
    tags = {
        "trial_state": _SAID.get(trial.state, "running"),
        "trial_reason": str(trial.user_attrs.get(REASON, "")),
        "best_trial": str(trial.number == best.number).lower(),
    }
    delivery.tag(delivery.run_id, tags)
    if trial.number == best.number:
        delivery.tag(delivery.parent_id, {"best_trial": str(best.number)})
        delivery.client.log_metric(delivery.parent_id, "agg/best_val_top1", best.values[0])
