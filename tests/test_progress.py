"""What is printed where there is no terminal."""

from __future__ import annotations

import pytest

from orc_repro.progress import Progress, Work, duration, speed_of


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("orc_repro.progress.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_line_an_epoch_with_loss_accuracy_images_a_second_and_time_left(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with Progress("digits-orc-s0", epochs=3, steps=2, images_per_step=32) as progress:
        progress.resume(0, 1)
        clock.now += 6
        progress.step()
        progress.epoch(0, loss=0.12345, top1=98.76)
    # One step of 32 images in six seconds; four steps are left.
    assert capsys.readouterr().err == (
        "digits-orc-s0  epoch 1/3  loss 0.123  validation 98.8 %  5 images/s  24 s left\n"
    )


def test_resumed_after_the_last_step_of_an_epoch_no_speed_is_made_up(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Progress("digits-orc-s0", epochs=3, steps=2) as progress:
        progress.resume(0, 2)
        progress.epoch(0, loss=0.5, top1=98.76)
    assert capsys.readouterr().err == "digits-orc-s0  epoch 1/3  loss 0.500  validation 98.8 %\n"


def test_a_long_epoch_says_every_minute_how_far_it_is(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with Progress("long", epochs=2, steps=1000, images_per_step=256) as progress:
        for _ in range(250):
            clock.now += 0.5
            progress.step()
    assert capsys.readouterr().err == (
        "long  step 121 of 2,000  512 images/s  16 min left\n"
        "long  step 242 of 2,000  512 images/s  15 min left\n"
    )


def test_work_says_every_ten_seconds_how_much_is_done_and_short_work_nothing(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with Work("read", total=100, unit="images") as work:
        for _ in range(4):
            clock.now += 5
            work.done(10)
    with Work("short", total=2, unit="runs") as work:
        work.done()
        work.say("one")
    said = capsys.readouterr()
    assert said.err == (
        "read: 20 of 100 images, 2 images/s, 40 s left\n"
        "read: 40 of 100 images, 2 images/s, 30 s left\n"
    )
    assert said.out == "one\n"


def test_on_a_terminal_there_are_bars(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with Progress("cell [a]", epochs=2, steps=4, images_per_step=32) as progress:
        progress.resume(0, 2)
        for _ in range(2):
            progress.step()
        progress.epoch(0, loss=0.5, top1=50.0)
    with Work("read", total=4, unit="images") as work:
        work.done(3)
        work.say("a line above")
    shown = capsys.readouterr().err
    assert "cell [a]" in shown and " 50 %" in shown and "epoch 1/2  loss 0.500" in shown
    assert "a line above" in shown and " 75 %" in shown and "of 4 images" in shown
    assert "/s" in shown


@pytest.mark.parametrize(
    ("seconds", "said"), [(12, "12 s"), (89, "89 s"), (180, "3 min"), (9000, "2.5 h")]
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_what_is_slow_is_counted_by_the_minute() -> None:
    assert speed_of(1234.4, "images") == "1,234 images/s"
    assert speed_of(0.05, "stages") == "3.0 stages/min"


def test_a_warning_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("x", epochs=1, steps=1) as progress:
        progress.warn("the loss of a is not finite since epoch 0, step 3")
    assert "the loss of a is not finite" in capsys.readouterr().err
