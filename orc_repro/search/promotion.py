"""A search's best values into ``params.yaml``, as a change to review."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from orc_repro.config import load_params
from orc_repro.errors import UserError
from orc_repro.files import write_atomically
from orc_repro.project import REPORTS
from orc_repro.search.answer import BEST
from orc_repro.search.declaration import load_search
from orc_repro.search.work import name_of
from orc_repro.yaml_files import read_yaml


@dataclass(frozen=True)
class _Edit:
    where: str
    start: int
    end: int
    new: str


def promote(search_path: Path, params_path: Path = Path("params.yaml")) -> list[str]:
    """Change the searched values in ``params.yaml`` and nothing else in it.

    What merges a changed section (ORC's variants merge ORC) changes with it.

    Returns:
        a line for each value that changed.

    Raises:
        UserError: the search has no answer yet, or a value is not written out where it would have
            to be changed, or is not allowed any more; the file is as it was.
    """
    found = REPORTS / "studies" / name_of(search_path, load_search(search_path)) / BEST
    if not found.exists():
        raise UserError(f"{found} does not exist; `orc-repro search {search_path}` writes it")
    load_params(params_path)  # is what it should be, and no trap
    before = params_path.read_text(encoding="utf-8")
    text, lines = before, []
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    edits = sorted(_edits(root, read_yaml(found), ""), key=lambda edit: -edit.start)
    for edit in edits:
        old = text[edit.start : edit.end]
        if yaml.safe_load(old) != yaml.safe_load(edit.new):
            lines.append(f"{edit.where}: {' '.join(old.split())} -> {edit.new.strip()}")
            text = text[: edit.start] + edit.new + text[edit.end :]
    write_atomically(params_path, text.encode())
    try:
        load_params(params_path)
    except UserError:
        write_atomically(params_path, before.encode())
        raise
    return lines[::-1] or [f"{params_path} has these values already"]


def _edits(node: yaml.Node | None, values: Mapping[str, Any], at: str) -> Iterator[_Edit]:
    own = {key.value: (key, inner) for key, inner in getattr(node, "value", ())}
    for name, value in values.items():
        where = f"{at}{name}"
        if name not in own:
            raise UserError(f"params.yaml does not write {where} out; change it there by hand")
        key, inner = own[name]
        if isinstance(value, Mapping):
            yield from _edits(inner, value, f"{where}.")
            continue
        new = yaml.safe_dump(value, default_flow_style=True, width=10**6)
        new = new.removesuffix("\n").removesuffix("\n...")
        start, end = inner.start_mark.index, inner.end_mark.index
        if isinstance(inner, yaml.SequenceNode) and not inner.flow_style:
            # An item a line: from behind the key's colon to the end of the last one. The list's own
            # end lies where the next key begins, behind the comments above that.
            start, end, new = key.end_mark.index + 1, inner.value[-1].end_mark.index, f" {new}"
        yield _Edit(where, start, end, new)
