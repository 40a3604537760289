"""The digests, the source they are of, and what depends on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orc_repro.cells import load_study
from orc_repro.errors import UserError
from orc_repro.probes import behaviour
from orc_repro.probes.behaviour import (
    check_digests,
    digests_of,
    ensure_current,
    probe,
    read_digests,
    run_probes,
    source_digest,
)
from orc_repro.probes.entries import behaviour_of
from orc_repro.probes.run import rounded
from orc_repro.stages.identity import Identity
from tests.project import ROOT
from tests.tracking import made_runs


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of one module in a checkout, whose one probe hashes that module."""
    folder = tmp_path / "orc_repro"
    folder.mkdir()
    (folder / "a.py").write_text("first")
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(behaviour, "PACKAGE", folder)
    monkeypatch.setattr(behaviour, "DIGESTS", folder / "probes.json")
    monkeypatch.setattr(behaviour, "SOURCE", folder / "probed_source.txt")
    monkeypatch.setattr(behaviour, "source_digest", lambda: source_digest(folder))
    monkeypatch.setattr(
        behaviour, "run_probes", lambda: {"method/ce": (folder / "a.py").read_text().strip(" #")}
    )
    return folder


def test_probing_writes_digests_that_a_change_of_text_leaves_as_they_are(package: Path) -> None:
    assert probe() == ["method/ce"]
    before = (package / "probes.json").read_bytes()
    (package / "a.py").write_text("first #")
    assert not behaviour.is_current()
    ensure_current()
    assert behaviour.is_current()
    assert (package / "probes.json").read_bytes() == before


def test_a_change_of_behaviour_is_told(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    probe()
    (package / "a.py").write_text("second")
    with pytest.raises(UserError, match=r"something else .* method/ce; run `dvc repro`"):
        check_digests()
    ensure_current()
    assert "method/ce" in capsys.readouterr().err
    assert read_digests(package / "probes.json") == {"method/ce": "second"}
    check_digests()


def test_an_installed_package_is_not_probed(package: Path) -> None:
    (package.parent / "pyproject.toml").unlink()
    ensure_current()
    assert not (package / "probes.json").exists()


def test_a_missing_or_damaged_file_of_digests_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `orc-repro probe`"):
        read_digests(tmp_path / "probes.json")
    (tmp_path / "probes.json").write_text("[]")
    with pytest.raises(UserError, match="damaged; run `orc-repro probe`"):
        read_digests(tmp_path / "probes.json")
    with pytest.raises(UserError, match="no digest of method/nothing"):
        digests_of(["method/nothing"])
    with pytest.raises(UserError, match="there is no probe 'method/nothing'"):
        run_probes(["method/nothing"])


def test_numbers_are_rounded_to_six_digits() -> None:
    assert rounded({"a": [1.23456749, 123456.74, 1e-12]}) == {"a": ["1.23457", "123457", "0"]}
    assert rounded([True, 3, None, "x", float("nan")]) == [True, 3, None, "x", "nan"]


@pytest.fixture
def run(tmp_path: Path) -> Identity:
    """A run of ORC."""
    return made_runs.identity(made_runs.manifest(tmp_path))


@pytest.mark.parametrize(
    "names",
    [
        {"study": "other"},
        {"key": "other"},
        {"experiment": "other"},
        {"dataset": "other"},
        {"group_name": "other"},
        {"recipe_name": "other"},
        {"method_name": "other"},
        {"command": "other"},
    ],
    ids=lambda names: next(iter(names)),
)
def test_a_name_is_a_label(run: Identity, names: dict[str, str]) -> None:
    renamed = replace(run, **names)  # type: ignore[arg-type]
    assert (renamed.fingerprint, renamed.row) == (run.fingerprint, run.row)


def test_a_dataset_under_another_name_is_the_same_content(run: Identity) -> None:
    renamed = replace(run, manifest=replace(run.manifest, dataset="other", version="other"))
    assert renamed.fingerprint == run.fingerprint
    moved = replace(run.manifest, mean=tuple(value / 2 for value in run.manifest.mean))
    assert replace(run, manifest=moved).fingerprint != run.fingerprint


def test_content_is_part_of_the_fingerprint(run: Identity) -> None:
    recipe = run.recipe.model_copy(update={"batch_size": run.recipe.batch_size + 1})
    others = [
        replace(run, seed=1),
        replace(run, starts_from="ab" * 32),
        replace(run, recipe=recipe),
        replace(run, method=made_runs.PARAMS.methods["orc-mean"]),
        replace(run, group=made_runs.PARAMS.groups["r20-r8"]),
        replace(run, stage="assist"),
    ]
    assert len({other.fingerprint for other in [run, *others]}) == 1 + len(others)


def test_what_the_code_computes_is_part_of_the_fingerprint_where_it_is_used(
    run: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_changed(name: str) -> str:
        changed = digests | {name: "another"}
        monkeypatch.setattr(
            "orc_repro.stages.identity.digests_of", lambda names: {n: changed[n] for n in names}
        )
        return run.fingerprint

    digests, before = read_digests(), run.fingerprint
    for used in ("method/orc", "network/resnet56", "augmentation/flip", "recipe/fast"):
        assert with_changed(used) != before
    for unused in ("method/kd", "method/orc+promotion.top_k=2", "network/vgg8", "photos/folder"):
        assert with_changed(unused) == before


def test_entries_of_a_study_change_with_the_probes_that_they_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    study = load_study()
    before, digests = behaviour_of(study), read_digests()

    def changed_by(name: str) -> set[str]:
        changed = digests | {name: "another"}
        monkeypatch.setattr(
            "orc_repro.probes.entries.digests_of", lambda names: {n: changed[n] for n in names}
        )
        after = behaviour_of(study)
        return {
            f"{stage}@{key}"
            for stage, entries in before.items()
            for key, value in entries.items()
            if after[stage][key] != value
        }

    assert changed_by("method/orc") == {f"train@digits-r20-r8-orc-s{seed}" for seed in range(3)}
    assert changed_by("stage/pretrain") == {"pretrain@digits-resnet20-digits-s0"}
    assert changed_by("prepare/digits") == {"prepare@digits"}
    assert changed_by("network/vgg8") == set()
    assert {key.partition("@")[0] for key in changed_by("stage/evaluate")} == {"evaluate"}
