"""Spoil the files of every reader for some time: ``python -m tests.hostile.fuzz --seconds 60``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.hostile.readers import Reader, readers


def inputs(seed: int, every: list[Reader]) -> Iterator[tuple[Reader, bytes]]:
    """Yield a reader and a content, without end; the same ones for the same seed."""
    draw = Random(seed)
    while True:
        for one in every:
            yield one, one.spoil(draw)


def main() -> None:
    """Try inputs until the time is over or one of them breaks a promise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="of a former run, to repeat it")
    options = parser.parse_args()
    seed = int.from_bytes(os.urandom(4), "big") if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    tried, accepted = Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        around = Path(folder)
        project = around / "project"
        project.mkdir()
        os.chdir(project)
        end = time.monotonic() + options.seconds
        for one, content in inputs(seed, readers(project)):
            if time.monotonic() > end:
                break
            try:
                accepted[one.name] += one.try_one(content, project, around)
            except BaseException:
                kept = Path(tempfile.mkdtemp()) / Path(one.path).name
                kept.write_bytes(content)
                print(f"seed {seed}: {one.name} breaks its promise with {kept}", file=sys.stderr)
                raise
            tried[one.name] += 1
    for name, count in sorted(tried.items()):
        print(f"{name}: {count} inputs, {accepted[name]} accepted")


if __name__ == "__main__":
    main()
