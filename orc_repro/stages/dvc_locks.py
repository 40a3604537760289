"""What a killed DVC leaves behind, and DVC itself does not get over."""

from __future__ import annotations

import json
import time
from pathlib import Path

RWLOCK = Path(".dvc/tmp/rwlock")
UNCHANGED_S = 1.0  # DVC writes this file in milliseconds


def mend_rwlock(path: Path = RWLOCK) -> bool:
    """Remove DVC's list of who reads and writes what, if it is torn.

    DVC empties the file before it writes it anew: stopped in between, it leaves half of it, and
    refuses that from then on. What it said was of processes that ended; of others DVC will write
    it again. A file that changes while it is looked at is being written, and stays.

    Returns:
        whether there was something to mend.
    """
    before = _torn_since(path)
    if before is None:
        return False
    time.sleep(UNCHANGED_S)
    if _torn_since(path) != before:
        return False
    path.unlink(missing_ok=True)
    return True


def _torn_since(path: Path) -> int | None:
    try:
        since, content = path.stat().st_mtime_ns, path.read_bytes()
    except OSError:
        return None
    try:
        json.loads(content)
    except ValueError:  # not JSON, or not even text
        return since
    return None
