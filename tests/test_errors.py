"""What is printed of an error or a warning is one line, whatever it quotes."""

from __future__ import annotations

import pytest

from orc_repro.errors import LONGEST_SENTENCE, UserError, say


def test_a_sentence_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    say("warning", "the library says:\n  no such\x1b[2J file\r\n")
    assert capsys.readouterr().err == "warning: the library says: no such?[2J file\n"


def test_an_error_is_one_line_wherever_it_is_quoted() -> None:
    assert str(UserError("no cell 'a\nb'")) == "no cell 'a b'"
    assert len(str(UserError(2 * LONGEST_SENTENCE * "x"))) <= LONGEST_SENTENCE + 1
