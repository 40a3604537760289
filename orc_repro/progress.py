"""What a person sees while something takes long: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from orc_repro.errors import sentence

LINE_EVERY_S = 10.0
STEPS_EVERY_S = 60.0  # within an epoch; there is a line after each in any case
SHOWN_EVERY_S = 0.1


class Progress:
    """Training. Use as a context manager; ``step`` is cheap enough to be called every iteration.

    ``speaks``: of several processes that train together one shows all there is to see.
    """

    def __init__(
        self,
        title: str,
        epochs: int,
        steps: int,
        images_per_step: int = 1,
        speaks: bool = True,
    ) -> None:
        self._title, self._epochs, self._steps = title, epochs, max(1, steps)
        self._images_per_step, self._speaks = images_per_step, speaks
        self._console = Console(file=sys.stderr, quiet=not speaks)
        self._bar: Bar | None = None
        self._shown = self._started = time.monotonic()
        self._before = self._done = self._pending = 0
        self._patience_s = SHOWN_EVERY_S if self._console.is_terminal else STEPS_EVERY_S
        if speaks and self._console.is_terminal:
            self._bar = _bar(self._console, "images", images_per_step)
            self._task = self._bar.add_task(title, total=epochs * steps, figures="", before=0)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def resume(self, epoch: int, step: int) -> None:
        """This many epochs, and steps of the next, were done before."""
        self._before = self._done = epoch * self._steps + step
        if self._bar is not None:
            self._bar.reset(self._task, completed=self._done, before=self._done, figures="")

    def step(self) -> None:
        """One iteration is done."""
        self._pending += 1
        if time.monotonic() - self._shown > self._patience_s:
            self._advance()

    def epoch(self, epoch: int, loss: float, top1: float) -> None:
        """An epoch (counted from 0) is done: the target's training loss and validation accuracy."""
        figures = f"epoch {epoch + 1}/{self._epochs}  loss {loss:.3f}  validation {top1:.1f} %"
        if self._bar is not None:
            self._bar.update(self._task, figures=figures)
            self._advance()
            return
        self._done, self._pending = (epoch + 1) * self._steps, 0
        self._print(figures)

    def warn(self, text: str) -> None:
        """Show a warning above the bar."""
        self._console.print(f"warning: {sentence(text)}", markup=False, highlight=False)

    def _advance(self) -> None:
        self._done += self._pending
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done)
        else:
            self._print(f"step {self._done:,} of {self._epochs * self._steps:,}")
        self._pending, self._shown = 0, time.monotonic()

    def _print(self, figures: str) -> None:
        self._shown = time.monotonic()
        line = f"{self._title}  {figures}"
        if self._done > self._before:  # else resumed at an epoch's end: no speed is known yet
            per_second = (self._done - self._before) / max(self._shown - self._started, 1e-9)
            left = duration((self._epochs * self._steps - self._done) / per_second)
            line += f"  {speed_of(per_second * self._images_per_step, 'images')}  {left} left"
        if self._speaks:
            print(line, file=sys.stderr, flush=True)


class Work:
    """A number of things to do. Use as a context manager.

    Where there is no terminal, a line every ten seconds: what is done sooner says nothing.
    """

    def __init__(self, title: str, total: int, unit: str) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._console = Console(file=sys.stderr)
        self._bar: Bar | None = None
        self._done = self._pending = 0
        self._shown = self._started = time.monotonic()
        if self._console.is_terminal:
            self._bar = _bar(self._console, unit, 1)
            figures = f"of {total:,} {unit}"
            self._task = self._bar.add_task(title, total=total, figures=figures, before=0)

    def __enter__(self) -> Work:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.advance(self._task, self._pending)
            self._bar.stop()

    def done(self, count: int = 1) -> None:
        """So many more are done."""
        self._done += count
        self._pending += count
        now = time.monotonic()
        if now - self._shown < (LINE_EVERY_S if self._bar is None else SHOWN_EVERY_S):
            return
        if self._bar is None:
            print(self._line(now - self._started), file=sys.stderr, flush=True)
        else:
            self._bar.advance(self._task, self._pending)
        self._pending, self._shown = 0, now

    def say(self, line: str) -> None:
        """Print a line; where there is a bar, above it."""
        if self._bar is None:
            print(line, flush=True)
            self._shown = time.monotonic()
        else:
            self._bar.console.print(line, markup=False, highlight=False)

    def _line(self, seconds: float) -> str:
        left = duration(seconds / self._done * (self._total - self._done))
        return (
            f"{self._title}: {self._done:,} of {self._total:,} {self._unit},"
            f" {speed_of(self._done / seconds, self._unit)}, {left} left"
        )


class _Speed(ProgressColumn):
    """Things a second since the start, of which ``per_step`` are done at a time."""

    def __init__(self, unit: str, per_step: int) -> None:
        super().__init__()
        self._unit, self._per_step = unit, per_step

    def render(self, task: Task) -> Text:
        steps = task.completed - task.fields["before"]
        if not steps or not task.elapsed:
            return Text("")
        return Text(speed_of(steps * self._per_step / task.elapsed, self._unit))


def speed_of(per_second: float, unit: str) -> str:
    """``1,234 images/s``, or ``12 stages/min`` where that is easier to think of."""
    if per_second >= 1:
        return f"{per_second:,.0f} {unit}/s"
    return f"{60 * per_second:.1f} {unit}/min"


def duration(seconds: float) -> str:
    """``12 s``, ``34 min`` or ``5.6 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _bar(console: Console, unit: str, per_step: int) -> Bar:
    return Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[figures]}"),
        _Speed(unit, per_step),
        TimeRemainingColumn(),
        console=console,
    )
