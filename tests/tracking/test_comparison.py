"""What a person compares by: experiments, names, notes, tags, a row's figures, the dataset."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest
import torch

from orc_repro.config import Group
from orc_repro.data.manifest import Manifest
from orc_repro.distill import METHODS
from orc_repro.interruption import Interruption
from orc_repro.project import evaluated, run_folder
from orc_repro.published.tables import Cell
from orc_repro.report.results import Result, read_results
from orc_repro.report.statistics import summarise
from orc_repro.stages.sync import sync
from orc_repro.tracking import finals, machine, sender, store
from orc_repro.tracking.delivery import Delivery, deliver
from orc_repro.tracking.description import chain_of, in_words
from orc_repro.tracking.finals import Finals, row_metrics, row_status, send_finals
from orc_repro.tracking.keys import MOST_KEYS, OTHER_KEYS, SYSTEM_KEYS, wanted_keys
from orc_repro.tracking.notes import NOTE, quotation, spoken
from orc_repro.tracking.outcome import Outcome
from orc_repro.tracking.places import Place, top1_accuracy
from orc_repro.tracking.tracker import Tracker
from tests.project import ROOT
from tests.tracking.made_runs import (
    PARAMS,
    SETTINGS,
    STUDY,
    identity,
    make_run,
    manifest,
    write_result,
)

EXPERIMENT = "orc/cifar100/cifar100-r56-r20"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """An empty project with one study of the paper; returns a dataset's manifest."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORC_SCRATCH", str(tmp_path / ".orc"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(ROOT / "studies" / STUDY, tmp_path / "studies" / STUDY)
    return manifest(tmp_path / "prepared")


def runs(level: str, experiment: str = EXPERIMENT) -> list[Any]:
    client = store.open_client()
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id], f"tags.level = '{level}'"))


def cell(**changes: Any) -> Cell:
    values: dict[str, Any] = {
        "table": "t", "row": "KD", "networks": "a -> b", "metric": "top1_accuracy_percent",
        "value": 70.0, "range": None, "deviation": None, "confidence": "quoted", "sources": (),
        "protocol": "table", "note": None,
    }  # fmt: skip
    return Cell(**(values | changes))


def test_a_row_carries_mean_interval_and_what_was_published(data: Manifest) -> None:
    for seed, top1 in enumerate((70.0, 71.0, 70.5)):
        who = identity(data, "kd", seed)
        folder = make_run(who)
        write_result(who, top1)
        assert deliver(folder, SETTINGS) is None
    (row,) = runs("row")
    figures = row.data.metrics
    assert figures["agg/top1_mean"] == pytest.approx(70.5)
    assert figures["agg/top1_sd"] == pytest.approx(0.5)  # of 70, 70.5, 71, with n - 1
    half = 4.302652729696144 * 0.5 / 3**0.5  # Student's t of 2 degrees, 97.5 %
    assert figures["agg/top1_ci95_lo"] == pytest.approx(70.5 - half)
    assert figures["agg/top1_ci95_hi"] == pytest.approx(70.5 + half)
    assert figures["agg/n_seeds"] == 3
    # CRD's table prints 70.66 for KD, ResNet56 to ResNet20, but of another number of images.
    assert not {"paper/top1", "agg/delta"} & figures.keys()
    assert row.info.run_name == "kd · resnet56→20 · cifar100"
    assert row.data.tags["status"] == "complete"
    assert row.data.tags["table"] == STUDY
    note = row.data.tags[NOTE]
    assert "**70.50 ± 0.50 % (n = 3, 95 % interval 69.26 to 71.74)**" in note
    assert "70.66 % top1 accuracy (KD, `peers_crd_same_style`, quoted)" in note
    keys = " ".join(f"cifar100-r56-r20-kd-s{seed}" for seed in range(3))
    assert f"`orc-repro run {keys} --study studies/{STUDY}`" in note


def test_a_seed_can_be_filtered_by_and_says_what_it_is(data: Manifest) -> None:
    who = identity(data, "orc", 1)
    folder = make_run(who)
    write_result(who, 70.25)
    assert deliver(folder, SETTINGS) is None
    (run,) = runs("seed")
    assert run.info.run_name == "orc · resnet56→20 · seed 1"
    wanted = {"method": "orc", "seed": "1", "status": "finished", "table": STUDY, "row": who.row}
    assert run.data.tags.items() >= wanted.items()
    note = run.data.tags[NOTE]
    assert "Test top-1 after the last epoch: **70.25 %**" in note
    assert "240 epochs, batches of 64" in note and who.command in note
    assert [row.data.tags["status"] for row in runs("row")] == ["incomplete"]  # 1 of 3 seeds
    (used,) = run.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("cifar100", data.digest[:36])
    assert '"train": 54' in used.dataset.profile
    assert deliver(folder, SETTINGS) is None
    assert len(runs("seed")[0].inputs.dataset_inputs) == 1


def test_what_has_arrived_is_not_sent_again_and_a_pools_results_are_read_once(
    data: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, read = [], []

    def note(delivery: Delivery, given: Finals, ended: Outcome) -> None:
        sent.append(delivery.description.cell)
        send_finals(delivery, given, ended)

    def count(folder: Path) -> list[Result]:
        read.append(folder)
        return read_results(folder)

    def written(seed: int) -> None:
        write_result(seeds[seed], 70.0 + seed)
        os.utime(evaluated(STUDY), (1000 + 10 * seed,) * 2)  # long ago

    seeds = [identity(data, "kd", seed) for seed in range(3)]
    for who in seeds:
        make_run(who)
    written(0)
    monkeypatch.setattr(finals, "send_finals", note)
    monkeypatch.setattr(finals, "read_results", count)
    assert sync(SETTINGS) == (3, [])
    assert sorted(sent) == [who.key for who in seeds] and len(read) == 1
    assert sync(SETTINGS) == (3, [])
    assert len(sent) == 3 and len(read) == 1
    written(1)  # which the row's other seeds are to tell of, too
    assert sync(SETTINGS) == (3, [])
    assert len(sent) == 6 and len(read) == 2
    (row,) = runs("row")
    assert row.data.metrics["agg/top1_mean"] == 70.5
    found = {run.data.tags["seed"]: run.data.metrics.get("final/top1_last") for run in runs("seed")}
    assert found == {"0": 70.0, "1": 71.0, "2": None}


def test_without_results_a_row_says_so(data: Manifest) -> None:
    make_run(identity(data, "orc"))
    (row,) = runs("row")
    assert row.data.tags["status"] == "not measured" and "No result yet" in row.data.tags[NOTE]
    assert "agg/top1_mean" not in row.data.metrics


def test_what_an_earlier_version_began_goes_on_there_and_nothing_doubles(data: Manifest) -> None:
    old = "orc/cifar100"
    make_run(replace(identity(data, "kd", 0), shown_in=""))
    folder = make_run(replace(identity(data, "kd", 1), shown_in=""))
    (folder / "delivered.json").unlink()
    again = identity(data, "kd", 1).description(torch.device("cpu"))
    attempt = next(r for r in runs("seed", old) if r.data.tags["seed"] == "1").data.tags["attempt"]
    again = again.model_copy(update={"attempt": attempt})
    (folder / "run.json").write_text(again.model_dump_json())
    assert deliver(folder, SETTINGS) is None
    make_run(identity(data, "orc", 0))  # another method of the same comparison
    assert {r.info.run_name for r in runs("seed", old)} == {
        "kd · resnet56→20 · seed 0", "kd · resnet56→20 · seed 1", "orc · resnet56→20 · seed 0",
    }  # fmt: skip
    assert len(runs("row", old)) == 2 and len(runs("seed", old)) == 3
    make_run(identity(data, "kd", 0, group="vgg13-vgg8"))
    assert len(runs("seed", "orc/cifar100/cifar100-vgg13-vgg8")) == 1


def test_what_was_drawn_of_a_run_is_shown_with_it_once(data: Manifest, tmp_path: Path) -> None:
    folder = make_run(identity(data))
    figure = tmp_path / "figure.svg"
    figure.write_text("<svg/>")
    client = store.open_client()
    (run,) = runs("seed")

    def shown() -> dict[str, int]:
        return {f.path: f.file_size for f in client.list_artifacts(run.info.run_id, "roles")}

    assert deliver(folder, SETTINGS, {"roles": [figure]}) is None
    assert shown() == {"roles/figure.svg": 6}
    place = Path(unquote(urlparse(run.info.artifact_uri).path)) / "roles/figure.svg"
    place.unlink()  # what is sent again comes back
    assert deliver(folder, SETTINGS, {"roles": [figure]}) is None
    assert shown() == {}
    figure.write_text("<svg></svg>")
    assert deliver(folder, SETTINGS, {"roles": [figure]}) is None
    assert shown() == {"roles/figure.svg": 11}


def test_the_machine_is_watched_in_long_runs_if_asked_for(
    data: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SETTINGS.model_copy(update={"system_metrics_every_seconds": 0.1})
    make_run(identity(data, "kd", 0), settings=settings)
    monkeypatch.setattr(sender, "LONG_RUN_S", 0.0)
    make_run(identity(data, "kd", 2))
    who = identity(data, "kd", 1)
    folder = run_folder(who.fingerprint)
    about = who.description(torch.device("cpu"))
    folder.mkdir(parents=True)
    tracker = Tracker(folder, about, settings, resumed=False, stop=Interruption())

    def sampled(seed: str) -> set[str]:
        found = [run for run in runs("seed") if run.data.tags["seed"] == seed]
        return {key for run in found for key in run.data.metrics if key.startswith("system/")}

    end = time.monotonic() + 300
    while not sampled("1"):
        assert time.monotonic() < end
        time.sleep(0.2)
    tracker.finish("KILLED", "enough")
    host = {f"system/{name}" for name in machine.OF_THE_HOST}
    assert host <= sampled("1") <= host | {f"system/gpu_0_{name}" for name in machine.OF_A_GPU}
    assert sampled("0") == sampled("2") == set()


@pytest.mark.parametrize(
    ("visible", "gpu", "of_the_node"),
    [("", 0, 0), ("", 1, 1), ("3", 0, 3), ("5,1", 0, 5), ("5,1", 1, 1), ("GPU-8932f937", 0, 0)],
)
def test_of_several_gpus_the_runs_own_is_watched(
    visible: str, gpu: int, of_the_node: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.of_the_node(gpu) == of_the_node


@pytest.mark.parametrize(
    ("pivot", "target", "chain"),
    [
        ("resnet26", "resnet8", "resnet26→8"),
        ("resnet32x4", "resnet8x4", "resnet32x4→8x4"),
        ("wrn_40_2", "wrn_16_2", "wrn_40_2→16_2"),
        ("vgg13", "mobilenetv2", "vgg13→mobilenetv2"),
        (None, "resnet8", "resnet8"),
    ],
)
def test_a_chain_is_written_short(pivot: str | None, target: str, chain: str) -> None:
    assert chain_of(Group(pivot=pivot, students=(target,), target=target)) == chain


def test_a_recipe_in_words() -> None:
    assert in_words(PARAMS.recipes["cifar10-dgkd"]) == (
        "160 epochs, batches of 128; SGD, learning rate 0.1, times 0.1 after epochs 80, 120;"
        " momentum 0.9, weight decay 0.0001; crops with 4 pixels of padding and mirroring; fp32"
    )
    words = in_words(PARAMS.recipes["cifar100-crd"])
    assert "learning rate 0.05 (mobilenetv2 0.01, shufflenetv1 0.01, shufflenetv2 0.01)" in words
    assert "no augmentation" in in_words(PARAMS.recipes["digits"])


def test_published_errors_become_accuracies_and_doubted_ones_nothing() -> None:
    error = cell(metric="top1_error_percent", value=29.5)
    assert top1_accuracy(cell()) == 70.0
    assert top1_accuracy(error) == 70.5
    assert top1_accuracy(cell(confidence="doubted")) is None
    assert top1_accuracy(cell(metric="top5_accuracy_percent")) is None
    assert top1_accuracy(cell(value=None, range=(69.0, 71.0))) is None
    assert "69 to 71 %" in quotation(cell(value=None, range=(69.0, 71.0)))
    other = cell(protocol=None)
    assert top1_accuracy(other) is None
    assert quotation(other).endswith("quoted, protocol unknown or different)")
    doubted = Place("s", "S", 3, (cell(confidence="doubted"), other, error), as_published=True)
    elsewhere = Place("t", "T", 3, (cell(),), as_published=False)
    assert "paper/top1" not in row_metrics(summarise([71.0]), [elsewhere])
    assert row_metrics(summarise([71.0]), [doubted]) == {
        "agg/top1_mean": 71.0, "agg/n_seeds": 1.0, "paper/top1": 70.5, "agg/delta": 0.5,
    }  # fmt: skip
    assert spoken(summarise([71.0])) == "71.00 % (n = 1)"


def test_a_row_is_complete_with_the_seeds_of_the_study_that_wants_most() -> None:
    places = [Place("a", "A", 2, ()), Place("b", "B", 5, ())]
    assert [row_status(n, places) for n in (0, 4, 5)] == ["not measured", "incomplete", "complete"]
    assert row_status(1, []) == "complete"


def test_no_run_has_more_than_sixty_metrics() -> None:
    common = ["train/loss", "val/top1", "learning_rate", "cost/epoch_seconds", "role/changes"]
    parts = ["ce", "kd_pivot", "loss", "train_top1", "val_loss", "val_top1"]
    names = common + [f"net{i}/{part}" for i, part in product(range(9), parts)]
    kept = wanted_keys(names, networks=9)
    assert len(kept) == MOST_KEYS - OTHER_KEYS - 9
    assert kept >= {*common, *(f"net{i}/val_top1" for i in range(9))}
    assert "net8/train_top1" in kept and "net8/ce" not in kept
    watched = wanted_keys(names, networks=9, watched=True)
    assert watched < kept and len(watched) == len(kept) - SYSTEM_KEYS
    assert len(machine.OF_THE_HOST) + len(machine.OF_A_GPU) == SYSTEM_KEYS


def test_every_group_of_the_parameters_keeps_all_its_metrics() -> None:
    parts = ["ce", "kd_pivot", "kd_temporary", "loss", "train_top1", "val_loss", "val_top1"]
    target = ["train/loss", "train/top1", "val/loss", "val/top1", "learning_rate"]
    orc = ["role/changes", "role/margin_mean", "feedback/wrong_by_anyone", "cost/epoch_seconds"]
    for group in PARAMS.groups.values():
        own = [f"{name}/{part}" for name, part in product(group.students, parts)]
        own += [f"role/share_{name}" for name in group.students]
        own += [f"pivot/{part}" for part in ("loss", "mixed_ce", "val_loss", "val_top1")]
        names = [*target, *orc, *own]
        networks = METHODS["orc"].networks_of(group, PARAMS.methods["orc"])
        assert wanted_keys(names, len(networks)) == set(names)
        assert len(names) + OTHER_KEYS + len(networks) <= MOST_KEYS
