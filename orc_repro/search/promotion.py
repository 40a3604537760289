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
from orc_repro.yaml_files import compose_yaml, read_yaml


@dataclass(frozen=True)
class _Edit:
    where: str
    start: int
    end: int
    old: Any
    new: Any
    gap: str = ""

    @property
    def line(self) -> str:
        """The edit for people."""
        return f"{self.where}: {_flow(self.old)} -> {_flow(self.new)}"


def promote(search_path: Path, params_path: Path = Path("params.yaml")) -> list[str]:
    """Change the searched values in ``params.yaml`` and nothing else in it.

    Returns:
        a line for each value that changed.

    Raises:
        UserError: the search has no answer yet, a value is not allowed any more, or is not written
            out where it would have to be changed; the file is as it was.
    """
    best = REPORTS / "studies" / name_of(search_path, load_search(search_path)) / BEST
    if not best.exists():
        raise UserError(f"{best} does not exist; `orc-repro search {search_path}` writes it")
    load_params(params_path)  # is what it should be, and no trap
    before, root = compose_yaml(params_path)
    edits = _edits(root, read_yaml(params_path), read_yaml(best), "")
    text, lines = before, []
    for edit in sorted(edits, key=lambda edit: -edit.start):
        if edit.old != edit.new:
            lines.append(edit.line)
            text = f"{text[: edit.start]}{edit.gap}{_flow(edit.new)}{text[edit.end :]}"
    write_atomically(params_path, text.encode())
    try:
        load_params(params_path)
    except UserError:
        write_atomically(params_path, before.encode())
        raise
    return lines[::-1] or [f"{params_path} has these values already"]


def _edits(
    node: yaml.Node, content: Mapping[str, Any], values: Mapping[str, Any], at: str
) -> Iterator[_Edit]:
    own = {key.value: (key, inner) for key, inner in node.value}
    for name, value in values.items():
        where = f"{at}{name}"
        if name not in own:
            raise UserError(f"params.yaml does not write {where} out; change it there by hand")
        key, inner = own[name]
        if isinstance(value, Mapping):
            if not isinstance(inner, yaml.MappingNode):
                raise UserError(f"{where} is a value in params.yaml, not a section")
            yield from _edits(inner, content[name], value, f"{where}.")
            continue
        start, end, gap = inner.start_mark.index, inner.end_mark.index, ""
        if isinstance(inner, yaml.SequenceNode) and not inner.flow_style:
            # An item a line: from behind the key's colon to the end of the last one. The list's own
            # end lies where the next key begins, behind the comments above that.
            start, end, gap = key.end_mark.index + 1, inner.value[-1].end_mark.index, " "
        yield _Edit(where, start, end, content[name], value, gap)


def _flow(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")
