"""YAML as DVC reads it: version 1.2 numbers and booleans, no tags, no key given twice.

A file from someone else may be made to fill the memory (aliases of aliases) or the stack; it is
refused before anything is built from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from orc_repro.errors import UserError, one_line
from orc_repro.files import read_file, write_atomically

LARGEST_BYTES = 4 * 2**20
MOST_VALUES = 200_000
LARGEST_LOCK_BYTES = 32 * 2**20
MOST_LOCK_VALUES = 2_000_000  # DVC writes some two hundred a stage
DEEPEST = 50
MERGE = "tag:yaml.org,2002:merge"


class _SlowParser(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser):
    """In place of libyaml's, for a PyYAML that was built without it: the same, in ten times the
    time.
    """

    def __init__(self, stream: str) -> None:
        yaml.reader.Reader.__init__(self, stream)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)


_Parser: Any = getattr(yaml.cyaml, "CParser") if yaml.__with_libyaml__ else _SlowParser  # noqa: B009


class _Values(Composer, SafeConstructor, Resolver):
    """PyYAML speaks YAML 1.1, DVC 1.2; `5e-4` is text to the first and a number to the second."""

    peek_event: Callable[[], Any]  # of the parser that this is put before
    most_values = MOST_VALUES

    def __init__(self) -> None:
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        Resolver.__init__(self)
        self._nodes = 0
        self._flat: set[int] = set()

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()
        self._nodes += 1
        if self._nodes > self.most_values:
            line = event.start_mark.line + 1
            raise UserError(f"line {line}: more than {self.most_values} values")
        if getattr(event, "tag", None) is not None:
            raise UserError(
                f"line {event.start_mark.line + 1}: a value is not given a type with '!' here"
            )
        return super().compose_node(parent, index)

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _measure(node, self.most_values, {}, ())
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Put what a mapping merges before its own keys, which override it.

        PyYAML 6.0.4 does this otherwise: where such a mapping is merged once more, a key of one
        letter has the overridden value again.

        Raises:
            UserError: a key is given twice, or what is merged is no mapping.
        """
        if id(node) in self._flat:
            return
        self._flat.add(id(node))
        self._refuse_doubles(node)
        merged: list[tuple[yaml.Node, yaml.Node]] = []
        own: list[tuple[yaml.Node, yaml.Node]] = []
        for key, value in node.value:
            if key.tag == MERGE:
                merged += self._merged(value)
            else:
                own.append((key, value))
        node.value = merged + own

    def _merged(self, node: yaml.Node) -> list[tuple[yaml.Node, yaml.Node]]:
        """The keys and values of one mapping, or of several, of which the first is to win."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        pairs: list[tuple[yaml.Node, yaml.Node]] = []
        for source in reversed(sources):
            if not isinstance(source, yaml.MappingNode):
                line = source.start_mark.line + 1
                raise UserError(f"line {line}: '<<' takes a mapping, or a list of mappings")
            self.flatten_mapping(source)
            pairs += source.value
        return pairs

    def _refuse_doubles(self, node: yaml.MappingNode) -> None:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == MERGE:
                continue
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise UserError(f"line {line}: a key must be a name")
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise UserError(f"line {line}: the key '{one_line(str(key))}' is given twice")
            seen.add(key)


def _measure(node: yaml.Node, most: int, sizes: dict[int, int], above: tuple[int, ...]) -> int:
    """How many values a node becomes with its aliases written out.

    Raises:
        UserError: too many, too deep, or without end.
    """
    line = node.start_mark.line + 1
    if id(node) in above:
        raise UserError(f"line {line}: an alias contains itself")
    if len(above) > DEEPEST:
        raise UserError(f"line {line}: nested deeper than {DEEPEST} levels")
    if id(node) not in sizes:
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            inner = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            inner = node.value
        within = (*above, id(node))
        sizes[id(node)] = 1 + sum(_measure(part, most, sizes, within) for part in inner)
    if sizes[id(node)] > most:
        raise UserError(f"line {line}: more than {most} values, with aliases written out")
    return sizes[id(node)]


_Values.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in rules if not tag.endswith((":bool", ":int", ":float"))
    ]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Values.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
# Decimal alone. 010, 0x10 and 1:30 are whole numbers to 1.1 only, and 1:30:30... takes forever.
_Values.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789")
)
_Values.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.inf$|^\.nan$"),
    list("-+0123456789."),
)


class _Loader(_Values, _Parser):  # type: ignore[misc]
    """Of one text."""

    def __init__(self, stream: str) -> None:
        _Parser.__init__(self, stream)
        _Values.__init__(self)


class _LockLoader(_Loader):
    """Of a text that DVC wrote, which grows with every stage."""

    most_values = MOST_LOCK_VALUES


class _EditLoader(_Loader):
    """Of a text that is edited by place, where each value has a place of its own."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            alias, mark = one_line(str(event.anchor)), cast(Any, event.start_mark)
            raise UserError(
                f"line {mark.line + 1}: write the value of '*{alias}' out to have it changed"
            )
        return super().compose_node(parent, index)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        UserError: the file is missing, is not YAML, is no mapping, or is absurdly large.
    """
    return _read(path, _Loader, LARGEST_BYTES)


def read_lock(path: Path) -> dict[str, dict[str, Any]]:
    """What a ``dvc.lock`` says of each stage; nothing where there is none.

    Raises:
        UserError: see :func:`read_yaml`; also when it has another form.
    """
    if not path.exists():
        return {}
    stages = _read(path, _LockLoader, LARGEST_LOCK_BYTES).get("stages", {})
    if not isinstance(stages, dict) or not all(isinstance(one, dict) for one in stages.values()):
        raise UserError(f"{path} is damaged: its stages must be a mapping of names to mappings")
    return stages


def compose_yaml(path: Path) -> tuple[str, yaml.Node]:
    """Read the text of a YAML file to be edited, and its nodes, whose marks are places in it.

    Raises:
        UserError: see :func:`read_yaml`; also where two entries share a value, as an edit of one
            would change both.
    """
    text = _read_text(path, LARGEST_BYTES)
    with _naming(path):
        node = yaml.compose(text, Loader=_EditLoader)
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{path} must hold a mapping of names to values")
    return text, node


def _read(path: Path, loader: type[_Loader], largest_bytes: int) -> dict[str, Any]:
    text = _read_text(path, largest_bytes)
    with _naming(path):
        content = yaml.load(text, Loader=loader)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"{path} must hold a mapping of names to values")
    return content


def _read_text(path: Path, largest_bytes: int) -> str:
    try:
        if path.stat().st_size > largest_bytes:
            raise UserError(f"{path} has more than {largest_bytes} bytes")
        return read_file(path).decode("utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; run this in the folder that holds it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn what the parser meets in a file into a sentence with the file's path."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}, {error}") from None
    except RecursionError:
        raise UserError(f"{path} is nested too deeply") from None
    # PyYAML's own errors; and what its constructors meet in a number or a date.
    except (yaml.YAMLError, ValueError) as error:
        reason = one_line(" ".join(str(error).split()))
        raise UserError(f"{path} is not valid YAML: {reason}") from None


def write_yaml(path: Path, content: dict[str, Any], header: str) -> None:
    """Write a mapping in one step, keys in the order given, below a comment.

    Args:
        path: the file, which is replaced.
        content: the mapping.
        header: the comment, of one or more lines.

    Raises:
        OSError: it cannot be written; the former file is as it was.
    """
    comment = "".join(f"# {line}\n" for line in header.splitlines())
    body = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100)
    write_atomically(path, (comment + body).encode())
