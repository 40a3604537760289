"""What is printed where there is no terminal."""

from __future__ import annotations

import pytest

from orc_repro.progress import Progress


def test_a_line_an_epoch_with_loss_accuracy_and_time_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Progress("digits-orc-s0", epochs=3, steps=2) as progress:
        progress.resume(1, 1)
        progress.step()
        progress.epoch(1, loss=0.12345, top1=98.76)
    line = capsys.readouterr().err
    assert line.startswith("digits-orc-s0  epoch 2/3  loss 0.123  validation 98.8 %  ")
    assert line.endswith(" s left\n")


def test_a_warning_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("x", epochs=1, steps=1) as progress:
        progress.warn("the loss of a is not finite since epoch 0, step 3")
    assert "the loss of a is not finite" in capsys.readouterr().err
