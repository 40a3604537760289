"""What a launcher leaves in the environment is read as numbers, or told of in a sentence."""

from __future__ import annotations

import pytest
import torch

from orc_repro.errors import UserError
from orc_repro.processes.joining import join, local_rank, started_by_torchrun

SOUND = {
    "WORLD_SIZE": "2",
    "RANK": "0",
    "LOCAL_RANK": "0",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORLD_SIZE", "many"),
        ("WORLD_SIZE", "0"),
        ("WORLD_SIZE", "-2"),
        ("WORLD_SIZE", "1e9"),
        ("WORLD_SIZE", ""),
        ("RANK", "first"),
        ("RANK", "2"),
        ("RANK", "-1"),
        ("RANK", None),
        ("LOCAL_RANK", "x\ny"),
        ("MASTER_PORT", "http"),
        ("MASTER_PORT", "70000"),
        ("MASTER_PORT", None),
    ],
)
def test_a_damaged_variable_is_named(
    name: str, value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, sound in SOUND.items():
        monkeypatch.setenv(variable, sound)
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=name) as told, join(torch.device("cpu")):
        pass
    assert "\n" not in str(told.value)


def test_without_a_launcher_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SOUND:
        monkeypatch.delenv(name, raising=False)
    assert not started_by_torchrun() and local_rank() == 0
    with join(torch.device("cpu")) as processes:
        assert processes.count == 1
