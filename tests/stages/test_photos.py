"""Photographs through the stages: listed for DVC, prepared, opened, and part of who a run is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from orc_repro.config import ImagenetData, Params, load_params
from orc_repro.data.streaming import StreamedImages
from orc_repro.errors import UserError
from orc_repro.stages.jobs import Job
from orc_repro.stages.prepare import listing_of, prepare, refresh_listings, write_listing
from orc_repro.stages.run import manifest_of, open_split
from orc_repro.validation import parse
from orc_repro.yaml_files import read_yaml
from tests.data.made_photos import make_tree, photo_config, photo_entry, photo_params
from tests.project import ROOT

CPU = torch.device("cpu")


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(tmp_path)
    root = make_tree(Path("tree"), scale=0.1, odd=False)
    config = photo_config(root, crop=16, resize=20, shards={"root": "shards", "side": 20})
    return photo_params(config)


def changed(params: Params, **changes: Any) -> Params:
    config = params.data["photos"].model_copy(update=changes)
    return params.model_copy(update={"data": {"photos": config}})


@pytest.mark.parametrize("form", ["folder", "shards"])
def test_a_prepared_set_is_opened_as_the_manifest_says(params: Params, form: str) -> None:
    params = changed(params, form=form)
    manifest = prepare(params, "photos")
    assert manifest_of("photos") == manifest
    recipe = params.recipes["imagenet"]
    # What counts is what was prepared, until it is prepared anew.
    images = open_split(changed(params, crop=8), "photos", "train", manifest, recipe, CPU)
    assert isinstance(images, StreamedImages) and len(images) == manifest.count("train") == 16
    batch, labels = next(images.augmented_batches(3, torch.Generator().manual_seed(0)))
    assert batch.shape == (3, 3, 16, 16) and labels.dtype == torch.int64


def test_what_cannot_be_opened_is_one_sentence(params: Params) -> None:
    prepare(params, "photos")
    manifest = manifest_of("photos")
    recipe = params.recipes["imagenet"]
    padded = recipe.model_copy(
        update={"augmentation": params.recipes["cifar10-brief"].augmentation}
    )
    with pytest.raises(UserError, match="crop_padding is 4; it has to be 0 for photos"):
        open_split(params, "photos", "train", manifest, padded, CPU)
    others = params.model_copy(update={"data": {}})
    with pytest.raises(UserError, match=r"source: imagenet, which params\.yaml's"):
        open_split(others, "photos", "train", manifest, recipe, CPU)


def test_a_listing_is_written_and_kept_fresh(params: Params) -> None:
    jobs = [Job("studies/pools/photos/dvc.yaml:prepare@photos"), Job("dvc.yaml:report")]
    refresh_listings(params, jobs)
    first = listing_of("photos").read_bytes()
    assert listing_of("photos") == Path("data/listings/photos.json")
    prepare(params, "photos")
    Path("tree/train/n00001000/n00001000_0.JPEG").unlink()
    with pytest.raises(UserError, match=r"other files than data/listings/photos\.json says"):
        prepare(params, "photos")
    refresh_listings(params, jobs)
    assert listing_of("photos").read_bytes() != first
    assert prepare(params, "photos").count("train") < 16
    # Where the folder is not at hand, what was listed stands; who never listed is told.
    Path("tree").rename("elsewhere")
    refresh_listings(params, jobs)
    listing_of("photos").unlink()
    with pytest.raises(UserError, match="the image folder tree does not exist"):
        refresh_listings(params, jobs)


def test_other_sources_have_no_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params = load_params(ROOT / "params.yaml")
    assert write_listing(params, "digits") is None
    refresh_listings(params, [Job("dvc.yaml:prepare@digits")])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match=r"params\.yaml's data has no 'nothing'"):
        write_listing(params, "nothing")


def test_dvc_watches_a_listing_in_the_place_of_the_photographs() -> None:
    cells = read_yaml(ROOT / "studies/pools/imagenet/cells.yaml")
    assert cells["datasets"]["imagenet"] == {"input": "data/listings/imagenet.json"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"crop": 300}, "crop 300 is more than resize 256"),
        ({"shards": {"root": "x", "side": 200}}, "shards.side 200 is less than resize 256"),
        ({"crop_area": [1.0, 0.5]}, r"crop_area must ascend, got \[1.0, 0.5\]"),
        ({"crop_area": [0.0, 1.0]}, "crop_area.0 is 0.0; it must be above 0 and at most 1"),
        ({"form": "tar"}, "form is 'tar'; it must be 'folder' or 'shards'"),
        ({"mean": [0.5, 0.5]}, "mean"),
        ({"classes": 1}, "classes is 1; it must be at least 2 and at most 65536"),
        ({"workers": 3}, "unknown key workers"),
    ],
)
def test_what_params_may_not_say(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        parse(ImagenetData, photo_entry(Path("tree")) | changes, "test")


def test_a_listing_that_is_damaged_is_named(params: Params) -> None:
    write_listing(params, "photos")
    listing_of("photos").write_text('{"files": 3}')
    with pytest.raises(UserError, match=r"data/listings/photos\.json: bytes is missing"):
        prepare(params, "photos")
