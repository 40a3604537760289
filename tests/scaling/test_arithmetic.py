"""The formulas against numbers worked by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from orc_repro.cost import StepCost
from orc_repro.scaling.arithmetic import (
    Constants,
    Workload,
    all_reduce_s,
    line_through,
    loader_rate,
    predict,
    problem_of,
    ring_s,
    sent_bytes,
    tree_s,
)

CONSTANTS = Constants(
    fixed_s=0.1,
    image_s=0.01,
    validation_image_s=0.002,
    loader_per_core=50.0,
    cores=4,
    disk=math.inf,
    network=1000.0,
    latency_s=0.001,
)
WORK = Workload(
    batch_size=40,
    train_images=409,
    validation_images=100,
    epochs=3,
    collectives=(8, 400),
    cost=StepCost(flop_per_image=1.0, fixed_bytes=100, step_fixed_bytes=10.0, bytes_per_image=2.0),
    data_bytes=7,
)


def test_a_ring_has_two_rounds_for_every_device_but_one() -> None:
    # 6 rounds of 200 bytes at 100 bytes a second and half a second of latency.
    assert ring_s(800, 4, 100.0, 0.5) == 6 * (2.0 + 0.5)
    assert ring_s(800, 4, 100.0, 0.0) == pytest.approx(2 * 3 / 4 * 800 / 100)
    assert sent_bytes(800, 4) == 1200.0


def test_a_tree_is_climbed_up_and_down() -> None:
    assert tree_s(800, 4, 100.0, 0.5) == 4 * (8.0 + 0.5)
    assert tree_s(800, 5, 100.0, 0.5) == 6 * (8.0 + 0.5)  # a third level for the fifth


def test_large_words_go_round_and_small_ones_up_the_tree() -> None:
    assert all_reduce_s(800, 4, 100.0, 0.5) == ring_s(800, 4, 100.0, 0.5) == 15.0
    assert all_reduce_s(16, 512, 1e9, 1e-5) == tree_s(16, 512, 1e9, 1e-5)
    assert all_reduce_s(16, 512, 1e9, 1e-5) == pytest.approx(18 * 1e-5, rel=0.01)


def test_one_device_says_nothing() -> None:
    assert all_reduce_s(10**9, 1, 1.0, 1.0) == 0.0 and sent_bytes(10**9, 1) == 0.0


@pytest.mark.parametrize(
    ("small", "large", "line"),
    [
        ((2, 1.2), (10, 2.0), (1.0, 0.1)),
        ((2, 3.0), (10, 2.0), (0.0, 0.2)),  # the small one was disturbed
        ((2, 0.1), (10, 2.0), (0.0, 0.2)),  # the large one was: no step begins before it begins
        ((8, 2.0), (8, 2.0), (0.0, 0.25)),
    ],
)
def test_a_line_through_two_batches(
    small: tuple[int, float], large: tuple[int, float], line: tuple[float, float]
) -> None:
    assert line_through(small, large) == pytest.approx(line)
    fixed, image = line_through(small, large)
    assert fixed + image * large[0] == pytest.approx(large[1])


def test_four_devices_by_hand() -> None:
    made = predict(WORK, CONSTANTS, 4, waiting=1.5)
    computing = 0.1 + 0.01 * 10
    talking = 6 * (2 / 1000 + 0.001) + 6 * (100 / 1000 + 0.001)
    assert made.arithmetic == pytest.approx(40 / computing)
    assert made.loader == 4 * 4 * 50
    assert made.network == pytest.approx(40 / talking)
    iteration = 1.5 * computing + talking
    assert made.rate == pytest.approx(40 / iteration) and made.bound == "network"
    validation = 100 * max(0.002 / 4, 1 / 800)
    assert made.hours == pytest.approx(3 * (10 * iteration + validation) / 3600)
    assert made.memory_bytes == 100 + 10 + 2 * 10 + 7 + 400


def test_one_device_by_hand() -> None:
    made = predict(WORK, CONSTANTS, 1, waiting=1.0)
    assert made.rate == pytest.approx(40 / 0.5) and made.bound == "arithmetic"
    assert math.isinf(made.network) and made.memory_bytes == 100 + 10 + 2 * 40 + 7


def test_loading_goes_on_while_devices_compute_and_binds_only_if_it_is_slower() -> None:
    slow = predict(WORK, replace(CONSTANTS, loader_per_core=1.0), 4, waiting=1.0)
    assert (slow.rate, slow.bound) == (16.0, "loader")
    none = predict(WORK, replace(CONSTANTS, loader_per_core=None), 4, waiting=1.0)
    assert math.isinf(none.loader) and none.bound == "network"


def test_storage_is_shared_and_cores_are_not() -> None:
    assert loader_rate(replace(CONSTANTS, disk=500.0), 1) == 200.0
    assert loader_rate(replace(CONSTANTS, disk=500.0), 4) == 500.0


def test_a_batch_that_cannot_be_divided_is_named() -> None:
    assert problem_of(256, 64, 10**6) == ""
    assert "256 is less than one image for each of 512 devices" in problem_of(256, 512, 10**6)
    assert "256 is not divisible by 3 devices" in problem_of(256, 3, 10**6)
    assert "16,384 for 512 devices is more than all images" in problem_of(16384, 512, 10**4)
