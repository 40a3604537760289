"""Every benchmark in one process: ``python -m benchmarks.suite [rounds] [--peer-path FOLDER]``.

Writes ``reports/benchmarks/<device>.json`` and ``.md``. A ratio is that of fastest rounds, of
variants that took turns; what must hold and what is aimed at is for two CPU cores.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import asdict
from pathlib import Path

from benchmarks import data_path, kd, memory, orc_step
from benchmarks.group import DEVICE
from benchmarks.machine import Machine, measured
from benchmarks.rows import Row, table
from orc_repro.files import write_atomically, write_json
from orc_repro.project import REPORTS


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", nargs="?", type=int, default=8)
    parser.add_argument("--peer-path", type=Path, help="a checkout of RepDistiller")
    options = parser.parse_args()
    machine = measured(DEVICE)
    rows = [
        *data_path.measure(options.rounds),
        *orc_step.measure(options.rounds, machine),
        *kd.measure(options.rounds, options.peer_path),
        *memory.measure(),
    ]
    text = _page(machine, rows)
    name = re.sub(r"[^a-z0-9]+", "-", machine.device.lower()).strip("-")
    folder = REPORTS / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{name}.json", asdict(machine) | {"rows": [asdict(row) for row in rows]})
    write_atomically(folder / f"{name}.md", text.encode())
    print(text)


def _page(machine: Machine, rows: list[Row]) -> str:
    peaks = ", ".join(f"{kind} {flops / 1e9:,.0f}" for kind, flops in machine.gemm_flops.items())
    return (
        f"# Benchmarks on {machine.device}\n\n"
        f"torch {machine.torch}, Python {machine.python}, {machine.threads} threads; matrix"
        f" products {peaks} GFLOP/s, copies {machine.copy_bytes_per_second / 1e9:,.0f} GB/s, of the"
        " same run. Ratios are of the fastest rounds of variants that took turns; a *noisy* one"
        " had a median half as long again. `make bench` writes this page.\n\n" + table(rows)
    )


if __name__ == "__main__":
    main()
