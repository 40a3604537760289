"""Every table in a small form: all its stages, each network as it is, a handful of images.

``python -m tests.tables_small FOLDER [STUDY ...]`` makes a small copy of the project in a folder
and runs studies (by name or pattern; the published tables, if none is named) through DVC, side by
side. ``make tables-small`` is this. With ``--in-process`` the stages are called one after another
without DVC, in a fraction of the time, and with ``--cover`` only as many as it takes to have every
method, every group and every study once. The images are real CIFAR-100 ones where these lie beside
the checkout.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from orc_repro.cells import load_study
from orc_repro.queue.cost import flop_per_image
from orc_repro.stages.jobs import Job, jobs_of, with_all_before
from orc_repro.yaml_files import read_yaml
from tests.project import REAL, ROOT, command, environment

CLASSES, TRAIN, TEST = 12, 3, 1
SIDE = {"imagenet": 64, "digits": 8}


def make_small_project(to: Path) -> Path:
    """The whole project with a few images a dataset, one epoch a recipe and one seed a row."""
    unwanted = shutil.ignore_patterns("__pycache__", "dvc.lock")
    for name in ("orc_repro", "studies"):
        shutil.copytree(ROOT / name, to / name, ignore=unwanted)
    if not find_spec("torchdistill"):
        shutil.rmtree(to / "studies/features_cifar100")
    for name in (".dvcignore", ".gitignore"):
        shutil.copyfile(ROOT / name, to / name)
    params = read_yaml(ROOT / "params.yaml")
    for name in params["data"]:
        folder = f"data/raw/small-{name}"
        write_images(to / folder, SIDE.get(name, 32))
        params["data"][name] = {
            "source": "folder",
            "root": folder,
            "validation_fraction": 0.25,
            "split_seed": 0,
        }
    for recipe in params["recipes"].values():
        recipe |= {"epochs": 1, "batch_size": 12, "cpu_threads": 1}
        recipe["schedule"] = {"milestones_epochs": [], "factor": 0.1}
    params["tracking"]["enabled"] = False
    (to / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    for path in sorted((to / "studies").glob("*/study.yaml")):
        study = read_yaml(path)
        for row in study["rows"]:
            row["seeds"] = row["seeds"][:1]
            row["pivot"].pop("weights", None)  # of a thousand classes, and not on this disk
        path.write_text(yaml.safe_dump(study, sort_keys=False))
    command(to, "orc_repro", "plan")
    command(to, "dvc", "init", "-q", "--no-scm")
    return to


def write_images(folder: Path, side: int) -> None:
    """``CLASSES`` folders of train and test images: real ones if there are, else noise."""
    if side == 32 and (REAL / "unpack.py").exists():
        all_of_them = folder.with_name("cifar100")
        if not all_of_them.exists():
            subprocess.run(
                [sys.executable, REAL / "unpack.py", "cifar100", "--to", all_of_them,
                 "--train-per-class", str(TRAIN), "--test-per-class", str(TEST)],
                check=True, capture_output=True,
            )  # fmt: skip
        for split in ("train", "test"):
            for real in sorted((all_of_them / split).iterdir())[:CLASSES]:
                shutil.copytree(real, folder / split / real.name)
        return
    draw = np.random.default_rng(side)
    for split, count in (("train", TRAIN), ("test", TEST)):
        for kind in range(CLASSES):
            (folder / split / f"class{kind:02d}").mkdir(parents=True)
            for index in range(count):
                pixels = draw.integers(256, size=(side, side, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / f"class{kind:02d}" / f"{index}.png")


def cover(studies: list[Path]) -> list[Job]:
    """The cheapest cells that have, together, every method, every group with and without what was
    trained before, and one of every study; with all stages before them.
    """
    found: dict[str, tuple[float, frozenset[tuple[str, ...]]]] = {}
    jobs: dict[str, Job] = {}
    for folder in studies:
        study, in_it = load_study(folder), jobs_of(folder)
        jobs |= {job.address: job for job in in_it if job.kind != "report"}
        for job in in_it:
            if job.kind == "evaluate":
                cell = study.cells.cells[job.stage.partition("@")[2]]
                method, group = study.params.methods[cell.method], study.params.groups[cell.group]
                taught = "taught" if cell.teachers else "alone"
                has = {
                    ("method", cell.method),
                    ("group", cell.dataset, cell.group, taught),
                    ("study", folder.name),
                }
                _, known = found.get(job.address, (0, frozenset()))
                found[job.address] = flop_per_image(method, group), known | has
    chosen: list[Job] = []
    seen: set[tuple[str, ...]] = set()
    for address in sorted(found, key=lambda address: (found[address][0], address)):
        if not found[address][1] <= seen:
            chosen.append(jobs[address])
            seen |= found[address][1]
    return with_all_before(chosen, jobs.values())


def run_in_process(studies: list[Path], jobs: list[Job]) -> int:
    """Stages by their functions, in the current folder; returns how many."""
    from orc_repro.stages.evaluate import evaluate_cell
    from orc_repro.stages.prepare import prepare
    from orc_repro.stages.pretrain import assist, pretrain
    from orc_repro.stages.report import report, write_all_results
    from orc_repro.stages.train import train

    stages: dict[str, Any] = {
        "pretrain": pretrain,
        "assist": assist,
        "train": train,
        "evaluate": evaluate_cell,
    }
    unique = {job.address: job for job in jobs if job.kind != "report"}
    for job in unique.values():
        study, key = load_study(owner_of(job)), job.stage.partition("@")[2]
        if job.kind == "prepare":
            prepare(study.params, key)
        else:
            stages[job.kind](study, key, "cpu")
    write_all_results()
    for folder in studies:
        report(folder)
    return len(unique) + len(studies)


def owner_of(job: Job) -> Path:
    """The study or pool in whose pipeline a stage is."""
    pipeline = Path(job.address.rpartition(":")[0])
    return Path("studies/default") if pipeline.parent == Path() else pipeline.parent


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("studies", nargs="*", default=["table*"])
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--in-process", action="store_true")
    parser.add_argument("--cover", action="store_true")
    options = parser.parse_args()
    folder: Path = options.folder.resolve()
    if not (folder / "params.yaml").exists():
        make_small_project(folder)
    known = sorted(path.parent.name for path in folder.glob("studies/*/study.yaml"))
    studies = [name for name in known if any(fnmatch(name, wish) for wish in options.studies)]
    started = time.monotonic()
    if options.in_process:
        os.chdir(folder)
        folders = [Path("studies") / name for name in studies]
        every = [job for study in folders for job in jobs_of(study)]
        count = run_in_process(folders, cover(folders) if options.cover else every)
        print(f"{count} stages of {len(studies)} studies in {time.monotonic() - started:.0f} s")
        return
    for name in studies:
        print(f"--- {name}", flush=True)
        # DVC reads and writes a pool's whole lock with every stage: five seconds for all tables'
        # stages, as long as the stage itself. What tables share is cheaper to make again.
        for lock in folder.glob("studies/pools/*/dvc.lock"):
            lock.unlink()
        words = ["run", "--table", name, "--workers", str(options.workers)]
        subprocess.run(
            [sys.executable, "-m", "orc_repro", *words],
            cwd=folder,
            env=environment(folder),
            check=True,
        )
    print(f"every stage of {len(studies)} studies in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
