"""What a search says: its trials, its best values, figures, and whether the best is better."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import optuna
import pandas as pd
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from orc_repro.config import load_params
from orc_repro.csv_files import csv_text
from orc_repro.errors import UserError, say
from orc_repro.files import write_atomically
from orc_repro.project import REPORTS
from orc_repro.report.figures import save
from orc_repro.search.confirmation import FreshSeeds, on_fresh_seeds, paired, verdict
from orc_repro.search.declaration import Search, load_search
from orc_repro.search.foundation import foundation
from orc_repro.search.space import Values, base_values, overlay
from orc_repro.search.storage import REASON, RETRY_OF, best_of, open_study
from orc_repro.search.tags import tell
from orc_repro.search.work import name_of
from orc_repro.yaml_files import write_yaml

BEST, PAGE = "best.yaml", "page.md"


def answer(path: Path, device: str = "auto") -> Path:
    """Confirm a search's best trial on fresh seeds, and write ``reports/studies/<name>/``.

    Returns:
        the folder: ``page.md``, ``trials.csv``, ``best.yaml`` and ``figures/``.

    Raises:
        UserError: no trial finished with a finite value, or a confirming run cannot be made.
    """
    search, params = load_search(path), load_params()
    name = name_of(path, search)
    study = open_study(search, name, base_values(search, params), foundation(search, params))
    first = study.trials[0].params  # also if params.yaml has the best values by now
    folder = REPORTS / "studies" / name
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "trials.csv", csv_text(trial_table(study.trials)))
    best = best_of(study.trials)
    if best is None:
        for former in (folder / BEST, folder / PAGE):  # of a search that was begun anew
            former.unlink(missing_ok=True)
        raise UserError(
            f"no trial of the search {name} finished with a finite value, so there is nothing to"
            f" promote; {folder / 'trials.csv'} says why"
        )
    again = on_fresh_seeds(search, name, params, best.params, "best, again", device)
    control = on_fresh_seeds(search, name, params, first, "params.yaml, again", device)
    header = f"Trial {best.number} of {name}; `orc-repro promote {path}` puts it into params.yaml."
    write_yaml(folder / BEST, overlay(search, best.params, params), header)
    importances = _draw(study, folder / "figures")
    if problem := tell(study, best, params.tracking):
        say("warning", problem)
    page = _page(path, search, name, study, best, first, again, control, importances)
    _write(folder / PAGE, page)
    return folder


def trial_table(trials: list[FrozenTrial]) -> pd.DataFrame:
    """One row a trial: number, state, value, why it ended, whom it repeats, and its values."""
    paths = list(dict.fromkeys(path for trial in trials for path in trial.params))
    return pd.DataFrame(
        [
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                "validation_top1": trial.values[0] if trial.values else None,
                "flop_per_image": trial.values[1] if len(trial.values or ()) > 1 else None,
                "seconds": trial.duration.total_seconds() if trial.duration else None,
                "reason": trial.user_attrs.get(REASON, ""),
                "retry_of": trial.user_attrs.get(RETRY_OF, ""),
            }
            | {path: trial.params.get(path) for path in paths}
            for trial in trials
        ]
    )


def _draw(study: Study, folder: Path) -> dict[str, float]:
    """Optuna's own pictures; returns the importances that one of them shows."""
    matplotlib.use("Agg")
    from matplotlib import pyplot
    from optuna.visualization import matplotlib as plots

    of: dict[str, Any] = {"target": _accuracy, "target_name": "validation top-1"}
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    importances: dict[str, float] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that these plots are experimental, and sparse trials
        drawn: dict[str, Callable[[], object]] = {
            "optimization_history": partial(plots.plot_optimization_history, study, **of),
            "slice": partial(plots.plot_slice, study, **of),
            "parallel_coordinate": partial(plots.plot_parallel_coordinate, study, **of),
        }
        if len(complete) > 1:
            # A target is taken as something to keep low, whatever the study's direction.
            by: dict[str, Any] = {"target": _inaccuracy} if len(study.directions) > 1 else {}
            importances = optuna.importance.get_param_importances(study, **by)
            drawn["param_importances"] = partial(
                plots.plot_param_importances, study, target_name="validation top-1", **by
            )
        if len(study.directions) > 1:
            names = ["validation top-1", "FLOP an image"]
            drawn["pareto_front"] = partial(plots.plot_pareto_front, study, target_names=names)
        for name, draw in drawn.items():
            draw()
            figure = pyplot.gcf()
            if name in ("slice", "parallel_coordinate"):
                figure.set_size_inches(2.4 * len(complete[0].params), 4.8)
            figure.autofmt_xdate()
            save(figure, folder / f"{name}.svg")
            pyplot.close(figure)
    return dict(importances)


def _accuracy(trial: FrozenTrial) -> float:
    accuracy: float = trial.values[0]
    return accuracy


def _inaccuracy(trial: FrozenTrial) -> float:
    return -_accuracy(trial)


def _page(
    path: Path,
    search: Search,
    name: str,
    study: Study,
    best: FrozenTrial,
    first: Values,
    again: FreshSeeds,
    control: FreshSeeds,
    importances: Mapping[str, float],
) -> str:
    states = pd.Series([trial.state.name.lower() for trial in study.trials]).value_counts()
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    changes = [
        f"| {p} | {first.get(p, '')} | {best.params.get(p, '')} | {importances.get(p, 0.0):.2f} |"
        for p in search.space
    ]
    overlay_of_best = overlay(search, best.params, load_params())
    options = " ".join(f"-S '{key}={value}'" for key, value in _flat(overlay_of_best))
    return f"""# {search.title}

`{path}`, version {search.version}: {counts}. Sampler {search.sampler.kind}, seed
{search.sampler.seed}; Optuna {optuna.__version__}. Values are validation accuracies of the target
after the last epoch, the mean over seeds {", ".join(map(str, search.seeds))}; the test split is
never read.

## Is the best trial better?

The best of many noisy trials is not the best: it and trial 0, what `params.yaml` has, were trained
again on {len(search.confirmation_seeds)} fresh seeds.

| | validation top-1 |
| --- | --- |
| trial {best.number} in the search | {_accuracy(best):.2f} |
| trial {best.number}, fresh seeds | {again} |
| params.yaml, fresh seeds | {control} |
| difference, paired by seed | {paired(again, control)} |

{verdict(again, control)}

## Values

| parameter | params.yaml | trial {best.number} | importance |
| --- | --- | --- | --- |
{chr(10).join(changes)}

To try them: `dvc exp run {options}`, or `orc-repro promote {path}`.

![history](figures/optimization_history.svg)
![importances](figures/param_importances.svg)
![slices](figures/slice.svg)
![parallel coordinates](figures/parallel_coordinate.svg)
{"![accuracy and cost](figures/pareto_front.svg)" if search.cost != "none" else ""}"""


def _flat(values: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, str]]:
    """As ``dvc exp run -S`` takes them: a list in brackets."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{at}{key}.")
        else:
            yield f"{at}{key}", f"[{','.join(value)}]" if isinstance(value, list) else str(value)


def _write(path: Path, text: str) -> None:
    write_atomically(path, text.encode())
