"""What every reader of a stranger's file promises, and the ways in which tests spoil a file."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from orc_repro.errors import UserError

T = TypeVar("T")

LONGEST_SENTENCE = 2000
LONGEST_SECONDS = 10.0

# What a text file may be made to hold: control characters, no text at all, numbers without end.
TOKENS = (
    *(b"\x00", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"\x1b[2J", b"\r", b"\n", b"\xe2\x80\xa8"),
    *(b'"', b"'", b"{", b"}", b"[", b"]", b":", b",", b"\\", b"\\u001b", b"\\ud800", b"\\n"),
    *(b"NaN", b"-Infinity", b"1e999", b"-1", b"0x" + 6000 * b"f", b"9" * 5000, b"9" * 40),
    *(b"[" * 3000, b'{"a":' * 3000, b"null", b"true", b"../../x", b"\t", b"\xef\xbb\xbf", b"#"),
)

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from((2**31, 2**63, 2**64, -(2**63), 10**40, 10**400, -1, 0, 1))
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(("\x1b[2J", "a\nb", "../../x", "/etc", "x" * 3000, "\u202e", "nan", "1e5"))
)
KEYS = st.text(max_size=6) | st.sampled_from(("\x1b[2J", "a\nb", "../x", "k" * 3000, "__class__"))
VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def inputs(number: int) -> settings:
    """So many inputs, the same ones each time; nothing is written beside the tests."""
    return settings(
        max_examples=number,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


class TooSlow(BaseException):
    """Not an Exception, so that no reader can take it for a damaged file."""


@contextmanager
def limited(seconds: float = LONGEST_SECONDS) -> Iterator[None]:
    """End what hangs."""

    def end(number: int, frame: object) -> None:
        raise TooSlow(f"it took longer than {seconds} s")

    former = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def listing(folder: Path) -> list[str]:
    """Everything below a folder, by name."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def check_sentence(sentence: str) -> None:
    """A message is a line of reasonable length that changes nothing in a terminal."""
    assert sentence and len(sentence) < LONGEST_SENTENCE, sentence[:200]
    assert sentence.isprintable(), repr(sentence)


def attempt(
    read: Callable[[], T], around: Path, refusals: tuple[type[Exception], ...] = (UserError,)
) -> tuple[T | None, str]:
    """What a reader returns, or None and its sentence; fails where it breaks its promise."""
    before = listing(around)
    try:
        with limited():
            found, sentence = read(), ""
    except refusals as error:
        found, sentence = None, str(error)
        check_sentence(sentence)
    assert listing(around) == before
    return found, sentence


def spoiled(content: bytes, draw: Random, tokens: tuple[bytes, ...] = TOKENS) -> bytes:
    """Some bytes flipped, replaced, left out, doubled or put in, or the end cut off."""
    result = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        at = draw.randrange(len(result) + 1)
        end = min(len(result), at + draw.choice((1, 1, 2, 8, 64)))
        match draw.randrange(7):
            case 0 | 1 if at < len(result):
                result[at] ^= 1 << draw.randrange(8)
            case 2:
                result[at:end] = draw.randbytes(end - at)
            case 3:
                del result[at:end]
            case 4:
                result[at:at] = result[at:end]
            case 5:
                del result[at:]
            case _:
                result[at : draw.choice((at, end))] = draw.choice(tokens)
    return bytes(result)


def places(tree: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in nested mappings and lists, the whole first."""
    found = [above]
    if isinstance(tree, dict):
        parts = list(tree.items())
    else:
        parts = list(enumerate(tree)) if isinstance(tree, list) else []
    for key, inner in parts:
        found += places(inner, (*above, key))
    return found


def changed(tree: Any, path: tuple[Any, ...], how: str, key: str, value: Any) -> Any:
    """A copy with one value replaced, left out or renamed, or with one more key."""
    if not path:
        return tree | {key: value} if how == "add" and isinstance(tree, dict) else value
    first, rest = path[0], path[1:]
    if isinstance(tree, list):
        inner = (
            [] if how == "delete" and not rest else [changed(tree[first], rest, how, key, value)]
        )
        return [*tree[:first], *inner, *tree[first + 1 :]]
    if rest or how in ("replace", "add"):
        return tree | {first: changed(tree[first], rest, how, key, value)}
    others = {name: inner for name, inner in tree.items() if name != first}
    return others if how == "delete" else others | {key: tree[first]}


def trees_near(tree: Any) -> st.SearchStrategy[Any]:
    """The tree with one to three changes of its structure."""
    change = st.tuples(
        st.sampled_from(places(tree)),
        st.sampled_from(("replace", "delete", "rename", "add")),
        KEYS,
        VALUES,
    )

    def apply(changes: list[tuple[tuple[Any, ...], str, str, Any]]) -> Any:
        result = tree
        for path, how, key, value in changes:
            # A change before this one may have taken its place away.
            result = changed(result, path, how, key, value) if path in places(result) else result
        return result

    return st.lists(change, min_size=1, max_size=3).map(apply)
