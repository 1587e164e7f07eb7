"""The functions of a TFLite file, made of TFLite's builtin operators alone.

    prepare: a decoded image of any size -> the square that the other functions take
    encode_frame: a square -> the CNN's vector of the whole frame (cheap)
    encode_image: a square -> all regions: boxes, vectors, embeddings
    encode_frame_1, encode_image_1, greedy_1: the same for one image, without unknown sizes
    greedy, beam: vectors of frames, or of all regions for a generator that attends -> token ids
    describe_regions, describe_regions_beam: vectors of regions -> token ids
    attention: vectors of all regions and the token ids of captions -> weights of the regions
    embed_text: token ids -> word embeddings
    score: embeddings of regions and words -> scores of images with sentences
    fit_texts: embeddings of regions and the token ids of a text for each -> how well they fit

TFLite has hardly any operators on strings: the file `vocabulary.txt` maps token ids to words.
"""

import functools
from collections.abc import Callable, Collection
from typing import Any

import tensorflow as tf

from visem_tf.alignment.scores import word_region_similarities
from visem_tf.decoding import RerankedModel
from visem_tf.decoding.captioner import attending_member, search_sentences
from visem_tf.export.description import REQUIRED_MODELS, read_models
from visem_tf.export.tflite.recurrence import attend_padded, embed_padded
from visem_tf.regions.extractor import RegionExtractor
from visem_tf.regions.resample import crop_and_resize
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.text import END_ID, PAD_ID

Outputs = dict[str, tf.Tensor]
Function = tuple[Callable[..., Outputs], list[tf.TensorSpec]]

FUNCTIONS = (
    "prepare",
    "encode_frame",
    "encode_image",
    "greedy",
    "beam",
    "describe_regions",
    "describe_regions_beam",
    "attention",
    "embed_text",
    "score",
    "fit_texts",
)
ONE_IMAGE = ("encode_frame", "encode_image", "greedy")
"""Functions that are offered for one image, too, so that the sizes of all their tensors are known.

The beam search is not among them: only its unfinished sentences take part in a step.
"""

_PARTS = 8192  # of a pixel


def of_one_image(name: str) -> str:
    """Returns the name of a function's form for one image."""
    return f"{name}_1"


class WholeNumberCrops(RegionExtractor):
    """Computes the samples of crops in whole numbers, which a full-integer conversion keeps.

    Coordinates of hundreds of pixels would be wrong by more than a pixel in 8 bits.
    """

    def crop(self, pixels: tf.Tensor, boxes: tf.Tensor, size: int) -> tf.Tensor:
        """See `RegionExtractor.crop`."""
        return crop_and_resize(pixels, boxes, size, whole_number_weights)


def whole_number_weights(
    start: tf.Tensor, stop: tf.Tensor, length: tf.Tensor, size: int
) -> tf.Tensor:
    """Computes `visem_tf.regions.resample.triangle_weights`, up to rounding."""
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
        run: A finished run. Functions that need a model which it lacks are left out.
        whole_number_crops: Whether crops are computed as a full-integer conversion needs it.

    Attributes:
        left_out: Functions that are not offered, and the reasons.

    Raises:
        UserError: The run has no model.
    """

    def __init__(self, run: TrainedRun, *, whole_number_crops: bool = False) -> None:
        read_models(run)
        self.run = run
        self.extractor = run.extractor
        if whole_number_crops:
            self.extractor = WholeNumberCrops(run.config.regions, run.run.region_weights)
        self.left_out = {
            name: f"the run has no model {REQUIRED_MODELS[name]}"
            for name in FUNCTIONS
            if name in REQUIRED_MODELS and not run.has(REQUIRED_MODELS[name])
        }
        if "encode_frame" not in self.left_out and run.full_frame_generator.reads_regions:
            self.left_out["encode_frame"] = "the generator attends to regions: use encode_image"
        if "attention" not in self.left_out and attending_member(run.full_frame_generator) is None:
            self.left_out["attention"] = "the generator does not attend to regions"

    def trace(self, names: Collection[str] | None = None) -> dict[str, Any]:
        """Returns the functions with the given names, or all, as concrete functions by name."""
        return {
            name: tf.function(function, input_signature=specs).get_concrete_function()
            for name, (function, specs) in self._functions().items()
            if names is None or name in names
        }

    def _functions(self) -> dict[str, Function]:
        """Returns the functions that are offered, with the specifications of their inputs."""
        size = self.run.config.regions.picture_size
        image = [tf.TensorSpec([None, None, None, 3], name="image")]
        square = [tf.TensorSpec([None, size, size, 3], name="image")]
        frames = [tf.TensorSpec([None, self.extractor.feature_dim], name="image_features")]
        all_regions = [
            tf.TensorSpec([None, None, self.extractor.feature_dim], name="region_features"),
            tf.TensorSpec([None, None], tf.bool, name="region_mask"),
        ]
        if "encode_frame" in self.left_out:
            frames = all_regions
        regions = [tf.TensorSpec([None, self.extractor.feature_dim], name="region_features")]
        token_ids = [tf.TensorSpec([None, None], tf.int32, name="token_ids")]
        functions: dict[str, Function] = {
            "prepare": (self._prepare, image),
            "encode_frame": (self._encode_frame, square),
            "encode_image": (self._encode_image, square),
            "greedy": (self._search("full_frame_generator", beam=False), frames),
            "beam": (self._search("full_frame_generator", beam=True), frames),
            "describe_regions": (self._search("region_generator", beam=False), regions),
            "describe_regions_beam": (self._search("region_generator", beam=True), regions),
            "attention": (self._attention, all_regions + token_ids),
            "embed_text": (self._embed_text, token_ids),
        }
        if self.run.has("align"):
            dim = self.run.alignment_model.region_encoder.embedding_dim
            embeddings = [tf.TensorSpec([None, dim], name="region_embeddings")]
            functions["score"] = self._score, _embeddings(dim)
            functions["fit_texts"] = self._fit_texts, embeddings + token_ids
        offered = {name: each for name, each in functions.items() if name not in self.left_out}
        for name in ONE_IMAGE:
            if name in offered:
                function, specs = offered[name]
                offered[of_one_image(name)] = function, [self._of_one_image(spec) for spec in specs]
        return offered

    def _of_one_image(self, spec: tf.TensorSpec) -> tf.TensorSpec:
        """The specification of an input [B, …] or [B, R, …] for one image."""
        num_regions = self.run.config.regions.num_regions
        shape = [1, *(num_regions if size is None else size for size in spec.shape[1:])]
        return tf.TensorSpec(shape, spec.dtype, name=spec.name)

    def _prepare(self, image: tf.Tensor) -> Outputs:
        """Resizes images [B, H, W, 3] in 0..255 to squares, as `warp_images` does."""
        frame = tf.tile([[[0.0, 0.0, 1.0, 1.0]]], [tf.shape(image)[0], 1, 1])
        return {"image": crop_and_resize(image, frame, self.run.config.regions.picture_size)[:, 0]}

    def _encode_frame(self, image: tf.Tensor) -> Outputs:
        return {"image_features": self.extractor.extract_frames(image)}

    def _encode_image(self, image: tf.Tensor) -> Outputs:
        regions = self.extractor(image)
        outputs = {
            "boxes": regions.boxes,
            "region_features": regions.region_features,
            "region_scores": regions.scores,
            "region_mask": regions.region_mask,
        }
        if self.run.has("align"):
            encode = self.run.alignment_model.encode_regions
            outputs["region_embeddings"] = encode(regions.region_features)
        return outputs

    def _search(self, generator: str, *, beam: bool) -> Callable[..., Outputs]:
        """Returns a search that gives token_ids [B, L] and log_probs [B], or a beam [B, K, …]."""
        settings = self.run.config.generate

        def search(features: tf.Tensor, region_mask: tf.Tensor | None = None) -> Outputs:
            model = getattr(self.run, generator)
            if isinstance(model, RerankedModel):
                encode = functools.partial(embed_padded, model.alignment.sentence_encoder)
                model = RerankedModel(model.members, model.alignment, model.weight, encode)
            inputs = features
            if region_mask is not None:
                inputs = model.inputs_of_images(features, region_mask)
            token_ids, log_probs = search_sentences(
                model,
                inputs,
                self.run.vocabulary,
                settings,
                settings.beam_size if beam else 1,
            )
            if not beam:
                token_ids, log_probs = token_ids[:, 0], log_probs[:, 0]
            return {"token_ids": token_ids, "log_probs": log_probs}

        return search

    def _attention(
        self, region_features: tf.Tensor, region_mask: tf.Tensor, token_ids: tf.Tensor
    ) -> Outputs:
        """Returns the weights [B, L, R] of every token, for captions of `greedy` or `beam`."""
        generator = attending_member(self.run.full_frame_generator)
        assert generator is not None
        inputs = generator.inputs_of_images(region_features, region_mask)
        return {"attention": attend_padded(generator, inputs, token_ids)}

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
        embeddings = region_embeddings, word_embeddings, region_mask, word_mask
        return {"scores": self.run.score_embeddings(*embeddings)}

    def _fit_texts(self, region_embeddings: tf.Tensor, token_ids: tf.Tensor) -> Outputs:
        """Returns what `visem_tf.runs.grounding.Grounder.fits` returns, for token ids [N, L]."""
        model = self.run.alignment_model
        words = tf.where(tf.equal(token_ids, END_ID), PAD_ID, token_ids)
        similarities = word_region_similarities(
            tf.expand_dims(region_embeddings, 1),
            embed_padded(model.sentence_encoder, words),  # 0 in the padding
            score=model.score,
        )
        return {"fits": tf.reduce_sum(similarities, [1, 2])}


def _embeddings(embedding_dim: int) -> list[tf.TensorSpec]:
    return [
        spec
        for kind in ("region", "word")
        for spec in (
            tf.TensorSpec([None, None, embedding_dim], name=f"{kind}_embeddings"),
            tf.TensorSpec([None, None], tf.bool, name=f"{kind}_mask"),
        )
    ]
