"""Pipelines as text: the ``dvc.yaml`` of a study or a pool.

Written, not templated by DVC, where DVC has no template: it cannot fill in a list of dependencies,
and a table's report depends on its own cells alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from orc_repro.cells import Cells
from orc_repro.fingerprint import CE_CODE, CODE, PHOTOS_CODE
from orc_repro.project import DEFAULT, LISTINGS, POOLS, evaluated, reports, trained

PREPARE = ("data/sources.py", "data/manifest.py", "data/prepared.py")
PREPARE_PHOTOS = (
    "data/index.py",
    "data/photo_manifest.py",
    "data/photo_set.py",
    "data/photo_tree.py",
    "data/photos.py",
    "data/shards.py",
)
PICTURES = ("roles", "classes")  # by study, below the reports
EVALUATE = (
    "data/manifest.py",
    "data/prepared.py",
    "models",
    "stages/evaluate.py",
    "training/evaluate.py",
)


def pipeline_of(folder: Path) -> Path:
    """Where a study's or pool's stages are; the default study's are the root's."""
    return Path("dvc.yaml") if folder.name == DEFAULT else folder / "dvc.yaml"


def pipeline_text(folder: Path, cells: Cells) -> str:
    """What is in a study's or pool's ``dvc.yaml``."""
    text = _stages(folder, _has_photos(cells)) if cells.datasets else "stages:\n"
    if POOLS not in folder.parts:
        text += _report(folder, cells)
    if folder.name == DEFAULT:
        shown = reports(DEFAULT).as_posix()
        pictures = [f"{shown}/figures", *(f"{shown}/{kind}/{DEFAULT}" for kind in PICTURES)]
        text += "\n".join(["", "plots:", *(f"  - {path}" for path in pictures), ""])
    return text


OWN_RECIPE = "recipes.${item.recipe}"


def _stages(folder: Path, photos: bool) -> str:
    """``prepare``, ``pretrain``, ``assist``, ``train`` and ``evaluate`` over a ``cells.yaml``.

    ``photos``: whether a dataset's images are read while training goes on, by code of their own.
    """
    prepare = (*PREPARE, *(PREPARE_PHOTOS if photos else ()))
    code = (*CODE, *(PHOTOS_CODE if photos else ()))
    evaluate = (*EVALUATE, *(PHOTOS_CODE if photos else ()))
    cells, name = (folder / "cells.yaml").as_posix(), folder.name
    study, results = _study(folder), trained(name).as_posix()
    return "\n".join(
        [
            "vars:",
            f"  - {cells if name == DEFAULT else 'cells.yaml'}",
            "",
            "stages:",
            *_foreach(
                folder,
                "prepare",
                "datasets",
                f"prepare ${{key}}{study}",
                deps=(*_code(prepare), "${item.input}"),
                params=["data.${key}"],
                outs=["data/prepared/${key}"],
            ),
            *_foreach(
                folder,
                "pretrain",
                "pivots",
                f"pretrain ${{key}}{study}",
                deps=(*_code([*code, CE_CODE]), "data/prepared/${item.dataset}"),
                params=[OWN_RECIPE],
                entry=f"{cells}: pivots.${{key}}",
                outs=["weights/pivots/${key}.safetensors"],
                kept=[f"{results}/${{key}}.json"],
            ),
            *_taught(
                folder, "assist", "assistants", code, ["weights/assistants/${key}.safetensors"]
            ),
            *_taught(
                folder, "train", "cells", code, ["weights/cells/${key}", "roles/${key}.parquet"]
            ),
            *_foreach(
                folder,
                "evaluate",
                "cells",
                f"evaluate ${{key}}{study}",
                deps=(
                    *_code(evaluate),
                    "data/prepared/${item.dataset}",
                    f"{results}/${{key}}.json",
                    "weights/cells/${key}",
                    "${item.starts_from}",
                ),
                kept=[f"{evaluated(name).as_posix()}/${{key}}.json"],
            ),
            "",
        ]
    )


def _taught(
    folder: Path, stage: str, entries: str, code: Iterable[str], outs: Iterable[str]
) -> list[str]:
    """``assist`` or ``train``: what a method trains in a group."""
    return _foreach(
        folder,
        stage,
        entries,
        f"{stage} ${{key}}{_study(folder)}",
        deps=(*_trained_from(code), "data/prepared/${item.dataset}", "${item.starts_from}"),
        params=["groups.${item.group}", "methods.${item.method}", OWN_RECIPE],
        entry=f"{(folder / 'cells.yaml').as_posix()}: {entries}.${{key}}",
        outs=outs,
        kept=[f"{trained(folder.name).as_posix()}/${{key}}.json"],
    )


def _study(folder: Path) -> str:
    """The option that names a study; the default one needs none."""
    return "" if folder.name == DEFAULT else f" --study {folder.as_posix()}"


def _report(folder: Path, cells: Cells) -> str:
    """``report``, which depends on the results of the study's own cells and on no others."""
    shown = reports(folder.name).as_posix()
    study = _study(folder)
    results = [
        f"{where(cell.study).as_posix()}/{key}.json"
        for key, cell in cells.cells.items()
        for where in (trained, evaluated)
    ]
    lines = [
        "report:",
        *_wdir(folder),
        f"  cmd: python -m orc_repro report{study}",
        "  deps:",
        *_items(["orc_repro/published", "orc_repro/report", "orc_repro/stages/report.py"]),
        *_items([f"{folder.as_posix()}/{name}" for name in ("study.yaml", "cells.yaml")]),
        *_items(results),
        "  outs:",
        *_kept([f"{shown}/table.md", f"{shown}/table.csv", f"{shown}/figures"]),
        "  metrics:",
        *_kept([f"{shown}/summary.json"]),
    ]
    return "\n".join(f"  {line}" for line in lines) + "\n"


def _has_photos(cells: Cells) -> bool:
    """Their files are listed for DVC."""
    return any(Path(dataset.input).parent == LISTINGS for dataset in cells.datasets.values())


def _trained_from(code: Iterable[str]) -> tuple[str, ...]:
    return (*_code(code), "${item.code}")


def _code(parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"orc_repro/{part}" for part in parts)


def _wdir(folder: Path) -> list[str]:
    if folder.name == DEFAULT:
        return []
    return [f"  wdir: {'/'.join('..' for _ in folder.parts)}"]


def _items(paths: Iterable[str]) -> list[str]:
    return [f"    - {path}" for path in paths]


def _kept(paths: Iterable[str]) -> list[str]:
    """Outputs that are in git instead of DVC's cache."""
    return [line for path in paths for line in (f"    - {path}:", "        cache: false")]


def _foreach(
    folder: Path,
    stage: str,
    over: str,
    command: str,
    *,
    deps: Iterable[str],
    params: Iterable[str] = (),
    entry: str = "",
    outs: Iterable[str] = (),
    kept: Iterable[str] = (),
) -> list[str]:
    lines = [
        *_wdir(folder),
        f"  cmd: python -m orc_repro {command}",
        "  deps:",
        *_items(deps),
    ]
    if params:
        lines += ["  params:", *_items(params)]
    if entry:
        path, _, key = entry.partition(": ")
        lines += [f"    - {path}:", f"        - {key}"]
    lines += ["  outs:", *_items(outs), *_kept(kept)]
    body = "\n".join(f"    {line}" for line in lines)
    return [f"  {stage}:", f"    foreach: ${{{over}}}", "    do:", body, ""]
