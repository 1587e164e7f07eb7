"""What TensorBoard shows while models learn: the same few validation pictures, every few epochs."""

import abc
import io
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from visem_tf.alignment.mrf import smooth_alignment
from visem_tf.alignment.segments import find_segments
from visem_tf.decoding.captioner import Captioner
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.report.tensorboard import AlignedPicture, write_alignment_pictures, write_captions
from visem_tf.runs.context import Context
from visem_tf.runs.generators import title_of
from visem_tf.text import PAD_ID, Vocabulary, tokenize

_PICTURES = 6


class _Watch(keras.callbacks.Callback, abc.ABC):
    """Does something after the first epoch, and then every `report.every` epochs."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context
        self.log_dir = context.run / "tensorboard"

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes, if it is time to."""
        every = self.context.config.report.every if self.context.is_chief else 0
        if every and (epoch == 0 or (epoch + 1) % every == 0):
            self.write(epoch + 1)

    @abc.abstractmethod
    def write(self, epoch: int) -> None:
        """Writes what the model makes of the pictures after an epoch, counted from 1."""


class AlignmentWatch(_Watch):
    """Draws the snippets of a sentence of each of the first validation pictures on their regions.

    Args:
      context: Of the run.
      cache: The validation pictures' regions.
      token_ids: int32 [S, (T)], the validation sentences.
    """

    def __init__(self, context: Context, cache: FeatureCache, token_ids: tf.RaggedTensor) -> None:
        super().__init__(context)
        split = context.data.splits["val"]
        images, first = np.unique(split.image_index, return_index=True)
        self._images, self._rows = images[:_PICTURES], first[:_PICTURES]
        self._regions = cache.gather(self._images)
        self._token_ids = tf.gather(token_ids, self._rows).to_tensor(PAD_ID)
        sentences = tf.constant([split.sentences[row] for row in self._rows])
        self._words = [
            [word.decode() for word in words][: context.config.text.max_words]
            for words in tokenize(sentences).to_list()
        ]
        self._pictures: list[bytes] | None = None
        self._align: Any = None

    def write(self, epoch: int) -> None:
        """Aligns and draws; nothing where features were computed elsewhere, without pictures."""
        if self.context.data.splits["val"].regions is not None:
            return
        if self._align is None:
            self._align = _alignment_of(self.model, self.context.config.infer.beta)
        found = self._align(
            tf.constant(self._regions.region_features),
            tf.constant(self._regions.region_mask),
            self._token_ids,
        ).numpy()
        if self._pictures is None:
            self._pictures = _encoded(self.context, self._images)
        names = self.context.data.splits["val"].file_names
        drawn = []
        for row, encoded in enumerate(self._pictures):
            words = self._words[row]
            _, first, last, region = find_segments(found[row : row + 1, : len(words)])
            drawn.append(
                AlignedPicture(
                    names[self._images[row]],
                    Image.open(io.BytesIO(encoded)),
                    self._regions.boxes[row, region],
                    [" ".join(words[a : b + 1]) for a, b in zip(first, last, strict=True)],
                    " ".join(words),
                )
            )
        write_alignment_pictures(self.log_dir, epoch, drawn, tag="alignment while training")


class SentenceWatch(_Watch):
    """Writes what a generator says of the first validation pictures, or of their regions.

    Args:
      context: Of the run.
      name: "regions", or of `visem_tf.runs.generators.member_names`.
      cache: The validation pictures' regions.
      vocabulary: The generator's words.
    """

    def __init__(
        self, context: Context, name: str, cache: FeatureCache, vocabulary: Vocabulary
    ) -> None:
        super().__init__(context)
        split = context.data.splits["val"]
        self._images = np.arange(min(_PICTURES, len(split.image_ids)))
        self._regions = cache.gather(self._images)
        self._name = name
        self._vocabulary = vocabulary
        self._captioner: Captioner | None = None
        written = split.references()
        self._names = [split.file_names[image] for image in self._images]
        self._references = {
            split.file_names[image]: written.get(split.image_ids[image], [])
            for image in self._images
        }

    def write(self, epoch: int) -> None:
        """Describes greedily."""
        settings = self.context.config.generate
        if self._captioner is None:
            self._captioner = Captioner(self.model, self._vocabulary, settings, beam_size=1)
        features, mask = self._regions.region_features, self._regions.region_mask
        if self._name != "regions":
            texts, _ = self._captioner.describe_images(features, mask)
            said = dict(zip(self._names, texts, strict=True))
            whose = "" if self._name == "full_frame" else f" of {title_of(self._name)}"
            tag = f"sentences{whose} while training"
            write_captions(self.log_dir, epoch, said, self._references, tag=tag)
            return
        rows, columns = np.nonzero(mask)
        texts, _ = self._captioner(features[rows, columns])
        by_picture: dict[str, str] = {}
        for row, name in enumerate(self._names):
            own = [text for text, of in zip(texts, rows, strict=True) if of == row]
            by_picture[name] = "; ".join(dict.fromkeys(filter(None, own)))
        write_captions(self.log_dir, epoch, by_picture, tag="region texts while training")


def _alignment_of(model: keras.Model, beta: float) -> Any:
    """A compiled function: features, mask and token ids to the region of every word."""

    @tf.function(reduce_retracing=True)
    def align(features: tf.Tensor, mask: tf.Tensor, token_ids: tf.Tensor) -> tf.Tensor:
        similarities = model.word_region_similarities(
            {"region_features": features, "region_mask": mask, "token_ids": token_ids}
        )
        return smooth_alignment(similarities, tf.not_equal(token_ids, PAD_ID), mask, beta=beta)

    return align


def _encoded(context: Context, images: np.ndarray) -> list[bytes]:
    """Some pictures of the validation split, encoded."""
    wanted = set(images.tolist())
    pictures = context.data.splits["val"].pictures().take(int(max(images, default=-1)) + 1)
    return [
        encoded
        for position, encoded in enumerate(pictures.as_numpy_iterator())
        if position in wanted
    ]
