"""What is made of measurements, by hand; and that a measurement comes about."""

from __future__ import annotations

import math

import pytest
import torch

from orc_repro.errors import UserError
from orc_repro.rehearsal import noise_images
from orc_repro.scaling import measuring
from orc_repro.scaling.arithmetic import ring_s
from orc_repro.scaling.assumptions import assumed, devices_of
from orc_repro.scaling.measuring import (
    LARGE_BYTES,
    loader_per_core,
    measure_network,
    network_from,
    rates_of,
)


def test_a_networks_constants_give_back_what_was_measured() -> None:
    network = network_from(tiny_s=0.002, large_s=0.052, way="by hand")
    assert network.bytes_per_s == pytest.approx(LARGE_BYTES / 0.05)
    assert network.latency_s == 0.001
    told = ring_s(LARGE_BYTES, 2, network.bytes_per_s, network.latency_s)
    assert told == pytest.approx(0.052)


def test_two_processes_of_this_machine_reach_each_other() -> None:
    network = measure_network()
    backend = "nccl" if torch.cuda.device_count() > 1 else "gloo"
    assert network.way == f"{backend} between two processes of this machine"
    assert 0 < network.bytes_per_s < math.inf and 0 < network.latency_s < 60


def test_the_first_half_of_the_batches_is_not_counted() -> None:
    # Five batches of 10; the last two took 4 seconds, and 8 seconds of processors.
    marks = [(0.0, 0.0), (0.1, 9.0), (1.0, 10.0), (3.0, 13.0), (5.0, 18.0)]
    assert rates_of(marks, 10) == (20 / 4, 20 / 8)


def test_too_few_batches_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    images = noise_images(8, (3, 8, 8), 2, torch.device("cpu"))
    monkeypatch.setattr(measuring, "LOADER_SECONDS", 0.0)
    with pytest.raises(UserError, match=r"needs 4 batches of 4; .*loader_images_per_core=N"):
        loader_per_core(images, 4)
    whole, core = loader_per_core(images, 2)
    assert 0 < whole < math.inf and 0 < core < math.inf


def test_what_is_assumed_is_checked() -> None:
    said = assumed(["tflops=100", "cores=16"])
    assert (said.tflops, said.cores, said.jitter) == (100.0, 16.0, None)
    for words, named in (
        (["tflops"], "'tflops' is not NAME=NUMBER"),
        (["tflops=fast"], "'tflops=fast' is not NAME=NUMBER"),
        (["flops=1"], "--assume: unknown key flops"),
        (["cores=0"], "--assume: cores is 0.0; it must be at least 1e-06 and at most"),
        (["jitter=nan"], "--assume: jitter is nan"),
    ):
        with pytest.raises(UserError) as refused:
            assumed(words)
        assert named in str(refused.value)


def test_numbers_of_devices() -> None:
    assert devices_of("64,1,8,8") == (1, 8, 64)
    for text in ("", "1,,8", "0", "-1", "two", "1.5", "9" * 30, "٣"):
        with pytest.raises(UserError, match="it must be numbers"):
            devices_of(text)
