"""Commands called in this process, in a project made for a test."""

from __future__ import annotations

import signal
import sys

import pytest

from orc_repro.cli import main
from orc_repro.interruption import Interruption
from orc_repro.stages import run as run_module


def orc_repro(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """A command's exit code and all it prints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["orc-repro", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    return int(ended.value.code or 0), shown.out + shown.err


def stop_early(capsys: pytest.CaptureFixture[str], cell: str, steps: int = 5) -> str:
    """Train until a stop is requested after so many steps; what was said last."""

    class Early(Interruption):
        looks = 0

        @property
        def requested(self) -> signal.Signals | None:
            self.looks += 1
            if self.looks >= steps:
                self._signal = signal.SIGTERM
            return self._signal

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "Interruption", Early)
        patch.setattr("orc_repro.training.checkpoints.Checkpoints.due", property(lambda _: False))
        code, said = orc_repro(capsys, "train", cell)
    assert code == 143
    return said.strip().splitlines()[-1]
