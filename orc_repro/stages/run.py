"""What pretraining and training share: a run folder, tracking, and an end in any case."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType

import torch
from filelock import FileLock, Timeout

from orc_repro.addresses import reason_of
from orc_repro.config import Params, Recipe
from orc_repro.data.batches import Augmentation, ResidentImages
from orc_repro.data.manifest import Manifest
from orc_repro.data.photo_manifest import PhotoManifest, load_any_manifest
from orc_repro.data.prepared import load_split
from orc_repro.data.split import Split
from orc_repro.distill import Method
from orc_repro.errors import Interrupted, NotWorthwhile, UserError, say
from orc_repro.files import remove_partials, write_json
from orc_repro.fingerprint import file_digest
from orc_repro.interruption import Interruption
from orc_repro.memory import is_out_of_memory, refuse_more_than_bearable
from orc_repro.processes.group import ALONE, Processes
from orc_repro.progress import Progress
from orc_repro.project import PREPARED, run_folder
from orc_repro.stages.earlier import note_unfinished
from orc_repro.stages.identity import Identity
from orc_repro.tracking.delivery import read_delivered
from orc_repro.tracking.description import Description
from orc_repro.tracking.outcome import OUTCOME, SECONDS, read_outcome
from orc_repro.tracking.records import metrics_log
from orc_repro.tracking.runlog import Log, RunLog, Unwritten, forget
from orc_repro.tracking.sender import Sender
from orc_repro.tracking.tracker import ABOUT, Tracker, ask_new_store
from orc_repro.training import checkpoints
from orc_repro.training.checkpoints import Checkpoints
from orc_repro.training.loop import TrainingData, fit
from orc_repro.training.state import Progressed
from orc_repro.validation import read_json

LOCK = "run.lock"
LOOK_S = 1.0
WAIT_FOR_OTHER_S = 20.0  # a process that was asked to stop may still be saving


def is_running(folder: Path) -> bool:
    """Whether a process of this machine is at work in a run's folder."""
    path = folder / LOCK
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def open_split(
    params: Params,
    dataset: str,
    split: str,
    manifest: Manifest,
    recipe: Recipe,
    device: torch.device,
) -> Split:
    """A prepared split, to be augmented as the recipe says: on the device, or read as it goes."""
    if isinstance(manifest, PhotoManifest):
        from orc_repro.data.photo_split import open_photos  # here: loads torchvision

        refuse_more_than_bearable(params.loader.workers, "params.yaml's loader.workers")
        return open_photos(params, split, manifest, recipe, device)
    images, labels = load_split(PREPARED / dataset, split, manifest)
    augmentation = Augmentation(recipe.augmentation.crop_padding, recipe.augmentation.flip)
    return ResidentImages(
        images,
        labels,
        mean=manifest.mean,
        std=manifest.std,
        augmentation=augmentation,
        device=device,
    )


def manifest_of(dataset: str) -> Manifest:
    """The manifest of a prepared dataset."""
    return load_any_manifest(PREPARED / dataset)


class Run:
    """A run under way; use as a context manager.

    However the block ends, so does the MLflow run: finished by :meth:`finish`, killed by a signal,
    failed with an error's sentence. One process at a time has a run; where several train it
    together, one of them leads, and alone has its folder.
    """

    def __init__(
        self,
        identity: Identity,
        device: torch.device,
        params: Params,
        restart: bool = False,
        processes: Processes = ALONE,
    ) -> None:
        self.identity, self.device, self.processes = identity, device, processes
        # torchrun that starts processes again repeats the whole command.
        again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
        self._params, self._restart = params, restart and not again
        self.folder = run_folder(identity.fingerprint)
        self._stop = Interruption()
        self._lock = FileLock(self.folder / LOCK)
        self._tracker: Tracker | None = None
        self._finished = False
        self._others: dict[str, str] = {}

    def __enter__(self) -> Run:
        if self.processes.leads:
            self._take_folder()
        self._stop.__enter__()
        return self

    def _take_folder(self) -> None:
        key = self.identity.key
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=WAIT_FOR_OTHER_S)
        except Timeout:
            if (owner := self._owner()) in (None, (self.identity.study, key)):
                raise UserError(
                    f"another process is training {key}; its lock is {self.folder / LOCK}"
                ) from None
            say("waiting", f"{owner[1]} has the content of {key} and is being trained")
            self._wait_for_lock()
        except OSError as error:
            raise UserError(f"the run folder {self.folder} cannot be written: {error}") from None
        remove_partials(self.folder)

    def _wait_for_lock(self) -> None:
        while True:
            with suppress(Timeout):
                self._lock.acquire(timeout=LOOK_S)
                return
            if self._stop.requested:
                self._stop.stop_if_requested(f"while {self.identity.key} waited")

    def _owner(self) -> tuple[str, str] | None:
        """Return the study and the key of the run that the folder is of, if it is of one.

        Two entries of equal content have one folder: the second takes what the first has trained.
        """
        try:
            about = read_json(Description, self.folder / ABOUT)
        except UserError:
            return None
        return about.study, about.cell

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        try:
            if self._tracker is not None and error is not None and not self._finished:
                ended = isinstance(error, Interrupted | NotWorthwhile)
                status = "KILLED" if ended else "FAILED"
                _warn(self._tracker.finish(status, reason_of(error)))
        finally:
            self._stop.__exit__()
            self._lock.release()
        if self.processes.leads and not isinstance(error, Interrupted):
            # Noted while it ended: whoever started it must not start another.
            how = "was finished" if error is None else f"had ended: {reason_of(error)}"
            self._stop.stop_if_requested(f"when the run {how}")

    def is_finished(self, wanted: Path) -> bool:
        """Whether this run came to its end before, and its outputs are still those it wrote.

        ``wanted`` is one of the outputs; another study's run of the same cell has another.
        """
        return self.processes.from_leader(self.processes.leads and self._is_finished(wanted))

    def _is_finished(self, wanted: Path) -> bool:
        ended = None if self._restart else read_outcome(self.folder)
        if ended is None or ended.status != "FINISHED" or wanted.as_posix() not in ended.outputs:
            return False
        return all(
            Path(path).is_file() and file_digest(Path(path)) == found
            for path, found in ended.outputs.items()
        )

    def settle(self) -> None:
        """A finished run may have been killed before it could tidy up and deliver.

        Raises:
            Interrupted: as :meth:`finish`.
        """
        if not self.processes.leads:
            return
        ended = read_outcome(self.folder)
        self._tidy_up([] if ended is None else [Path(path) for path in ended.outputs])
        arrived = [state.ended_ms for state in read_delivered(self.folder).values()]
        if not self._params.tracking.enabled or ended is None or ended.ended_ms in arrived:
            return
        late = Sender(self.folder, self._params.tracking)
        late.start()
        _warn(late.stop(self._stop))
        self._stop.stop_if_requested("when the run was finished")

    def train(
        self, method: Method, target: str, make_log: Callable[[Path], Log] = RunLog
    ) -> Progressed:
        """Train to the last epoch, from the newest checkpoint if there is one.

        Args:
            make_log: makes the log of the run's folder; one that looks at what it is told may
                end the run.

        Raises:
            UserError: see ``fit``; also when the device has no memory left.
            Interrupted: a stop was requested; what was done is saved.
        """
        identity, recipe = self.identity, self.identity.recipe
        leads = self.processes.leads
        self._refuse_different_runs()
        if leads:
            ask_new_store(self._params.tracking)
        for module in method.modules.values():  # other processors may have drawn other last bits
            self.processes.take_leaders(module.state_dict().values())
        try:
            train, validation = (
                open_split(
                    self._params, identity.dataset, split, identity.manifest, recipe, self.device
                )
                for split in ("train", "validation")
            )
            steps = len(train) // recipe.batch_size
            self.processes.part_of(recipe.batch_size)
            if leads:
                self._begin()
            with (
                closing(make_log(self.folder) if leads else Unwritten(self.folder)) as log,
                Progress(
                    identity.key, recipe.epochs, steps, recipe.batch_size, speaks=leads
                ) as progress,
            ):
                return fit(
                    method,
                    TrainingData(train, validation, identity.manifest.num_classes),
                    recipe,
                    target=target,
                    seed=identity.seed,
                    log=log,
                    checkpoints=Checkpoints(
                        self.folder,
                        identity.fingerprint,
                        identity.made_from,
                        identity.made_with(self.device),
                        self._params.checkpoints.every_seconds,
                        progress,
                    ),
                    progress=progress,
                    stop=self._stop,
                    processes=self.processes,
                )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(
                f"{self.device} ran out of memory with batches of {recipe.batch_size}; it holds"
                f" {', '.join(method.networks)} at once; the same command goes on from the last"
                " checkpoint"
            ) from None

    def _refuse_different_runs(self) -> None:
        other = self.processes.differing(self.identity.fingerprint)
        if other is not None:
            raise UserError(
                f"process {other} has another run than process 0: its code, data, teachers' weights"
                " or parameters differ"
            )

    def _begin(self) -> None:
        """Prepare the run's folder, once nothing is left to refuse: ``--restart`` empties it."""
        identity = self.identity
        if self._restart:
            # In this order: a kill in between leaves nothing that could be delivered or continued.
            (self.folder / ABOUT).unlink(missing_ok=True)
            checkpoints.clear(self.folder)
            (self.folder / OUTCOME).unlink(missing_ok=True)
        # Another entry of equal content was trained here: its outputs stay known as this run's.
        another = self._owner() not in (None, (identity.study, identity.key))
        before = read_outcome(self.folder) if another else None
        self._others = {} if before is None else dict(before.outputs)
        resumed = bool(checkpoints.saved(self.folder))
        if not resumed:
            forget(self.folder)
            note_unfinished(identity)
        write_json(self.folder / "config.json", identity.resolved_config())
        write_json(self.folder / "made_from.json", identity.made_from)
        about = identity.description(self.device)
        goes_on = resumed and not another
        self._tracker = Tracker(self.folder, about, self._params.tracking, goes_on, self._stop)

    def finish(
        self, artifacts: dict[str, Path], weights_digest: str, outputs: list[Path], done: Progressed
    ) -> None:
        """The run's outputs are written: end it, and deliver it.

        Its last checkpoint stays: outputs that DVC takes away are written again from it.

        Raises:
            Interrupted: a stop was requested meanwhile; the run is finished all the same, but
                whoever started it must not start another.
        """
        assert self._tracker is not None
        records = metrics_log(self.folder).all()
        seconds = sum(record.values["cost/epoch_seconds"] for record in records)
        train = self.identity.manifest.count("train")
        batch = self.identity.recipe.batch_size
        images = len(done.history) * (train // batch) * batch
        self._tracker.end(
            "FINISHED",
            figures={SECONDS: seconds, "cost/images_per_second": images / seconds},
            artifacts=artifacts | {"config/resolved.json": self.folder / "config.json"},
            weights_digest=weights_digest,
            outputs=self._others | {path.as_posix(): file_digest(path) for path in outputs},
        )
        self._finished = True
        self._tidy_up(outputs)
        _warn(self._tracker.deliver())
        self._stop.stop_if_requested("when the run was finished")

    def _tidy_up(self, outputs: list[Path]) -> None:
        for path in outputs:  # a process that was killed may have left half of one beside it
            remove_partials(path.parent, path.name)
        for path in checkpoints.saved(self.folder)[:-1]:
            path.unlink(missing_ok=True)


def _warn(problem: str | None) -> None:
    if problem:
        say("warning", problem)
