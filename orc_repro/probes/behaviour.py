"""Keep the digests of the probes, and notice when the code is no longer the one they are of.

``orc_repro/probes.json`` holds a digest for each probe, ``orc_repro/probed_source.txt`` a hash of
the source that they were taken from. These are two files, because the digests stay the same when
only the text of the code changes, and results depend on them alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from orc_repro.errors import UserError, one_line, say
from orc_repro.files import read_file, write_atomically, write_json
from orc_repro.fingerprint import digest, file_digest
from orc_repro.probes.catalogue import probes
from orc_repro.processes.joining import started_by_torchrun

PACKAGE = Path(__file__).parents[1]
DIGESTS = PACKAGE / "probes.json"
SOURCE = PACKAGE / "probed_source.txt"
_FORM = TypeAdapter(dict[str, str])


def source_digest(package: Path = PACKAGE) -> str:
    """Hash the text of every module of a package."""
    files = sorted(package.rglob("*.py"))
    return digest({file.relative_to(package).as_posix(): file_digest(file) for file in files})


def read_digests(path: Path | None = None) -> dict[str, str]:
    """Read the digest of each probe; those of this package by default.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = path or DIGESTS
    try:
        return _FORM.validate_json(read_file(path))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; run `orc-repro probe`") from None
    except (OSError, ValidationError):
        raise UserError(f"{path} is damaged; run `orc-repro probe`") from None


def digests_of(names: Iterable[str]) -> dict[str, str]:
    """Return the digests of some probes.

    Raises:
        UserError: there is no digest of one of them.
    """
    digests = _cached()
    missing = [name for name in names if name not in digests]
    if missing:
        raise UserError(f"{DIGESTS} has no digest of {missing[0]}; run `orc-repro probe`")
    return {name: digests[name] for name in sorted(names)}


@cache
def _cached() -> Mapping[str, str]:
    return read_digests()


def run_probes(names: Iterable[str] = (), package: Path = PACKAGE) -> dict[str, str]:
    """Run probes in a process of their own.

    Args:
        names: which of them; all if there are none.
        package: the package that they are of.

    Returns:
        The digest of each, by name; without those that need an extra that is not installed.

    Raises:
        UserError: one of them could not be run.
    """
    unknown = set(names := list(names)) - {str(one) for one in probes()}
    if unknown:
        raise UserError(f"there is no probe '{one_line(unknown.pop())}' (as method/kd)")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "orc_repro.probes.run", *names],
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "ORC_", "MLFLOW_"))}
        | {"PYTHONPATH": str(package.parent), "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        reason = one_line((done.stderr.strip().splitlines() or ["it ended"])[-1])
        raise UserError(f"the behaviour of {package} could not be probed: {reason}")
    return _FORM.validate_json(done.stdout.splitlines()[-1])


def probe() -> list[str]:
    """Run every probe and write the digests, and which source they are of.

    Returns:
        The names of the probes whose digest is another than before.
    """
    source = source_digest()
    try:
        before = read_digests()
    except UserError:  # missing or damaged: it is what this writes
        before = {}
    listed = {str(one) for one in probes()}
    # What needs an extra that is not installed here keeps the digest it has.
    digests = {name: value for name, value in before.items() if name in listed} | run_probes()
    if digests != before:
        write_json(DIGESTS, digests)
    write_atomically(SOURCE, f"{source}\n".encode())
    _cached.cache_clear()
    return differing(before, digests)


def ensure_current() -> None:
    """Probe the code if its source is not the one that the digests are of.

    An installed package cannot have changed; a checkout can.

    Raises:
        UserError: it has changed, and this is a stage of DVC or one of several processes.
    """
    if not (PACKAGE.parent / "pyproject.toml").exists() or is_current():
        return
    if "DVC_STAGE" in os.environ or started_by_torchrun():
        # DVC has noted what its stage depends on; and of many processes none may write.
        raise UserError(
            "the code is not the one that was probed; run `orc-repro probe`, then the same again"
        )
    say("note", "the code is not the one that was probed; probing it takes a minute")
    changed = probe()
    if changed:
        say("note", f"the code computes something else than before: {_some(changed)}")


def check_digests() -> None:
    """Run every probe and compare.

    Raises:
        UserError: the code computes something else than the digests say.
    """
    measured, kept = run_probes(), read_digests()
    changed = differing({name: kept.get(name, "") for name in measured}, measured)
    if changed:
        raise UserError(
            f"the code computes something else than {DIGESTS.name} says: {_some(changed)};"
            " run `dvc repro`"
        )


def differing(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """List the probes whose digests differ."""
    return sorted(k for k in before.keys() | after if before.get(k) != after.get(k))


def is_current() -> bool:
    """Tell whether the digests are of this source."""
    try:
        return DIGESTS.exists() and read_file(SOURCE).decode().strip() == source_digest()
    except (OSError, UnicodeDecodeError):
        return False


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
