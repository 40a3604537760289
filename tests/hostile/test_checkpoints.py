"""A checkpoint may come from someone else, with a hash that is right.

Promised: it is a whole state, or refused in one plain sentence; and no code in it is run.
"""

from __future__ import annotations

import builtins
import hashlib
import io
import os
import pickle
import subprocess
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orc_repro.errors import UserError
from orc_repro.tracking.runlog import Mark
from orc_repro.training.checkpoints import MAGIC, Damaged, read_state
from orc_repro.training.state import Best, Own, Progressed, State
from tests.hostile.contract import KEYS, VALUES, attempt, inputs, places, spoiled, trees_near

SPOILT_FILES, SPOILT_BODIES, SPOILT_PICKLES, OTHER_STRUCTURES = 800, 1500, 1000, 500
INPUTS = SPOILT_FILES + SPOILT_BODIES + SPOILT_PICKLES + OTHER_STRUCTURES

TOKENS = (
    *(b"cos\nmkdir\n(S'owned'\ntR", b"cbuiltins\neval\n", b"ctorch\nload\n", b"\x80\x02", b"."),
    *(
        b"cnumpy\nndarray\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"Q",
        b"\x8a\xff" + b"\xff" * 255,
    ),
    *(b"PK\x05\x06", b"PK\x03\x04", b"\xff" * 8, b"\x00" * 8, b"\x7f\xff\xff\xff\xff\xff\xff\xff"),
    *(b"ctorch\nFloatStorage\n", b"I-1\n", b"I9999999999999\n", b"h\xff", b"}", b"]", b")", b"u"),
)


def state() -> State:
    """A small state with something in every part."""
    weights = torch.arange(6.0).reshape(2, 3)
    return State(
        fingerprint="f",
        made_from={"recipe.epochs": "4"},
        made_with={"torch": "2.13"},
        progressed=Progressed(
            epoch=1,
            history=[{"val/top1": 0.5}],
            best={"a": Best(epoch=0, top1=1.5, weights={"w": weights})},
            elected={"a": 2},
        ),
        method={"optimizers": {"a": {"state": {0: {"momentum_buffer": weights}}}}},
        own=[
            Own(
                meter={"sums": {"a/loss": torch.tensor(0.5)}},
                statistics={"a": {"bn.running_mean": torch.zeros(2)}},
                generators={"cpu": torch.get_rng_state()[:16]},
            )
        ],
        marks={"roles.jsonl": Mark(length=3, sha256="a" * 64)},
    )


def saved(content: Any) -> bytes:
    body = io.BytesIO()
    torch.save(content, body)
    return body.getvalue()


def sealed(body: bytes) -> bytes:
    """A file whose hash is right, whatever is in it."""
    return MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def read(path: Path, content: bytes) -> tuple[State | None, str]:
    path.write_bytes(content)
    return attempt(lambda: read_state(path), path.parent, (UserError, Damaged))


pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # where code would leave its folder
    return tmp_path / "checkpoint.pt"


def test_a_spoilt_file_is_found(path: Path) -> None:
    whole, draw = sealed(saved(state().model_dump())), Random(7)
    assert read(path, whole)[0] is not None
    for _ in range(SPOILT_FILES):
        content = spoiled(whole, draw, TOKENS)
        found, _ = read(path, content)
        assert (found is None) == (content != whole)


def test_a_spoilt_body_with_a_right_hash_is_read_or_refused(path: Path) -> None:
    body, draw = saved(state().model_dump()), Random(8)
    refused = [
        read(path, sealed(spoiled(body, draw, TOKENS)))[0] is None for _ in range(SPOILT_BODIES)
    ]
    assert any(refused)


def repacked(body: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """An archive that is whole, with another pickle in it."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(body)) as old, zipfile.ZipFile(result, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content) if name.endswith("/data.pkl") else content)
    return result.getvalue()


def test_a_spoilt_pickle_in_a_whole_archive_is_read_or_refused(path: Path) -> None:
    body, draw = saved(state().model_dump()), Random(9)
    assert read(path, sealed(repacked(body, bytes)))[0] is not None
    for _ in range(SPOILT_PICKLES):
        read(path, sealed(repacked(body, lambda pickled: spoiled(pickled, draw, TOKENS))))


TENSORS = st.sampled_from(
    (
        torch.zeros(3),
        torch.zeros(0),
        torch.tensor(float("nan")),
        torch.zeros((), dtype=torch.complex64),
        torch.zeros(1).expand(10**12),
        torch.eye(3).to_sparse(),
        torch.zeros(2, device="meta"),
        torch.zeros(2, dtype=torch.bfloat16, requires_grad=True),
        torch.nn.Parameter(torch.ones(2)),
    )
)
OTHERS = (
    TENSORS
    | VALUES
    | st.binary(max_size=8)
    | st.sampled_from((1j, OrderedDict(a=1), {1, 2}, (1, (2,)), torch.float32, torch.Size([1])))
    | st.dictionaries(st.integers() | st.floats() | st.tuples(KEYS) | KEYS, TENSORS, max_size=3)
)
PLAIN = state().model_dump()


@inputs(OTHER_STRUCTURES)
@given(
    near=trees_near(PLAIN),
    place=st.sampled_from(places(PLAIN)[1:]),
    value=OTHERS,
    which=st.sampled_from(("near", "far", "none")),
)
def test_another_structure_is_read_or_refused(
    near: Any, place: tuple[Any, ...], value: Any, which: str, tmp_path_factory: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "structures" / "checkpoint.pt"
    path.parent.mkdir(exist_ok=True)
    content: Any = {"near": near, "far": replaced(PLAIN, place, value), "none": value}[which]
    found, sentence = read(path, sealed(saved(content)))
    assert (found is None) == bool(sentence)
    if found is not None:
        assert found.model_dump().keys() == PLAIN.keys()


def replaced(tree: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value there."""
    if not place:
        return value
    if isinstance(tree, list):
        return [replaced(part, place[1:], value) for part in tree]
    return tree | {place[0]: replaced(tree[place[0]], place[1:], value)}


def test_what_contains_itself_is_refused(path: Path) -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless
    for content in (endless, PLAIN | {"progressed": endless}, PLAIN | {"made_from": endless}):
        assert read(path, sealed(saved(content)))[0] is None


class Call:
    """Unpickling one calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.called = function, arguments

    def __reduce__(self) -> Any:
        return self.called


CALLS = {
    "a folder": Call(os.mkdir, "owned"),
    "a shell": Call(os.system, "mkdir owned"),
    "a process": Call(subprocess.Popen, ["mkdir", "owned"]),
    "an expression": Call(builtins.eval, "__import__('os').mkdir('owned')"),
    "a program": Call(builtins.exec, "import os; os.mkdir('owned')"),
    "an import": Call(builtins.__import__, "antigravity"),
    "an attribute": Call(getattr, Path("."), "touch"),
    "a file": Call(builtins.open, "owned", "w"),
    "another pickle": Call(pickle.loads, pickle.dumps(Call(os.mkdir, "owned"))),
    "another file of torch": Call(torch.load, "checkpoint.pt"),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("case", CALLS)
def test_no_code_is_run(case: str, legacy: bool, path: Path) -> None:
    for content in (CALLS[case], PLAIN | {"meter": {"a": CALLS[case]}}):
        body = io.BytesIO()
        torch.save(content, body, _use_new_zipfile_serialization=not legacy)
        for sealed_body in (body.getvalue(), pickle.dumps(content)):
            found, sentence = read(path, sealed(sealed_body))
            assert found is None and sentence.startswith("torch cannot read it: ")


@pytest.mark.parametrize("target", ["/dev/zero", "pipe", "folder", "nowhere"])
def test_what_is_no_file_is_refused(target: str, path: Path) -> None:
    os.mkfifo("pipe")
    os.mkdir("folder")
    path.symlink_to(target)
    _, sentence = attempt(lambda: read_state(path), path.parent)
    assert f"the checkpoint {path} cannot be read: " in sentence
