"""A network's weights may come from someone else.

Promised: a file is loaded into the network it is of, or refused in one plain sentence; a file that
is refused leaves the network as it was.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from orc_repro.training.networks import load_weights, save_weights
from tests.hostile.contract import TOKENS, attempt, inputs, spoiled

SPOILT_FILES, SPOILT_HEADERS, OTHER_WEIGHTS = 1000, 1000, 300
INPUTS = SPOILT_FILES + SPOILT_HEADERS + OTHER_WEIGHTS


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def read(path: Path) -> bool:
    """Whether the file is loaded; if it is not, the network has not changed."""
    into = network()
    before = {name: tensor.clone() for name, tensor in into.state_dict().items()}
    _, sentence = attempt(lambda: load_weights(into, path), path.parent)
    if sentence:
        assert f"the weights {path} " in sentence
        assert all(torch.equal(before[name], now) for name, now in into.state_dict().items())
    return not sentence


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_weights(network().state_dict(), tmp_path / "a.safetensors")
    return tmp_path / "a.safetensors"


def test_spoilt_weights_are_read_or_refused(path: Path) -> None:
    whole, draw = path.read_bytes(), Random(13)
    assert read(path)
    taken = []
    for _ in range(SPOILT_FILES):
        path.write_bytes(spoiled(whole, draw))
        taken.append(read(path))
    assert any(taken) and not all(taken)  # a flipped bit of a weight is another weight


HEADER_TOKENS = (
    *TOKENS,
    *(b'"F64"', b'"I64"', b'"BOOL"', b'"F8_E4M3"', b'"F8_E8M0"', b'"F4"', b'"F6_E2M3"', b'"C64"'),
    *(b"\x1b[2J", b'"\\u001b[2J\\n"', b"18446744073709551615", b'"__metadata__":{"a":"b"},'),
)


def test_spoilt_headers_of_a_right_length_are_read_or_refused(path: Path) -> None:
    whole, draw = path.read_bytes(), Random(14)
    length = int.from_bytes(whole[:8], "little")
    header, body = whole[8 : 8 + length], whole[8 + length :]
    taken = []
    for _ in range(SPOILT_HEADERS):
        other = spoiled(header, draw, HEADER_TOKENS)
        path.write_bytes(len(other).to_bytes(8, "little") + other + body)
        taken.append(read(path))
    assert not all(taken)


TYPES = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64,
         torch.uint8, torch.float8_e4m3fn)  # fmt: skip


@inputs(OTHER_WEIGHTS)
@given(
    name=st.sampled_from(sorted(network().state_dict())) | st.text(max_size=5),
    shape=st.lists(st.integers(0, 3), max_size=3),
    dtype=st.sampled_from((torch.float32, *TYPES)),
    drop=st.booleans(),
)
def test_weights_of_another_network_are_refused(
    name: str, shape: list[int], dtype: torch.dtype, drop: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    path = tmp_path_factory.getbasetemp() / "weights" / "a.safetensors"
    weights: dict[str, Tensor] = dict(network().state_dict())
    former = weights.pop(name, None)
    other = torch.zeros(shape, dtype=dtype)
    if not drop:
        weights[name] = other
    save_weights(weights, path)
    same = former is not None and (former.shape, former.dtype) == (other.shape, other.dtype)
    assert read(path) == (former is None if drop else same)


@pytest.mark.parametrize("dtype", TYPES)
def test_no_weight_is_converted_in_silence(dtype: torch.dtype, path: Path) -> None:
    weights = network().state_dict()
    save_weights(weights | {"0.weight": weights["0.weight"].to(dtype)}, path)
    assert not read(path)


@pytest.mark.parametrize("shape", [[2**63], [2**32, 2**32], [-1], [10**30], [2, 3, 0]])
def test_no_claimed_size_is_believed(shape: list[int], path: Path) -> None:
    about = {"0.weight": {"dtype": "F32", "shape": shape, "data_offsets": [0, 24]}}
    header = json.dumps(about).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(24))
    assert not read(path)


def test_what_is_no_file_is_refused(path: Path) -> None:
    (path.parent / "folder").mkdir()
    os.mkfifo(path.parent / "pipe")
    for target in ("folder", "pipe", "/dev/zero", "nowhere"):
        path.unlink()
        path.symlink_to(target)
        assert not read(path)
