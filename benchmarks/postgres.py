"""A PostgreSQL server of our own, for as long as a block lasts."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

PROGRAMS = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), None]
"""Where Debian puts the server's programs, which are not on the path; then the path."""
START_S = 300.0


def program(name: str) -> str | None:
    """The path of one of the server's programs."""
    for folder in PROGRAMS:
        found = shutil.which(name, path=None if folder is None else str(folder))
        if found:
            return found
    return None


def is_available() -> bool:
    """Whether the server and its driver are installed."""
    return program("initdb") is not None and find_spec("psycopg") is not None


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


@contextmanager
def server(databases: Sequence[str], *settings: str) -> Iterator[str]:
    """The address, for SQLAlchemy, of a server with empty databases; their name goes behind it.

    Args:
        settings: of the server, as ``max_connections=300``.
    """
    import psycopg

    folder, port = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp")), free_port()
    data = folder / "data"
    data.mkdir()
    # The server refuses to run as root.
    other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if other:
        shutil.chown(folder, "postgres")
        shutil.chown(data, "postgres")
    make = [*other, program("initdb"), "-D", data, "-A", "trust", "-U", "orc", "--no-locale",
            "-E", "UTF8"]  # fmt: skip
    subprocess.run([str(word) for word in make], check=True, capture_output=True, cwd=folder)
    serve = [*other, program("postgres"), "-D", data, "-p", port, "-h", "127.0.0.1", "-k", data]
    for setting in settings:
        serve += ["-c", setting]
    process = subprocess.Popen(
        [str(word) for word in serve], cwd=folder, stderr=subprocess.DEVNULL, start_new_session=True
    )
    plain = f"postgresql://orc@127.0.0.1:{port}"
    try:
        end = time.monotonic() + START_S
        while True:
            try:
                psycopg.connect(f"{plain}/postgres").close()
                break
            except psycopg.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
        with psycopg.connect(f"{plain}/postgres", autocommit=True) as connection:
            for database in databases:
                connection.execute(f'create database "{database}"')
        yield plain.replace("postgresql", "postgresql+psycopg", 1)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
