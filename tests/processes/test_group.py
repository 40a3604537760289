"""What processes tell each other: three of them, by numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from orc_repro.errors import UserError
from orc_repro.processes.group import ALONE, Processes
from tests.processes.together import expect, together


def talk(processes: Processes) -> dict[str, Any]:
    rank = processes.rank
    first = torch.full((2, 3), float(rank)).to(memory_format=torch.contiguous_format)
    second = torch.tensor([3.0 * rank, -1.0])
    image = torch.arange(24.0).reshape(1, 2, 3, 4).contiguous(memory_format=torch.channels_last)
    turned = image * (rank + 1)
    processes.average([first, second, turned])
    summed, least = torch.tensor([rank + 1.0]), torch.tensor([5 - rank, rank])
    processes.add_up(summed)
    processes.least(least)
    own = torch.tensor([float(rank)])
    return {
        "average": [first, second],
        "channels last": torch.equal(turned, image * 2),
        "kept": turned.is_contiguous(memory_format=torch.channels_last),
        "mean": processes.mean_of(own),
        "own": own,
        "sum": summed,
        "least": least,
        "joined": processes.joined(torch.tensor([[rank, rank]])),
        "highest": processes.highest([rank, -rank]),
        "from leader": processes.from_leader(f"said by {rank}"),
        "gathered": processes.gathered(10 * rank),
        "same": processes.differing("x"),
        "other": processes.differing("x" if rank < 2 else "y"),
        "part": processes.part_of(12),
        "rows": processes.rows_of(10),
    }


def test_every_kind_of_talk_between_three() -> None:
    found = expect(together(3, talk))
    for rank, heard in enumerate(found):
        assert torch.equal(heard["average"][0], torch.full((2, 3), 1.0))
        assert torch.equal(heard["average"][1], torch.tensor([3.0, -1.0]))
        assert heard["channels last"] and heard["kept"]
        assert heard["mean"].tolist() == [1.0] and heard["own"].tolist() == [rank]
        assert heard["sum"].tolist() == [6.0]
        assert heard["least"].tolist() == [3, 0]
        assert heard["joined"].tolist() == [[0, 0], [1, 1], [2, 2]]
        assert heard["highest"] == [2, 0]
        assert heard["from leader"] == "said by 0"
        assert heard["gathered"] == ([0, 10, 20] if rank == 0 else [])
        assert heard["same"] is None and heard["other"] == 2
        assert heard["part"] == slice(4 * rank, 4 * rank + 4)
    # 10 images: each is in exactly one part.
    assert [heard["rows"] for heard in found] == [(0, 3), (3, 6), (6, 10)]


def differ(processes: Processes) -> str:
    processes.must_agree("the election", ("resnet8",) if processes.rank else ("resnet14",))
    return "went on"


def test_a_difference_is_looked_for_in_debug_mode() -> None:
    said = "Disagreement: the election of process 1 is not that of process 0"
    assert together(2, differ, debug=True) == [said, said]
    assert together(2, differ) == ["went on", "went on"]


def leave(processes: Processes) -> str:
    if processes.rank == 0:
        raise ValueError("had enough")
    processes.average([torch.zeros(3)])
    return "went on"


def test_one_that_is_gone_is_one_sentence_for_the_others() -> None:
    first, second = together(2, leave)
    assert first == "ValueError: had enough"
    assert second.startswith("UserError: another process of this run is gone")


def test_alone_nothing_changes() -> None:
    values = torch.tensor([1.0, 2.0])
    ALONE.average([values])
    ALONE.add_up(values)
    ALONE.least(values)
    assert values.tolist() == [1.0, 2.0]
    assert ALONE.mean_of(values) is values and ALONE.joined(values) is values
    assert ALONE.highest([1, 0]) == [1, 0]
    assert ALONE.from_leader("x") == "x" and ALONE.gathered("x") == ["x"]
    assert ALONE.differing("x") is None
    assert ALONE.part_of(7) == slice(0, 7) and ALONE.rows_of(7) == (0, 7)


def test_a_batch_that_cannot_be_divided_is_refused() -> None:
    with pytest.raises(UserError, match="64 images cannot be divided among 3 processes"):
        Processes(0, 3).part_of(64)
