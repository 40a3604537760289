"""Figures as elements of one page, with what they have in common on it once.

What draws them writes each for itself: the outlines of its letters, its marks and its styles, under
identifiers that are the same in every figure, and more digits than anybody sees.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from markupsafe import Markup, escape

_PROLOGUE = re.compile(r"\A.*?(?=<svg\b)", re.DOTALL)
_NAMESPACE = re.compile(r"\{.*\}")
_TAG = re.compile(r"\A<\w+")
_URL = re.compile(r"(?<=url\(#)[^)]+")
_MOVE = re.compile(r"(translate|rotate)\(([^)]*)\)")
_NO_ROTATION = re.compile(r"rotate\(-?0 [^)]*\)")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_STEP = re.compile(r"([A-DF-Za-df-z])([^A-DF-Za-df-z]*)")
_CURVE, _ARC = re.compile("[CcQqSsTt]"), re.compile("[Aa]")
_UNFIT = re.compile("[<{}]")  # for a rule in a style sheet
_WORDS = ("text", "tspan")
_UNSEEN = ("defs", "metadata")


@dataclass(frozen=True)
class _Shared:
    """What figures share, under names that begin with ``_``, as no study's does."""

    definitions: dict[str, str] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    sheets: dict[str, str] = field(default_factory=dict)


class Vectors:
    """The figures of a page."""

    def __init__(self) -> None:
        self._shared = _Shared()

    def inline(self, text: str, label: str, room: int) -> tuple[Markup | None, int]:
        """A figure as an element, and its length with what it adds to what is shared.

        Where there is no room for that, None, and nothing is added.

        Raises:
            xml.etree.ElementTree.ParseError: the text is no figure.
        """
        every = (self._shared.definitions, self._shared.classes, self._shared.sheets)
        counts, before = [len(one) for one in every], self._length()
        root = ElementTree.fromstring(_PROLOGUE.sub("", text))
        element = _Figure(root, self._shared).element(label)
        length = len(element) + self._length() - before
        if length <= room:
            return Markup(element), length
        for one, count in zip(every, counts, strict=True):
            while len(one) > count:
                one.popitem()
        return None, 0

    @property
    def definitions(self) -> Markup:
        """What figures refer to."""
        return Markup(
            "".join(
                _TAG.sub(rf'\g<0> id="{name}"', what)
                for what, name in self._shared.definitions.items()
            )
        )

    @property
    def styles(self) -> Markup:
        """Rules for the page's style sheet."""
        rules = (f".{name}{{{style}}}\n" for style, name in self._shared.classes.items())
        return Markup("".join([*self._shared.sheets, *rules]))

    def _length(self) -> int:
        return len(self.definitions) + len(self.styles)


class _Figure:
    """One figure; as it is written, its definitions and styles go to what is shared."""

    def __init__(self, root: Element, shared: _Shared) -> None:
        self._root, self._shared = root, shared
        self._targets = {found: one for one in root.iter() if (found := one.get("id"))}
        self._names: dict[str, str] = {}

    def element(self, label: str) -> str:
        """The figure as an image that says what it shows."""
        for sheet in self._root.iter(f"{self._root.tag.removesuffix('svg')}style"):
            if sheet.text and "<" not in sheet.text:
                self._shared.sheets.setdefault(f"{sheet.text.strip()}\n", "")
        said = f'<svg role="img" aria-label="{escape(label)}"'
        return self._written(self._root).strip().replace("<svg", said, 1)

    def _written(self, element: Element) -> str:
        """An element without its identifier, and without groups that say nothing."""
        tag = _NAMESPACE.sub("", element.tag)
        if tag in ("style", *_UNSEEN):
            return ""
        attributes = "".join(
            f' {key}="{escape(value)}"' for key, value in self._attributes(element)
        )
        if tag in _WORDS:
            inner = str(escape(element.text or "")) + "".join(map(self._word, element))
            return f"<{tag}{attributes}>{inner}</{tag}>" + ("\n" if tag == "text" else "")
        inner = "".join(map(self._written, element))
        if tag == "g" and not (attributes and inner):
            return inner
        return f"<{tag}{attributes}>\n{inner}</{tag}>\n" if inner else f"<{tag}{attributes}/>\n"

    def _word(self, element: Element) -> str:
        return f"{self._written(element)}{escape(element.tail or '')}"

    def _attributes(self, element: Element) -> Iterator[tuple[str, str]]:
        for name, value in element.attrib.items():
            key = _NAMESPACE.sub("", name)
            match key:
                case "id" | "version":
                    continue
                case "href" if value.startswith("#"):
                    value = f"#{self._name(value[1:])}"
                case "x" | "y":
                    value = _short(value, 1)
                case "d":
                    value = _path(value)
                case "transform":
                    value = _MOVE.sub(_moved, _NO_ROTATION.sub("", value)).strip()
                case "style" if not _UNFIT.search(value) and "class" not in element.attrib:
                    key, value = "class", self._class(self._with_names(value))
                case _:
                    value = self._with_names(value)
            if value:
                yield key, value

    def _with_names(self, value: str) -> str:
        return _URL.sub(lambda found: self._name(found[0]), value)

    def _name(self, identifier: str) -> str:
        """On the page, of what has an identifier in the figure."""
        if identifier not in self._names and identifier in self._targets:
            self._names[identifier] = identifier  # should it refer to itself
            what = self._written(self._targets[identifier])
            names = self._shared.definitions
            self._names[identifier] = names.setdefault(what, f"_{len(names)}")
        return self._names.get(identifier, identifier)

    def _class(self, style: str) -> str:
        return self._shared.classes.setdefault(style, f"_{len(self._shared.classes)}")


def _moved(found: re.Match[str]) -> str:
    return f"{found[1]}({' '.join(_short(number, 1) for number in _NUMBER.findall(found[2]))})"


def _short(number: str, digits: int) -> str:
    text = f"{float(number):.{digits}f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _path(steps: str) -> str:
    """To 0.1 pt, curves to 0.01; a letter is left out where it goes without saying."""
    if _ARC.search(steps):
        return steps
    digits = 2 if _CURVE.search(steps) else 1
    parts, last = [], ""
    for letter, rest in _STEP.findall(steps):
        numbers = " ".join(_short(number, digits) for number in _NUMBER.findall(rest))
        follows = (letter == last and letter not in "MmZz") or last + letter in ("ML", "ml")
        parts.append(f" {numbers}" if follows else f"{letter}{numbers}")
        last = letter
    return "".join(parts).replace(" -", "-")
