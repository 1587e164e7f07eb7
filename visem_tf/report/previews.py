"""Previews of validation images in TensorBoard while models are trained, every few epochs."""

import abc
import io
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from visem_tf.alignment.segments import find_segments
from visem_tf.decoding.captioner import Captioner
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.report.drawing import draw_regions
from visem_tf.report.tensorboard import write_captions, write_images
from visem_tf.runs.checkpoints import read_or_build_vocabulary
from visem_tf.runs.context import Context
from visem_tf.runs.generators import title_of
from visem_tf.runs.grounding import Grounder
from visem_tf.text import Vocabulary, tokenize

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
        token_ids: Int32 ragged tensor [S, (T)], the validation sentences.
    """

    def __init__(self, context: Context, cache: FeatureCache, token_ids: tf.RaggedTensor) -> None:
        super().__init__(context)
        images, first = np.unique(self.split.image_index, return_index=True)
        self._images, rows = images[:_IMAGES], first[:_IMAGES]
        self._cache = cache
        self._token_ids = tf.gather(token_ids, rows)
        words = tokenize(tf.constant([self.split.sentences[row] for row in rows]))
        self._words = [
            [word.decode() for word in sentence]
            for sentence in words[:, : self.config.text.max_words].to_list()
        ]
        self._vocabulary = read_or_build_vocabulary(context)
        self._grounder: Grounder | None = None
        self._encoded: dict[int, bytes] | None = None

    def write(self, epoch: int) -> None:
        """Aligns and draws."""
        if self.split.regions is not None:
            return
        if self._grounder is None or self._encoded is None:
            self._grounder = Grounder(self.model, self._vocabulary, self.config)
            self._encoded = dict(self.split.pictures_at(self._images))
        found = self._grounder.ground_split(self._cache, self._token_ids, self._images)
        drawn = {}
        for row, (image, words) in enumerate(zip(self._images.tolist(), self._words, strict=True)):
            _, first, last, _ = find_segments(found.regions[row : row + 1, : len(words)])
            texts = [" ".join(words[a : b + 1]) for a, b in zip(first, last, strict=True)]
            opened = Image.open(io.BytesIO(self._encoded[image]))
            boxes = found.boxes[row, first]
            drawn[self.split.file_names[image]] = draw_regions(
                opened, boxes, texts, " ".join(words)
            )
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
        self._captioner: Captioner | None = None
        self._names = self.split.file_names[:count]
        written = self.split.references()
        self._references = {
            name: written[self.split.image_ids[image]] for image, name in enumerate(self._names)
        }

    def write(self, epoch: int) -> None:
        """Describes the images, or their regions."""
        if self._captioner is None:
            settings = self.config.generate
            self._captioner = Captioner(self.model, self._vocabulary, settings, beam_size=1)
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
