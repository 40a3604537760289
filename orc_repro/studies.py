"""Which study somebody means: by its name, how that begins, or its folder; in every command."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

from orc_repro.cells import DEFAULT_STUDY
from orc_repro.errors import UserError, one_line
from orc_repro.project import POOLS

ROOT = Path("studies")


def find_study(wanted: str | Path, root: Path = ROOT) -> Path:
    """The one study or pool that is meant; or any other folder that holds a ``cells.yaml``.

    Raises:
        UserError: there is none, or there are several.
    """
    if Path(wanted) == DEFAULT_STUDY:
        return DEFAULT_STUDY  # also where there is none, which whoever reads it tells
    folder = Path(wanted)
    known = [*_declared(root), *_pools(root)]
    if (folder / "cells.yaml").is_file() and not _at(folder, known):
        return folder
    return _one(str(wanted), known)


def find_declared(wanted: str | Path, root: Path = ROOT) -> Path:
    """The one study that is meant, and no pool: those have no reports.

    Raises:
        UserError: there is none, or there are several.
    """
    return DEFAULT_STUDY if Path(wanted) == DEFAULT_STUDY else _one_declared(str(wanted), root)


def find_studies(wanted: Iterable[str], root: Path = ROOT) -> list[str]:
    """The names of all studies that are meant; here a pattern may stand for several.

    Raises:
        UserError: one of the words means none, or begins several names.
    """
    known = _declared(root)
    found: list[Path] = []
    for word in wanted:
        fitting = [f for f in known if fnmatch(f.name, word) or fnmatch(f.as_posix(), word)]
        found += fitting or [_one_declared(word, root)]
    return [folder.name for folder in dict.fromkeys(found)]


def studies_beginning(incomplete: str, pools: bool, root: Path = ROOT) -> list[str]:
    """What a word that is being typed may become: names, or folders once it has a slash."""
    known = [*_declared(root), *(_pools(root) if pools else ())]
    words = (f.as_posix() if "/" in incomplete else f.name for f in known)
    return [word for word in words if word.startswith(incomplete)]


def _one_declared(wanted: str, root: Path) -> Path:
    for pool in _pools(root):
        if wanted == pool.name or _at(Path(wanted), [pool]):
            raise UserError(f"{pool} is a pool of cells; name a study that shows them")
    return _one(wanted, _declared(root))


def _one(wanted: str, known: list[Path]) -> Path:
    found = (
        [folder for folder in known if folder.name == wanted]
        or _at(Path(wanted), known)
        or [folder for folder in known if folder.name.startswith(wanted)]
    )
    if len(found) != 1:
        some = ", ".join(folder.name for folder in found or known)
        raise UserError(
            f"'{one_line(wanted)}' is {'more than one' if found else 'no'} study ({one_line(some)})"
        )
    return found[0]


def _at(folder: Path, known: list[Path]) -> list[Path]:
    return [one for one in known if one.resolve() == folder.resolve()]


def _declared(root: Path) -> list[Path]:
    return _folders(root, "study.yaml")


def _pools(root: Path) -> list[Path]:
    return _folders(root / POOLS, "cells.yaml")


def _folders(root: Path, holding: str) -> list[Path]:
    return [path.parent for path in sorted(root.glob(f"*/{holding}"))]
