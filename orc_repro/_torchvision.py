"""Importing torchvision also where its compiled operators do not fit the installed torch.

A torchvision wheel built for CUDA beside a torch built for the CPU cannot load its library, and
``import torchvision`` then stops at the first operator it wants to describe. Data sets, transforms
and classification networks need none of those operators, so declaring them is enough.
"""

from __future__ import annotations

import importlib
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from types import ModuleType

import torch

from orc_repro.errors import UserError

_LIBRARIES = ("_C", "_C_stable")  # to torchvision 0.28; from 0.29
# The operators that torchvision describes while it is being imported, loaded or not.
_OPERATORS = ("nms", "qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

# torch forgets a declaration when the Library object that made it is collected.
_declarations: list[torch.library.Library] = []


def import_torchvision() -> ModuleType:
    """The torchvision package; call it before any ``import torchvision...`` in a process.

    Changes nothing where torchvision's compiled library loads, and nothing on a second call.

    Raises:
        UserError: torchvision is not installed.
    """
    package = find_spec("torchvision")
    if package is None:
        raise UserError("torchvision is not installed; install it with: pip install torchvision")
    if not _declarations and not _operators_load(package):
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for operator in _OPERATORS:
            library.define(operator + _SCHEMA)  # type: ignore[no-untyped-call]
        _declarations.append(library)
    return importlib.import_module("torchvision")


def _operators_load(package: ModuleSpec) -> bool:
    folders = package.submodule_search_locations
    found = (PathFinder.find_spec(name, folders) for name in _LIBRARIES)
    compiled = next((library.origin for library in found if library is not None), None)
    if compiled is None:
        return False
    try:
        torch.ops.load_library(compiled)  # type: ignore[no-untyped-call]
    except OSError:
        return False
    return True
