"""``python -m orc_repro``: the same commands as ``orc-repro``."""

from orc_repro.cli import main

main()
