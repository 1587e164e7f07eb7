"""Previews of validation images in TensorBoard while models are trained, every few epochs."""

import abc
import functools
import io
from typing import Any

import keras
import numpy as np
from PIL import Image

from visem_tf.alignment.segments import find_segments
from visem_tf.decoding.captioner import Captioner
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.report.drawing import draw_regions
from visem_tf.report.tensorboard import write_captions, write_images
from visem_tf.runs.context import Context
from visem_tf.runs.generators import title_of
from visem_tf.runs.grounding import Grounder
from visem_tf.runs.query import ragged_ids, split_sentences
from visem_tf.text import Vocabulary

_IMAGES = 6


class _Preview(keras.callbacks.Callback, abc.ABC):
    """Writes a preview after the first epoch, and then every `report.every` epochs.

    Args:
        context: Context of the run.
    """

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.config = context.config
        self.every = context.config.report.every if context.is_chief else 0
        self.log_dir = context.run / "tensorboard"
        self.split = context.data.splits["val"]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes a preview if one is due."""
        if self.every and (epoch == 0 or (epoch + 1) % self.every == 0):
            self.write(epoch + 1)

    @abc.abstractmethod
    def write(self, epoch: int) -> None:
        """Writes a preview after an epoch, counted from 1."""


class AlignmentPreview(_Preview):
    """Draws the snippets of a sentence of each of the first validation images on their regions.

    Nothing is drawn for features that were computed elsewhere, without images.

    Args:
        context: Context of the run.
        cache: Regions of the validation images.
        vocabulary: Vocabulary of the run.
    """

    def __init__(self, context: Context, cache: FeatureCache, vocabulary: Vocabulary) -> None:
        super().__init__(context)
        images, first = np.unique(self.split.image_index, return_index=True)
        self._images = images[:_IMAGES]
        self._cache = cache
        self._vocabulary = vocabulary
        texts = [self.split.sentences[row] for row in first[:_IMAGES]]
        self._queries = split_sentences(texts, vocabulary, self.config.text.max_words)

    @functools.cached_property
    def _grounder(self) -> Grounder:
        return Grounder(self.model, self._vocabulary, self.config)

    @functools.cached_property
    def _encoded(self) -> list[tuple[int, bytes]]:
        return list(self.split.images_at(self._images))

    def write(self, epoch: int) -> None:
        """Aligns and draws."""
        if self.split.regions is not None:
            return
        token_ids = ragged_ids(self._queries)
        found = self._grounder.ground_split(self._cache, token_ids, self._images)
        drawn = {}
        for row, (image, encoded) in enumerate(self._encoded):
            words = self._queries[row].words
            _, first, last, _ = find_segments(found.regions[row : row + 1])
            texts = [" ".join(words[a : b + 1]) for a, b in zip(first, last, strict=True)]
            opened, boxes = Image.open(io.BytesIO(encoded)), found.boxes[row, first]
            name = self.split.file_names[image]
            drawn[name] = draw_regions(opened, boxes, texts, " ".join(words))
        write_images(self.log_dir, epoch, drawn, tag="alignment while training")


class CaptionPreview(_Preview):
    """Writes captions of the first validation images, or of their regions, by greedy search.

    Args:
        context: Context of the run.
        name: "regions", or one of `visem_tf.runs.generators.member_names`.
        cache: Regions of the validation images.
        vocabulary: Vocabulary of the generator.
    """

    def __init__(
        self, context: Context, name: str, cache: FeatureCache, vocabulary: Vocabulary
    ) -> None:
        super().__init__(context)
        count = min(_IMAGES, len(self.split.image_ids))
        self._regions = cache.gather(np.arange(count))
        self._name = name
        self._vocabulary = vocabulary
        self._names = self.split.file_names[:count]
        written = self.split.references()
        self._references = {
            name: written[self.split.image_ids[image]] for image, name in enumerate(self._names)
        }

    @functools.cached_property
    def _captioner(self) -> Captioner:
        return Captioner(self.model, self._vocabulary, self.config.generate, beam_size=1)

    def write(self, epoch: int) -> None:
        """Describes the images, or their regions."""
        features, mask = self._regions.region_features, self._regions.region_mask
        if self._name == "regions":
            rows, columns = np.nonzero(mask)
            texts, _ = self._captioner(features[rows, columns])
            captions = {
                name: "; ".join(dict.fromkeys(filter(None, np.array(texts)[rows == row])))
                for row, name in enumerate(self._names)
            }
            write_captions(self.log_dir, epoch, captions, tag="region texts while training")
            return
        texts, _ = self._captioner.describe_images(features, mask)
        owner = "" if self._name == "full_frame" else f" of {title_of(self._name)}"
        write_captions(
            self.log_dir,
            epoch,
            dict(zip(self._names, texts, strict=True)),
            self._references,
            tag=f"sentences{owner} while training",
        )
