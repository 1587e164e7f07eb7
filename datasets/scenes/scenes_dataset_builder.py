"""TFDS builder of `scenes`: images drawn from a seed, with sentences and boxes of phrases."""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from ..schema import features
from .grammar import Sentence, write_sentences
from .renderer import encode_jpeg, render
from .sampling import SPLITS, image_rng, sample_scene
from .visibility import find_visible


@dataclasses.dataclass(kw_only=True)
class ScenesConfig(tfds.core.BuilderConfig):
    """Number of images, and their seed.

    Attributes:
        train: Number of training images.
        val: Number of validation images.
        test: Number of test images.
        seed: Seed of all images. Configurations with one seed share the first images of each
            split.
        family_share: Share of the groups of four images that are families (see `sampling`).
    """

    train: int
    val: int
    test: int
    seed: int = 0
    family_share: float = 0.5


def make_example(config: ScenesConfig, split: str, index: int) -> dict[str, Any]:
    """Makes an image with its sentences, independently of all others.

    Args:
        config: Configuration of the dataset.
        split: "train", "val" or "test".
        index: Index of the image in its split.

    Returns:
        An example for `visem_tf.datasets.schema.features`.
    """
    scene = sample_scene(config.seed, split, index, config.family_share)
    view = find_visible(scene)
    sentences = write_sentences(scene, view, image_rng(config.seed, split, index, "text"))
    image_id = f"{split}_{index:05d}"
    return {
        "image_id": image_id,
        "file_name": f"{image_id}.jpg",
        "image": encode_jpeg(render(scene)),
        "sentences": [sentence.text for sentence in sentences],
        "phrases": _phrase_rows(sentences, len(scene.objects)),
    }


def _phrase_rows(sentences: list[Sentence], object_count: int) -> list[dict[str, Any]]:
    """Returns rows of the feature `phrases`; groups are numbered after the objects."""
    groups = sorted({p.objects for s in sentences for p in s.phrases if len(p.objects) > 1})
    numbers = {group: object_count + rank for rank, group in enumerate(groups)}
    return [
        {
            "sentence": np.int32(number),
            "first": np.int32(phrase.first),
            "last": np.int32(phrase.last),
            "text": phrase.text,
            "bbox": tfds.features.BBox(*phrase.box),
            "object": np.int32(numbers.get(phrase.objects, phrase.objects[0])),
            "type": "",
        }
        for number, sentence in enumerate(sentences)
        for phrase in sentence.phrases
    ]


class Builder(tfds.core.GeneratorBasedBuilder):
    """Builder of `scenes`, which needs no download and no source files.

    Example:
        ```python
        builder = Builder(data_dir=folder, config="smoke")
        builder.download_and_prepare()
        dataset = builder.as_dataset(split="train")
        ```
    """

    name = "scenes"
    pkg_dir_path = epath.Path(__file__).parent
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    DEFAULT_BUILDER_CONFIG_NAME = "default"
    BUILDER_CONFIGS: ClassVar[list[ScenesConfig]] = [
        ScenesConfig(
            name="smoke", description="A few images to try code on.", train=160, val=40, test=40
        ),
        ScenesConfig(
            name="default", description="Enough to learn from.", train=1500, val=200, test=200
        ),
        ScenesConfig(
            name="large", description="For longer runs.", train=20000, val=1000, test=1000
        ),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(features=features(), supervised_keys=None)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        del dl_manager  # nothing to download
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for index in range(getattr(self.builder_config, split)):
            example = make_example(self.builder_config, split, index)
            yield example["image_id"], example
