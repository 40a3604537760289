"""What a person sees while a run trains: a bar on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar


class Progress:
    """Use as a context manager; ``step`` is cheap enough to be called every iteration.

    ``shown``: of several processes that train together only one shows anything.
    """

    def __init__(self, title: str, epochs: int, steps: int, shown: bool = True) -> None:
        self._title, self._epochs, self._steps = title, epochs, max(1, steps)
        self._console, self._shows = Console(file=sys.stderr, quiet=not shown), shown
        self._bar: Bar | None = None
        self._shown = self._started = time.monotonic()
        self._done_before, self._pending = 0.0, 0
        if shown and self._console.is_terminal:
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %"),
                TextColumn("{task.fields[figures]}"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._task = self._bar.add_task(title, total=epochs * steps, figures="")

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def resume(self, epoch: int, step: int) -> None:
        """This many epochs, and steps of the next, were done before."""
        self._done_before = epoch + step / self._steps
        if self._bar is not None:
            self._bar.update(self._task, completed=epoch * self._steps + step)

    def step(self) -> None:
        """One iteration is done."""
        self._pending += 1
        if self._bar is not None and time.monotonic() - self._shown > 0.1:
            self._advance()

    def epoch(self, epoch: int, loss: float, top1: float) -> None:
        """An epoch (counted from 0) is done: the target's training loss and validation accuracy."""
        figures = f"epoch {epoch + 1}/{self._epochs}  loss {loss:.3f}  validation {top1:.1f} %"
        if self._bar is not None:
            self._advance()
            self._bar.update(self._task, figures=figures)
            return
        if not self._shows:
            return
        ran = epoch + 1 - self._done_before
        seconds_an_epoch = (time.monotonic() - self._started) / max(ran, 1 / self._steps)
        left = seconds_an_epoch * (self._epochs - epoch - 1)
        print(f"{self._title}  {figures}  {left:.0f} s left", file=sys.stderr, flush=True)

    def warn(self, sentence: str) -> None:
        """Show a warning above the bar."""
        self._console.print(f"warning: {sentence}", markup=False, highlight=False)

    def _advance(self) -> None:
        assert self._bar is not None
        self._bar.advance(self._task, self._pending)
        self._pending, self._shown = 0, time.monotonic()
