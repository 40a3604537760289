"""Every reader of a file that may be someone else's, with a file that it accepts.

A file is spoilt in its bytes or, where it is a tree of values, in its values.
"""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from orc_repro.cells import Cells, Study, load_cells
from orc_repro.config import Params, load_params
from orc_repro.given.files import load_given, read_state
from orc_repro.plan import Declaration, expand
from orc_repro.report.results import History, read_result
from orc_repro.report.runs import read_runs
from orc_repro.report.tables import comparisons
from orc_repro.search.declaration import load_search
from orc_repro.search.space import check
from orc_repro.stages.predictions import Predictions, unpack
from orc_repro.stages.roles import summary, tidy
from orc_repro.tracking.description import Description
from orc_repro.tracking.outcome import read_outcome
from orc_repro.tracking.records import committed, metrics_log, roles_log
from orc_repro.tracking.role_file import as_table, read_role_file
from orc_repro.training.networks import load_weights, save_weights
from orc_repro.validation import parse, read_json
from orc_repro.verdicts.claims import load_claims
from orc_repro.yaml_files import read_yaml
from tests.hostile.contract import TOKENS, attempt, changed, places, spoiled
from tests.hostile.test_config_files import DECLARED, FEW, PLANNED, ROOT, YAML_TOKENS
from tests.hostile.test_run_folders import CHANGES, CONTENTS, EPOCHS, lines
from tests.search.files import content as search_content
from tests.search.files import shrink

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
SCALARS: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**31, 2**32, 2**63, 10**40, 0.5, 1e-300, 1e300, -0.0),
    *(float("nan"), float("inf"), "", "a", "\x1b[2J", "a\nb", "../../x", "/etc", 3000 * "x", "1e5"),
    *([], {}, [[]], {"a": {}}, [0], ["a"], {"": 1}, {"../x": 0}),
)


@dataclass(frozen=True)
class Reader:
    """A file and who reads it.

    Attributes:
        name: of the kind.
        path: of the file, within the project.
        content: what is accepted.
        read: takes the file's path; raises UserError where the file is not accepted.
        tree: the content as values, and how they are written, if it is made of values.
        tokens: what is put into the bytes.
    """

    name: str
    path: str
    content: bytes
    read: Callable[[Path], object]
    tree: tuple[Any, Callable[[Any], bytes]] | None = None
    tokens: tuple[bytes, ...] = TOKENS

    def spoil(self, draw: Random) -> bytes:
        """Another content, accepted or not."""
        if self.tree is None or draw.random() < 0.4:
            return spoiled(self.content, draw, self.tokens)
        tree, write = self.tree
        for _ in range(draw.choice((1, 1, 2, 3))):
            how = draw.choice(("replace", "replace", "replace", "delete", "rename", "add"))
            key = draw.choice(("a", "../x", "a\nb", "__class__", 300 * "k"))
            tree = changed(tree, draw.choice(places(tree)), how, key, draw.choice(SCALARS))
        return write(tree)

    def try_one(self, content: bytes, project: Path, around: Path) -> bool:
        """Whether a content is accepted; fails where the reader breaks its promise."""
        path = project / self.path
        path.write_bytes(content)
        try:
            _, sentence = attempt(lambda: self.read(path), around)
        finally:
            path.write_bytes(self.content)
        return not sentence


def as_yaml(tree: Any) -> bytes:
    return yaml.dump(tree, Dumper=_DUMPER, sort_keys=False).encode()


def as_json(tree: Any) -> bytes:
    return json.dumps(tree).encode()


def readers(project: Path) -> list[Reader]:
    """All of them; writes their files into a project."""
    every = [*_declarations(), *_measured(), *_logs(), *_tables(), *_weights(project)]
    for one in every:
        path = project / one.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.content)
    return every


@cache
def _params() -> Params:
    small = json.loads(json.dumps(FEW))
    shrink(small)
    return parse(Params, small, "params.yaml")


def _declarations() -> list[Reader]:
    params, claims = _params(), read_yaml(ROOT / "studies/scaled_claims.yaml")
    claims |= {name: claims[name][:2] for name in ("claims", "alternatives")}
    every = load_params(ROOT / "params.yaml")

    def study(path: Path) -> object:
        return expand(parse(Declaration, read_yaml(path), str(path)), params, "s")

    def search(path: Path) -> None:
        check(load_search(path), params, str(path))

    declared: list[tuple[str, str, Any, Callable[[Path], object]]] = [
        ("params", "params.yaml", FEW, load_params),
        ("study", "study/study.yaml", DECLARED, study),
        (
            "cells",
            "study/cells.yaml",
            PLANNED,
            lambda path: Study(params, load_cells(path.parent), path.parent),
        ),
        ("search", "search.yaml", search_content(), search),
        ("claims", "claims.yaml", claims, lambda path: load_claims(every, path)),
    ]
    return [
        Reader(name, path, as_yaml(tree), read, (tree, as_yaml), YAML_TOKENS)
        for name, path, tree, read in declared
    ]


def _measured() -> list[Reader]:
    cells = parse(Cells, PLANNED, "cells.yaml")
    cell = next(iter(cells.cells))
    result = CONTENTS["result"] | {"cell": cell}

    def compared(path: Path) -> object:
        found = read_result(path.stem, path.parent)
        assert found is not None
        return comparisons(cells, {cell: found})

    classes = np.arange(100, dtype="<u2").tobytes()
    predictions = {
        "cell": "c",
        "weights_digest": "w",
        "network": "a",
        "images": 100,
        "dataset_sha256": "d",
        "classes": base64.b64encode(zlib.compress(classes, 9)).decode(),
    }

    def predicted(path: Path) -> object:
        kept = read_json(Predictions, path)
        try:
            return unpack(kept.classes, kept.images)
        except ValueError:  # which ``read_predictions`` turns into a sentence
            return None

    measured: list[tuple[str, Any, Callable[[Path], object]]] = [
        ("result", result, compared),
        ("predictions", predictions, predicted),
        ("history", CONTENTS["history"], lambda path: read_json(History, path)),
        ("run", CONTENTS["run"], lambda path: read_json(Description, path)),
        ("outcome", CONTENTS["outcome"], lambda path: read_outcome(path.parent)),
    ]
    return [
        Reader(name, f"run/{name}.json", as_json(tree), read, (tree, as_json))
        for name, tree, read in measured
    ]


def _logs() -> list[Reader]:
    metrics, changes = lines(EPOCHS), lines(CHANGES)
    lengths = {"metrics.jsonl": len(metrics), "roles.jsonl": len(changes)}
    return [
        Reader("metrics", "run/metrics.jsonl", metrics, lambda p: metrics_log(p.parent).all()),
        Reader("role log", "run/roles.jsonl", changes, lambda p: roles_log(p.parent).all()),
        Reader(
            "committed",
            "run/committed.json",
            as_json(lengths),
            lambda path: (committed(path.parent), list(metrics_log(path.parent).committed())),
            (lengths, as_json),
        ),
    ]


def _tables() -> list[Reader]:
    table = as_table(
        [0, 0, 1],
        [0, 3, 10],
        {"left": ["", "a", ""], "came": ["a", "b", "a"], "teachers": ["a", "b", "a+b"]},
        {"a": [0.5, 0.9, 0.1], "b": [0.6, 0.1, 0.2]},
    )
    stored = io.BytesIO()
    table.to_parquet(stored, index=False)

    def roles(path: Path) -> object:
        changes = read_role_file(path)
        return summary(changes, 20), tidy(changes)

    header = "cell,fingerprint,run_id,ended,seconds,device,torch,commit,dirty\n"
    runs = f"{header}c,f,r,2026-01-01T00:00:00+00:00,1.5,cpu,2.13.0,abc,false\n".encode()
    return [
        Reader("roles", "roles/c.parquet", stored.getvalue(), roles),
        Reader("runs", "runs.csv", runs, read_runs, tokens=(*TOKENS, b',"', b"\n\n", b",,,")),
    ]


def _weights(project: Path) -> list[Reader]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    state = network.state_dict()
    save_weights(state, project / "made.safetensors")
    made = (project / "made.safetensors").read_bytes()
    (project / "made.safetensors").unlink()
    stored = io.BytesIO()
    torch.save(state, stored)
    return [
        Reader("weights", "a.safetensors", made, lambda path: load_weights(network, path)),
        Reader(
            "given weights",
            "a.pth",
            stored.getvalue(),
            lambda path: load_given(network, read_state(path), path),
        ),
    ]
