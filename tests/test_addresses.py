"""Passwords and tokens stand in no message, whoever wrote it."""

from __future__ import annotations

import logging
import sys

import pytest

from orc_repro.addresses import (
    ADDRESSES,
    LONGEST_REASON,
    SECRETS,
    reason_of,
    redact_logs,
    redacted,
    shown,
)

SECRET = "geheim123"


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*ADDRESSES, *SECRETS):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("http://host:5000/path", "http://host:5000/path"),
        (f"http://user:{SECRET}@host:5000/path", "http://host:5000/path"),
        (f"http://user:a/b{SECRET}/c@host", "http://host"),
        (f"http://user:a@b{SECRET}@host", "http://host"),
        (f"http://user:a#b{SECRET}@host", "http://host"),
        (f"http://user:a?b{SECRET}@host", "http://***"),
        (f"https://{SECRET}@host", "https://host"),
        (f"https://host/?token={SECRET}&host=a", "https://host/?token=***&host=a"),
        (f"https://host/?{SECRET}", "https://host/?***"),
        (f"https://host/#{SECRET}", "https://host/"),
        (f"postgresql+psycopg://user:{SECRET}@host/db", "postgresql+psycopg://host/db"),
        (f"postgresql:///db?host=h&password={SECRET}", "postgresql:///db?host=h&password=***"),
        (f"postgresql://h/db?user=a@b&password={SECRET}", "postgresql://***"),
        (f"user:{SECRET}@host", "***@host"),
        ("sqlite:////home/me@work/x.db?timeout=5", "sqlite:////home/me@work/x.db?timeout=5"),
        ("./me@work", "./me@work"),
        ("databricks", "databricks"),
    ],
)
def test_an_address_is_shown_without_its_secrets(address: str, public: str) -> None:
    assert shown(address) == public
    assert shown(public) == public


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("http://u:ab/cd@host", "Port could not be cast to integer value as 'ab'"),
        ("http://u:ab/cd@host", "Invalid url: http://u:ab/cd@host/api/2.0"),
        ("http://u:ab%40cd@host", "login of ab@cd failed"),
        ("http://host/?token=ab.cd", "no such url: /?token=ab.cd/api/2.0"),
        ("http://ab.cd@host", "401 for http://ab.cd@host/api"),
        ("postgresql://h/db?password=ab.cd", "invalid dsn: password=ab.cd host=h"),
    ],
)
@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_URI", "ORC_SEARCH_STORAGE"])
def test_words_of_others_hold_no_piece_of_a_known_address(
    variable: str, address: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, address)
    assert not {"ab", "cd"} & set(redacted(text).replace("'", " ").replace("/", " ").split())
    assert "ab" not in redacted(text) and "cd" not in redacted(text)


def test_an_unknown_address_in_a_text_loses_its_password() -> None:
    text = f"(http://me:{SECRET}@host/x?access_token={SECRET}&page=2, postgres://:{SECRET}@h/d)"
    assert redacted(text) == "(http://host/x?access_token=***&page=2, postgres://h/d)"
    assert redacted(f"Invalid url: http://me:a/{SECRET}@host/api") == "Invalid url: http://host/api"
    assert redacted(f"port {SECRET} of", f"http://me:a/{SECRET}@host") == "port *** of"
    assert redacted("no address: a@b, c//d, e?f=g") == "no address: a@b, c//d, e?f=g"


def test_variables_that_hold_a_password_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        with monkeypatch.context() as patch:
            patch.setenv(name, SECRET)
            assert redacted(f"Bearer {SECRET}") == "Bearer ***"


def test_a_reason_is_redacted_before_it_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:{SECRET}@host")
    long = f"refused:\n  http://me:{SECRET}@host " + (LONGEST_REASON - 24) * "x" + SECRET
    text = reason_of(OSError(long))
    assert text.startswith("refused: http://host xxx")
    assert SECRET[:4] not in text
    assert reason_of(KeyError()) == "KeyError"


def test_logs_and_tracebacks_are_redacted(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    factory, hook = logging.getLogRecordFactory(), sys.excepthook
    monkeypatch.setattr("threading.excepthook", None)
    logger = logging.Logger("of a library")
    logger.addHandler(logging.StreamHandler(sys.stderr))
    try:
        redact_logs()
        error = OSError(f"GET https://me:{SECRET}@host failed")
        logger.warning("%s", error)
        logger.warning("%d", "no number")
        try:
            raise error
        except OSError:
            logger.exception("it failed")
            sys.excepthook(*sys.exc_info())
    finally:
        logging.setLogRecordFactory(factory)
        sys.excepthook = hook
    text = capsys.readouterr().err
    assert SECRET not in text and text.count("GET https://host failed") == 3
