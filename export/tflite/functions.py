"""The functions of a TFLite file: everything but strings, with TFLite's builtin operators alone.

    prepare: a decoded picture of any size -> the square that the others take
    encode_frame: that square -> the CNN's vector of the whole frame (cheap)
    encode_image: that square -> all regions: boxes, vectors, embeddings
    greedy, beam: vectors of frames -> words; of all regions, for a generator that looks at them
    describe_regions, describe_regions_beam: vectors of regions -> words
    embed_text: token ids -> word embeddings
    score: embeddings of regions and words -> the scores of pictures with sentences

TFLite has no strings to speak of: a file `vocabulary.txt` turns ids to words and words to ids.
"""

from collections.abc import Callable, Collection
from typing import Any

import tensorflow as tf

from visem_tf.decoding.captioner import search_sentences
from visem_tf.models.cells import gru
from visem_tf.models.gru_sentence_encoder import GruSentenceEncoder
from visem_tf.models.sentence_encoder import SentenceEncoder
from visem_tf.models.words_in_context import WordsInContext
from visem_tf.regions.backbone import FEATURE_DIM
from visem_tf.regions.extractor import RegionExtractor
from visem_tf.regions.resample import crop_and_resize
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.text import PAD_ID

Outputs = dict[str, tf.Tensor]
Part = tuple[Callable[..., Outputs], list[tf.TensorSpec]]

_PARTS = 8192  # of a pixel

MODELS = {
    "encode_frame": "generate/full_frame",
    "greedy": "generate/full_frame",
    "beam": "generate/full_frame",
    "describe_regions": "generate/regions",
    "describe_regions_beam": "generate/regions",
    "embed_text": "align",
    "score": "align",
}
"""The model that each function needs; the others need none."""


class WholeNumberCrops(RegionExtractor):
    """Computes the samples of crops in whole numbers, which a full-integer conversion leaves alone.

    Coordinates of hundreds of pixels in 8 bits would be wrong by more than a pixel, and the crops
    beyond recognition.
    """

    def crop(self, pixels: tf.Tensor, boxes: tf.Tensor, size: int) -> tf.Tensor:
        """See `RegionExtractor.crop`."""
        return crop_and_resize(pixels, boxes, size, whole_number_weights)


def whole_number_weights(
    start: tf.Tensor, stop: tf.Tensor, length: tf.Tensor, size: int
) -> tf.Tensor:
    """See `visem_tf.regions.resample.triangle_weights`, from which this differs by rounding."""
    extent = tf.cast(length * _PARTS, tf.float32)
    first = tf.cast(start * extent, tf.int32)[..., tf.newaxis]  # [B, R, 1]
    step = (tf.cast(stop * extent, tf.int32)[..., tf.newaxis] - first) // size
    centres = first + (2 * tf.range(size) + 1) * step // 2  # [B, R, S]
    centres = tf.maximum(tf.minimum(centres, length * _PARTS - _PARTS // 2), _PARTS // 2)
    samples = tf.range(length) * _PARTS + _PARTS // 2
    difference = samples - centres[..., tf.newaxis]  # [B, R, S, length]
    distance = tf.maximum(difference, -difference)
    width = tf.maximum(step, _PARTS)[..., tf.newaxis]
    weights = tf.cast(tf.maximum(width - distance, 0), tf.float32) / _PARTS
    return weights / tf.reduce_sum(weights, axis=-1, keepdims=True)


class TfliteFunctions:
    """The functions of a run, traced for the converter.

    Args:
      run: A finished run. A model that it did not train leaves out the functions that need it.
      whole_number_crops: Whether crops are found as a full-integer conversion needs it.
    """

    def __init__(self, run: TrainedRun, *, whole_number_crops: bool = False) -> None:
        self.run = run
        self.extractor = (
            WholeNumberCrops(run.config.regions, run.run.tuned_cnn)
            if whole_number_crops
            else run.extractor
        )
        self.feature_dim = FEATURE_DIM
        self.left_out = {
            name: f"the run has no model {model}"
            for name, model in MODELS.items()
            if not run.has(model)
        }
        if run.has("generate/full_frame") and run.full_frame_generator.reads_regions:
            self.left_out["encode_frame"] = "the generator looks at the regions: use encode_image"
        """Functions that cannot be offered, with the reasons."""

    def parts(self) -> dict[str, Part]:
        """Functions by name, with their inputs in order."""
        size = self.run.config.regions.picture_size
        picture = tf.TensorSpec([None, None, None, 3], tf.float32, name="image")
        square = tf.TensorSpec([None, size, size, 3], tf.float32, name="image")
        frames = [tf.TensorSpec([None, self.feature_dim], tf.float32, name="image_features")]
        if "encode_frame" in self.left_out:
            frames = [
                tf.TensorSpec([None, None, self.feature_dim], tf.float32, name="region_features"),
                tf.TensorSpec([None, None], tf.bool, name="region_mask"),
            ]
        regions = tf.TensorSpec([None, self.feature_dim], tf.float32, name="region_features")
        token_ids = tf.TensorSpec([None, None], tf.int32, name="token_ids")
        parts: dict[str, Part] = {
            "prepare": (self._prepare, [picture]),
            "encode_frame": (self._encode_frame, [square]),
            "encode_image": (self._encode_image, [square]),
            "greedy": (self._search("full_frame_generator", 1), frames),
            "beam": (self._search("full_frame_generator", self._beam_size), frames),
            "describe_regions": (self._search("region_generator", 1), [regions]),
            "describe_regions_beam": (self._search("region_generator", self._beam_size), [regions]),
            "embed_text": (self._embed_text, [token_ids]),
            "score": (self._score, self._embeddings() if self.run.has("align") else []),
        }
        return {name: part for name, part in parts.items() if name not in self.left_out}

    def trace(self, names: Collection[str] | None = None) -> dict[str, Any]:
        """The functions, or those with some names, as concrete functions by name."""
        self._read_models()
        return {
            name: tf.function(function, input_signature=specs).get_concrete_function()
            for name, (function, specs) in self.parts().items()
            if names is None or name in names
        }

    @property
    def _beam_size(self) -> int:
        return self.run.config.generate.beam_size

    def _read_models(self) -> None:
        """Reads the weights before anything is traced, or graphs keep their first values."""
        for name, attribute in (
            ("align", "alignment_model"),
            ("generate/full_frame", "full_frame_generator"),
            ("generate/regions", "region_generator"),
        ):
            if self.run.has(name):
                getattr(self.run, attribute)

    def _prepare(self, image: tf.Tensor) -> Outputs:
        """Warps pictures [B, H, W, 3] in 0..255 to squares, as `warp_picture` does."""
        frame = tf.tile([[[0.0, 0.0, 1.0, 1.0]]], [tf.shape(image)[0], 1, 1])
        return {"image": crop_and_resize(image, frame, self.run.config.regions.picture_size)[:, 0]}

    def _encode_frame(self, image: tf.Tensor) -> Outputs:
        return {"image_features": self.extractor.describe_frames(image)}

    def _encode_image(self, image: tf.Tensor) -> Outputs:
        regions = self.extractor(image)
        outputs = {
            "boxes": regions.boxes,
            "region_features": regions.region_features,
            "region_scores": regions.scores,
            "region_mask": regions.region_mask,
        }
        if self.run.has("align"):
            outputs["region_embeddings"] = self.run.alignment_model.encode_regions(
                regions.region_features
            )
        return outputs

    def _search(self, generator: str, beam_size: int) -> Callable[[tf.Tensor], Outputs]:
        """Greedy search gives token_ids [B, L]; a beam [B, K, L], and log_probs [B] or [B, K]."""

        def search(features: tf.Tensor, region_mask: tf.Tensor | None = None) -> Outputs:
            model, settings = getattr(self.run, generator), self.run.config.generate
            inputs = features
            if region_mask is not None:
                inputs = model.inputs_of_pictures(features, region_mask)
            token_ids, log_probs = search_sentences(model, inputs, settings, beam_size)
            if beam_size == 1:
                token_ids, log_probs = token_ids[:, 0], log_probs[:, 0]
            return {"token_ids": token_ids, "log_probs": log_probs}

        return search

    def _embed_text(self, token_ids: tf.Tensor) -> Outputs:
        encoder = self.run.alignment_model.sentence_encoder
        return {
            "word_embeddings": embed_padded(encoder, token_ids),
            "word_mask": tf.not_equal(token_ids, PAD_ID),
        }

    def _score(
        self,
        region_embeddings: tf.Tensor,
        region_mask: tf.Tensor,
        word_embeddings: tf.Tensor,
        word_mask: tf.Tensor,
    ) -> Outputs:
        scores = self.run.alignment_model.score_embeddings(
            region_embeddings, word_embeddings, region_mask, word_mask
        )
        return {"scores": scores}

    def _embeddings(self) -> list[tf.TensorSpec]:
        embedding_dim = self.run.alignment_model.region_encoder.embedding_dim
        return [
            tf.TensorSpec([None, None, embedding_dim], tf.float32, name="region_embeddings"),
            tf.TensorSpec([None, None], tf.bool, name="region_mask"),
            tf.TensorSpec([None, None, embedding_dim], tf.float32, name="word_embeddings"),
            tf.TensorSpec([None, None], tf.bool, name="word_mask"),
        ]


def embed_padded(encoder: WordsInContext, token_ids: tf.Tensor) -> tf.Tensor:
    """What a sentence encoder gives, computed in the padding too.

    The encoder itself leaves padding out by operations that TFLite does not have. Here a step of a
    sentence that has ended, or (backwards) not begun, keeps the state zero.

    Args:
      encoder: The BRNN, or gated recurrent units.
      token_ids: int32 [N, T].

    Returns:
      float [N, T, D], zeros in the padding.
    """
    # Without `tf.newaxis`, which becomes an operation that TFLite has for few ranks only.
    mask = tf.expand_dims(tf.cast(tf.not_equal(token_ids, PAD_ID), tf.float32), 2)  # [N, T, 1]
    words = encoder.word_vectors(token_ids)  # x_t
    if isinstance(encoder, GruSentenceEncoder):
        step, share = _gru, 0.5
        inputs = encoder.forward_projection(words), encoder.backward_projection(words)
    elif isinstance(encoder, SentenceEncoder):
        step, share = _relu, 1.0
        inputs = (encoder.word_projection(words),) * 2  # e_t [N, T, H]
    else:
        raise TypeError(f"a {type(encoder).__name__} has no form for TFLite")
    forward = _recurrence(
        step, inputs[0], mask, encoder.forward_kernel, encoder.forward_bias, reverse=False
    )
    backward = _recurrence(
        step, inputs[1], mask, encoder.backward_kernel, encoder.backward_bias, reverse=True
    )
    return encoder.output_projection(share * (forward + backward)) * mask


def _relu(word: tf.Tensor, recurrent: tf.Tensor, hidden: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu(word + recurrent)


def _gru(word: tf.Tensor, recurrent: tf.Tensor, hidden: tf.Tensor) -> tf.Tensor:
    return gru.step(word, recurrent, (hidden,))[0]


def _recurrence(
    step_of: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor],
    words: tf.Tensor,
    mask: tf.Tensor,
    kernel: Any,
    bias: Any,
    *,
    reverse: bool,
) -> tf.Tensor:
    """h_t of words and of h W + b of the word before, or after; float [N, T, H]."""
    kernel, bias = tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias)
    steps, hidden_dim = tf.shape(words)[1], kernel.shape[0]
    column = tf.expand_dims(tf.range(steps), 1)  # [T, 1]

    def step(t: tf.Tensor, hidden: tf.Tensor, all_hidden: tf.Tensor) -> tuple[tf.Tensor, ...]:
        now = steps - 1 - t if reverse else t
        word, real = tf.gather(words, now, axis=1), tf.gather(mask, now, axis=1)
        hidden = step_of(word, tf.matmul(hidden, kernel) + bias, hidden) * real
        here = tf.cast(tf.equal(column, now), tf.float32)  # [T, 1]
        return t + 1, hidden, all_hidden + here * tf.expand_dims(hidden, 1)

    first = tf.zeros([tf.shape(words)[0], hidden_dim])
    return tf.while_loop(
        lambda t, *_: t < steps,
        step,
        (tf.constant(0), first, tf.zeros_like(words[:, :, :hidden_dim])),
        shape_invariants=(
            tf.TensorShape([]),
            tf.TensorShape([None, hidden_dim]),
            tf.TensorShape([None, None, hidden_dim]),
        ),
    )[2]
