"""Give the user a name where the system has none, as in a container started with any number."""

from __future__ import annotations

import getpass
import os


def name_user() -> None:
    """Set ``LOGNAME`` for this process and its children, if the user has no name.

    DVC, MLflow and torch ask for a name, and fail where the user's number is in no list.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):  # OSError since Python 3.13
        os.environ["LOGNAME"] = f"user-{os.getuid()}"
