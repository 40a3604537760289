"""A run folder and a result may come from someone else, or from a disk that was full.

Promised: its logs, its small JSON files and the results are read or refused in one plain sentence.
A damaged ``delivered.json`` counts as nothing, as sending twice is harmless.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orc_repro.errors import UserError
from orc_repro.report.results import BestEpoch, History, NetworkResult, Result, Score, read_result
from orc_repro.tracking.delivery import Delivered, read_delivered
from orc_repro.tracking.description import REQUIRED_TAGS, Description
from orc_repro.tracking.outcome import SECONDS, Outcome, read_outcome
from orc_repro.tracking.records import (
    LONGEST_LINE,
    LogReader,
    committed,
    metrics_log,
    role_table,
    roles_log,
)
from orc_repro.validation import Strict, read_json
from tests.hostile.contract import attempt, inputs, spoiled, trees_near

SPOILT_LOGS, SPOILT_COMMITS, SPOILT_FILES, CHANGED_FILES = 1200, 500, 1500, 600
INPUTS = SPOILT_LOGS + SPOILT_COMMITS + SPOILT_FILES + CHANGED_FILES

EPOCHS = [{"time_ms": 10**12 + i, "epoch": i, "values": {"val/top1": i / 2}} for i in range(3)]
CHANGES = [
    {"time_ms": 10**12, "epoch": i, "step": 9 * i, "left": [], "came": ["a"], "teachers": ["a"],
     "scores": {"a": 0.5, "b": 1e-300}}
    for i in range(3)
]  # fmt: skip
_SCORE = Score(epoch=1, top1=50.0, top5=None, loss=None, class_top1=(50.0, 50.0))
_FILES: dict[str, Strict] = {
    "outcome": Outcome(
        status="FINISHED", reason="", ended_ms=1, figures={SECONDS: 0.5}, weights_digest="",
        outputs={},
    ),
    "run": Description(
        study="s", experiment="e", fingerprint="f", attempt="a", cell="c", row="r", row_name="r",
        run_name="n", epochs=3, students=("a", "b"), params={"seed": "0"},
        tags=dict.fromkeys(REQUIRED_TAGS, "x"),
    ),
    "history": History(
        cell="c", row="r", fingerprint="f", epochs=({"val/top1": None},), elected={"a": 1},
        training_images=8,
        best={"a": BestEpoch(epoch=0, validation_top1=1.0)}, role_changes=1, not_finite=(),
    ),
    "result": Result(
        cell="c", row="r", fingerprint="f", weights_digest="w", dataset="d", group="g", method="m",
        recipe="r", seed=0, epochs=1, target_name="a", pivot_before=None, elected={}, not_finite=(),
        training_images=8,
        networks={"a": NetworkResult(role="target", parameters=1, last=_SCORE, best=_SCORE)},
        role_changes=0,
    ),
}  # fmt: skip
CONTENTS = {name: model.model_dump(mode="json") for name, model in _FILES.items()} | {
    "delivered": {"store": Delivered(attempt="a", metrics=4).model_dump()}
}
READERS: dict[str, Callable[[Path], object]] = {
    "outcome": read_outcome,
    "run": lambda folder: read_json(Description, folder / "run.json"),
    "history": lambda folder: read_json(History, folder / "history.json"),
    "result": lambda folder: read_result("result", folder),
    "delivered": read_delivered,
}


def lines(records: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def write_run(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    logs = {"metrics.jsonl": lines(EPOCHS), "roles.jsonl": lines(CHANGES)}
    for name, content in logs.items():
        (folder / name).write_bytes(content)
    lengths = {name: len(content) for name, content in logs.items()}
    (folder / "committed.json").write_text(json.dumps(lengths))
    for name, tree in CONTENTS.items():
        (folder / f"{name}.json").write_text(json.dumps(tree))
    return folder


def _committed(log: LogReader[Any], start: int) -> list[tuple[int, Any]]:
    return list(log.committed(start))


def read_logs(folder: Path, start: int = 0) -> bool:
    """Both logs, as the report, the delivery and the table of role changes read them; whether
    there is such a table.
    """
    logs: tuple[LogReader[Any], ...] = (metrics_log(folder), roles_log(folder))
    for log in logs:
        attempt(log.all, folder)
        found, _ = attempt(partial(_committed, log, start), folder)
        ends = [end for end, _ in found or ()]
        assert ends == sorted(set(ends))  # or a delivery would go round in circles
    attempt(partial(committed, folder), folder)
    table, _ = attempt(partial(role_table, folder, ("a", "b")), folder)
    assert table is None or list(table.columns)[-2:] == ["score/a", "score/b"]
    return table is not None


def test_the_run_is_read_before_it_is_spoilt(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    assert len(metrics_log(folder).all()) == len(list(roles_log(folder).committed())) == 3
    assert len(role_table(folder, ("a", "b"))) == 3
    for name, read in READERS.items():
        assert read(folder), name


def test_spoilt_logs_are_read_or_refused(tmp_path: Path) -> None:
    folder, draw = write_run(tmp_path / "run"), Random(10)
    taken = []
    for i in range(SPOILT_LOGS):
        name, records = (("metrics.jsonl", EPOCHS), ("roles.jsonl", CHANGES))[i % 2]
        (folder / name).write_bytes(spoiled(lines(records), draw))
        taken.append(read_logs(folder, start=draw.choice((0, 0, 5, len(lines(records[:1]))))))
    assert any(taken) and not all(taken)


COMMITS = (
    *("{}", "[]", "null", "", "{", '{"metrics.jsonl": -1}', '{"metrics.jsonl": 1e3}'),
    *('{"metrics.jsonl": "9"}', '{"metrics.jsonl": {"a": 1}}', '{"metrics.jsonl": true}'),
    *(f'{{"metrics.jsonl": {10**n}, "roles.jsonl": {10**n}}}' for n in (3, 9, 18, 19, 40, 4000)),
    *("[" * 100_000, '{"a":' * 100_000, '{"\\ud800": 1}', '{"metrics.jsonl": NaN}'),
    *(f'{{"roles.jsonl": {2**63 - 1}}}', f'{{"metrics.jsonl": {2**63}}}'),
)


@pytest.mark.parametrize("content", COMMITS, ids=range(len(COMMITS)))
@pytest.mark.parametrize("start", [0, 1, 2**62, 10**30])
def test_no_length_is_believed(content: str, start: int, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "committed.json").write_text(content)
    read_logs(folder, start)
    assert (folder / "metrics.jsonl").read_bytes() == lines(EPOCHS)  # nothing is cut or filled
    assert (folder / "roles.jsonl").read_bytes() == lines(CHANGES)


def test_spoilt_lengths_are_read_or_refused(tmp_path: Path) -> None:
    folder, draw = write_run(tmp_path / "run"), Random(11)
    whole = (folder / "committed.json").read_bytes()
    for _ in range(SPOILT_COMMITS):
        (folder / "committed.json").write_bytes(spoiled(whole, draw))
        read_logs(folder)
    assert (folder / "metrics.jsonl").read_bytes() == lines(EPOCHS)


BAD_LINES = {
    "a line without end": b'{"time_ms": ' + b" " * (LONGEST_LINE + 9) + b"0}",
    "lists in lists": b"[" * 100_000,
    "a key without end": b'{"' + b"k" * 100_000 + b'": 1}\n',
    "an unknown key": b'{"time_ms": 1, "epoch": 1, "values": {}, "host": "here"}\n',
    "a time before 1970": b'{"time_ms": -1, "epoch": 1, "values": {}}\n',
    "an epoch of 32 bits": b'{"time_ms": 1, "epoch": 2147483648, "values": {}}\n',
    "a number as text": b'{"time_ms": 1, "epoch": "1", "values": {}}\n',
    "no UTF-8": b'{"time_ms": 1, "epoch": 1, "values": {"\xff": 1}}\n',
    "half a character": b'{"time_ms": 1, "epoch": 1, "values": {"\\ud800": 1}}\n',
    "an empty line": b"\n",
    "NUL": b"\0" * 4096,
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_line_that_is_no_record_is_named_by_its_place(case: str, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    whole = lines(EPOCHS)
    (folder / "metrics.jsonl").write_bytes(whole + BAD_LINES[case])
    _, sentence = attempt(metrics_log(folder).all, folder)
    damaged = f"{folder / 'metrics.jsonl'} is damaged: no record begins at byte {len(whole)}"
    assert sentence == damaged


def test_spoilt_files_of_a_run_are_read_or_refused(tmp_path: Path) -> None:
    folder, draw = write_run(tmp_path / "run"), Random(12)
    for i in range(SPOILT_FILES):
        name = list(READERS)[i % len(READERS)]
        whole = json.dumps(CONTENTS[name]).encode()
        check_file(folder, name, spoiled(whole, draw))


def check_file(folder: Path, name: str, content: bytes) -> None:
    path = folder / f"{name}.json"
    path.write_bytes(content)
    found, sentence = attempt(partial(READERS[name], folder), folder)
    if name == "delivered":
        assert isinstance(found, dict) and not sentence
    else:
        assert found is not None or sentence.startswith(str(path))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose files are replaced for each input."""
    return write_run(tmp_path_factory.mktemp("shared") / "run")


@inputs(CHANGED_FILES)
@given(
    name_and_tree=st.sampled_from(sorted(READERS)).flatmap(
        lambda name: st.tuples(st.just(name), trees_near(CONTENTS[name]))
    )
)
def test_files_of_another_form_are_read_or_refused(
    name_and_tree: tuple[str, Any], shared: Path
) -> None:
    name, tree = name_and_tree
    check_file(shared, name, json.dumps(tree).encode())


def test_a_wrong_value_is_named_with_its_place(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    best = CONTENTS["history"]["best"] | {"a": {"epoch": "x\x1b", "validation_top1": 1.0}}
    path = folder / "history.json"
    path.write_text(json.dumps(CONTENTS["history"] | {"best": best}))
    _, sentence = attempt(partial(READERS["history"], folder), folder)
    assert sentence == f"{path}: best.a.epoch is 'x\\x1b'; it must be a valid integer"


@pytest.mark.parametrize("name", ["committed", "outcome", "run", "result", "metrics", "delivered"])
def test_a_pipe_is_no_file_of_a_run(name: str, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    path = folder / ("metrics.jsonl" if name == "metrics" else f"{name}.json")
    path.unlink()
    os.mkfifo(path)
    read: dict[str, Callable[[Path], object]] = {
        **READERS,
        "metrics": lambda folder: metrics_log(folder).all(),
        "committed": committed,
    }
    found, sentence = attempt(partial(read[name], folder), folder)
    assert found == {} if name == "delivered" else sentence.startswith(str(path))


def test_a_name_that_would_lead_out_is_no_cell(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    for key in ("study", "cell"):
        (folder / "run.json").write_text(json.dumps(CONTENTS["run"] | {key: "../../x"}))
        with pytest.raises(UserError, match=rf"run\.json: {key} is '\.\./\.\./x'"):
            read_json(Description, folder / "run.json")


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("outcome", {"ended_ms": 10**30}, "ended_ms"),
        ("outcome", {"ended_ms": -1}, "ended_ms"),
        ("outcome", {"figures": {}}, SECONDS),
        ("outcome", {"figures": {SECONDS: -1.0}}, SECONDS),
        ("run", {"tags": {}}, "device"),
        ("run", {"attempt": '=HYPERLINK("http://x")'}, "attempt"),
        ("run", {"started_ms": 10**30}, "started_ms"),
        ("run", {"images": {"train": 10**30}}, "images"),
        ("history", {"epochs": [{"train/loss": 1.0}]}, "val/top1"),
        ("history", {"role_changes": 10**30}, "role_changes"),
        ("result", {"seed": -1}, "seed"),
        ("result", {"pivot_before": 101.0}, "pivot_before"),
    ],
)
def test_values_out_of_range_and_missing_keys_are_named(
    tmp_path: Path, name: str, changes: dict[str, Any], said: str
) -> None:
    folder = write_run(tmp_path / "run")
    (folder / f"{name}.json").write_text(json.dumps(CONTENTS[name] | changes))
    with pytest.raises(UserError) as refused:
        READERS[name](folder)
    assert said in str(refused.value) and ": : " not in str(refused.value)
