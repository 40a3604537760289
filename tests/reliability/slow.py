"""Runs a command of the project in which validating a network takes for ever."""

from __future__ import annotations

import sys
import time
from typing import Any

from orc_repro import interruption
from orc_repro.cli import main
from orc_repro.training import loop


def evaluate(*_: Any) -> Any:
    print("validating", flush=True)
    time.sleep(600)


if __name__ == "__main__":
    vars(loop)["evaluate"] = evaluate
    vars(interruption)["SAME_REQUEST_S"] = 2.0  # both signals, on a machine that others use too
    sys.argv = ["orc-repro", *sys.argv[1:]]
    main()
