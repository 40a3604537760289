"""Addresses of stores, and other programs' messages about them, without passwords and tokens."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from orc_repro.errors import one_line

HIDDEN = "***"
ADDRESSES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "ORC_SEARCH_STORAGE")
"""Environment variables that hold an address, which may hold a password."""
SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "PGPASSWORD")
"""Environment variables that hold a password or a token themselves."""
OF_FILES = ("sqlite", "file")
"""Schemes of addresses without a user: an ``@`` in them belongs to a path."""
PUBLIC = frozenset(
    {"host", "port", "dbname", "database", "sslmode", "charset", "timeout", "mode", "cache", "uri"}
)
"""Parameters of an address whose values are shown; the values of all others are hidden."""
LONGEST_REASON = 4000  # advice of MLflow alone takes 600 characters
SHORTEST = 2  # one letter of a password occurs everywhere
LONG = 6  # a secret of this length is hidden within longer words, too

_USER = re.compile(r"(?<=//)(?:[^\s/'\"]*:[^\s'\"]*|[^\s/'\"]*)@")
_PARAMETER = re.compile(
    r"([?&;][\w.-]*(?:token|passw|pwd|secret|key|auth|sig|cred)[\w.-]*=)[^\s&;'\")]+", re.IGNORECASE
)


class _Address(NamedTuple):
    scheme: str
    user: str
    path: str
    query: str


def shown(address: str) -> str:
    """Return an address without user, password, fragment and the values of other parameters."""
    scheme, user, path, query = _split(address)
    start = scheme if scheme or not user else f"{HIDDEN}@"
    parameters = [_shown_parameter(part) for part in re.split("([&;])", query)]
    return start + path + ("?" if query else "") + "".join(parameters)


def redacted(text: str, address: str = "") -> str:
    """Return a text without the secrets of an address, of this environment and in the text."""
    for secret in sorted({*_secrets_of(address), *_secrets()}, key=len, reverse=True):
        word = re.escape(secret)
        text = re.sub(word if len(secret) >= LONG else rf"(?<!\w){word}(?!\w)", HIDDEN, text)
    return _PARAMETER.sub(rf"\1{HIDDEN}", _USER.sub("", text))


def reason_of(error: BaseException, address: str = "") -> str:
    """Return another program's error as a part of a sentence, without secrets.

    It is whole but for the statement that SQLAlchemy adds, because advice often comes last.

    Args:
        error: what was raised.
        address: an address whose secrets it may quote, besides those of this environment.
    """
    text = re.split(r" \[SQL: | \(Background on ", " ".join(str(error).split()), maxsplit=1)[0]
    return one_line(redacted(text, address), LONGEST_REASON) or type(error).__name__


def redact_logs() -> None:
    """Redact what other packages log, and tracebacks of errors that nobody handles."""
    logging.setLogRecordFactory(_record)
    sys.excepthook, threading.excepthook = _show, _show_of_thread


def _record(*args: Any, **named: Any) -> logging.LogRecord:
    record = logging.LogRecord(*args, **named)
    with contextlib.suppress(TypeError, ValueError, KeyError):  # arguments that do not fit
        record.msg, record.args = redacted(record.getMessage()), ()
    if record.exc_info and record.exc_info[0]:
        record.exc_text = redacted("".join(traceback.format_exception(*record.exc_info))).rstrip()
    return record


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(redacted("".join(traceback.format_exception(kind, error, trace))))


def _show_of_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        _show(args.exc_type, args.exc_value, args.exc_traceback)


def _split(address: str) -> _Address:
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = "", address
    user = ""
    if scheme.partition("+")[0].lower() not in OF_FILES:
        # A password may hold any character, "@" and "/" included.
        user, _, rest = rest.rpartition("@")
        if not separator and ":" not in user:  # a path that holds an "@"
            user, rest = "", address
        if "?" in user:  # or an "@" in a parameter: which of the two it is, nobody can tell
            user, rest = f"{user}@{rest}", HIDDEN
        rest = rest.partition("#")[0]
    path, _, query = rest.partition("?")
    return _Address(scheme + separator, user, path, query)


def _shown_parameter(part: str) -> str:
    name, equals, _ = part.partition("=")
    if part in ("", "&", ";") or (equals and name.lower() in PUBLIC):
        return part
    return f"{name}={HIDDEN}" if equals else HIDDEN


def _secrets() -> Iterator[str]:
    for variable in ADDRESSES:
        yield from _secrets_of(os.environ.get(variable, ""))
    for variable in SECRETS:
        yield from _written(os.environ.get(variable, ""))


def _secrets_of(address: str) -> Iterator[str]:
    _, user, _, query = _split(address)
    name, colon, password = user.partition(":")
    yield from _written(password if colon else name)
    for part in re.split("[&;]", query):
        if (hidden := _shown_parameter(part)) != part:
            yield from _written(part if hidden == HIDDEN else part.partition("=")[2])


def _written(secret: str) -> Iterator[str]:
    """Every way in which a message may hold a secret: quoted or not, whole or in pieces."""
    plain = unquote(secret)
    ways = [secret, plain, quote(plain), quote(plain, safe="")]
    for separators in (r"[/?#]", r"[\s/?#@:&;=]"):
        ways += [piece for way in (secret, plain) for piece in re.split(separators, way)]
    return (way for way in ways if len(way) >= SHORTEST)
