"""Processors that are wider than others compute as those do, where results are to repeat."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

from orc_repro.config import load_params
from orc_repro.instructions import PORTABLE, is_portable, use_portable
from tests.project import ROOT

WIDE = torch.cpu._is_avx512_supported()
wide_only = pytest.mark.skipif(not WIDE, reason="this processor has no AVX-512 to keep from")

BEGIN = """
import json, os, sys
import torch
from orc_repro.instructions import PORTABLE, use_portable
"""
END = """
left = {name: os.environ[name] for name in PORTABLE if name in os.environ}
print(json.dumps([portable, torch.backends.cpu.get_cpu_capability(), left]))
"""


def fresh(script: str, **variables: str) -> tuple[bool | str, str, dict[str, str]]:
    """What a process of its own says: ``portable``, how wide it computes, and what is set."""
    clean = {name: value for name, value in os.environ.items() if name not in PORTABLE}
    out = subprocess.run(
        [sys.executable, "-c", BEGIN + script + END],
        cwd=ROOT,
        env=clean | variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    ).stdout
    portable, width, left = json.loads(out.splitlines()[-1])
    return portable, width, left


def test_exact_recipes_are_portable_and_fast_ones_are_not() -> None:
    exact = load_params().recipes["scaled"]
    assert is_portable(exact)
    for other in (
        {"deterministic": False},
        {"precision": "bf16"},
        {"network_precisions": {"resnet8": "bf16"}},
    ):
        assert not is_portable(exact.model_copy(update=other))


@wide_only
def test_a_wide_processor_computes_as_a_narrower_one() -> None:
    assert fresh("portable = use_portable()") == (True, "AVX2", PORTABLE)


@wide_only
def test_one_exact_recipe_decides_for_all_that_a_process_does() -> None:
    script = """
from orc_repro.config import load_params
from orc_repro.instructions import use_portable_for
exact = load_params().recipes["scaled"]
fast = exact.model_copy(update={"deterministic": False})
use_portable_for([fast, fast])
portable = bool(PORTABLE.keys() & os.environ.keys())
use_portable_for([fast, exact])
"""
    assert fresh(script) == (False, "AVX2", PORTABLE)


@wide_only
def test_a_process_that_has_computed_goes_on_as_it_was() -> None:
    script = "torch.zeros(3).exp(); portable = use_portable()"
    assert fresh(script) == (False, "AVX512", {})


@wide_only
def test_who_has_set_a_width_has_decided() -> None:
    wanted = {"ATEN_CPU_CAPABILITY": "avx512"}
    assert fresh("portable = use_portable()", **wanted) == (True, "AVX512", wanted)


def test_where_there_is_nothing_to_keep_from_nothing_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: False)
    for name in PORTABLE:
        monkeypatch.delenv(name, raising=False)
    assert use_portable() and not PORTABLE.keys() & os.environ.keys()


@wide_only
@pytest.mark.parametrize("width", ["", "avx512"])
def test_training_takes_the_width_of_its_recipe(width: str) -> None:
    script = """
from orc_repro.config import load_params
from orc_repro.stages.place import take_place
take_place("cpu", load_params().recipes["scaled"])
first = torch.backends.cpu.get_cpu_capability()
take_place("cpu", load_params().recipes["scaled"])
portable = first
"""
    variables = {"ATEN_CPU_CAPABILITY": width} if width else {}
    widths = "AVX512" if width else "AVX2"
    assert fresh(script, **variables)[:2] == (widths, widths)


@wide_only
def test_a_process_that_is_too_late_says_so() -> None:
    script = """
import contextlib, io
from orc_repro.config import load_params
from orc_repro.stages.place import take_place
torch.zeros(3).exp()
with contextlib.redirect_stderr(io.StringIO()) as said:
    take_place("cpu", load_params().recipes["scaled"])
portable = said.getvalue()
"""
    said, width, left = fresh(script)
    assert str(said).startswith("warning: this process has computed with AVX-512 before")
    assert (width, left) == ("AVX512", {})
