"""A split of a prepared set of photographs, opened for training and evaluation."""

from __future__ import annotations

from pathlib import Path

import torch

from orc_repro.config import ImagenetData, LoaderConfig, Params, Recipe
from orc_repro.data.crops import Photos, Views
from orc_repro.data.index import load_index
from orc_repro.data.photo_files import FilePhotos
from orc_repro.data.photo_manifest import PhotoManifest
from orc_repro.data.shards import ShardPhotos, planned_shards
from orc_repro.data.streaming import StreamedImages, Workers, available_workers
from orc_repro.errors import UserError
from orc_repro.project import PREPARED


def open_photos(
    params: Params, split: str, manifest: PhotoManifest, recipe: Recipe, device: torch.device
) -> StreamedImages:
    """What the manifest describes; ``params.yaml`` says where it lies and who reads it.

    Raises:
        UserError: an index or a shard is missing or damaged, ``params.yaml`` has another source
            for the dataset, or the recipe wants a crop that is none of photographs.
    """
    dataset = manifest.dataset
    config = params.data.get(dataset)
    if not isinstance(config, ImagenetData):
        raise UserError(
            f"{PREPARED / dataset} was prepared with source: imagenet, which params.yaml's"
            f" data.{dataset} does not have; run `orc-repro prepare {dataset}` again"
        )
    if recipe.augmentation.crop_padding:
        raise UserError(
            f"the recipe's augmentation.crop_padding is {recipe.augmentation.crop_padding}; it has"
            f" to be 0 for {dataset}, whose crops are data.{dataset}'s"
        )
    index = load_index(PREPARED / dataset, split, manifest)
    photos: Photos = FilePhotos(Path(config.root), index, dataset)
    if manifest.shard_side is not None:
        planned = planned_shards(split, index.sizes, index.sha256, manifest.shard_side)
        shards = [(shard, manifest.shards.get(shard.name, "")) for shard in planned]
        photos = ShardPhotos(Path(config.shards.root) / dataset, dataset, index.sizes, shards)
    return StreamedImages(
        photos, index.labels, _views(manifest, recipe), _workers(params.loader), device
    )


def _views(manifest: PhotoManifest, recipe: Recipe) -> Views:
    return Views(
        crop=manifest.crop,
        crop_area=manifest.crop_area,
        crop_ratio=manifest.crop_ratio,
        flip=recipe.augmentation.flip,
        resize=manifest.resize,
        mean=manifest.mean,
        std=manifest.std,
    )


def _workers(config: LoaderConfig) -> Workers:
    count = available_workers() if config.workers is None else config.workers
    return Workers(count, config.prefetch_batches)
