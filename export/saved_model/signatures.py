"""The signatures of an exported model, from images and sentences to texts and boxes.

Every signature about images exists in three forms. `greedy` takes encoded images;
`greedy_from_pixels` takes decoded images of any size; and `greedy_from_features` takes feature
vectors of their regions. The same holds for the others, except that `embed_text` takes sentences
alone, and `ground` encoded images, since it needs their boxes. All run wholly in graph, for batches
of any size including empty ones, on the code by which `visem_tf.runs.trained_run.TrainedRun`
describes images, so that the texts are the same.

What signatures share (decoding images, extracting regions, searching for words) is traced once.
"""

import base64
import functools
from collections.abc import Callable, Collection
from typing import Any

import tensorflow as tf

from visem_tf.config.settings import nearest
from visem_tf.datasets import PRECOMPUTED
from visem_tf.errors import UserError
from visem_tf.export.description import REQUIRED_MODELS, read_models
from visem_tf.export.saved_model.functions import ModelFunctions, Outputs
from visem_tf.images.prepare import check_readable, place_images, prepare_images
from visem_tf.regions.extractor import Regions
from visem_tf.runs.trained_run import TrainedRun

SOURCES = {"": "image_bytes", "_from_pixels": "image", "_from_features": "region_features"}
"""Forms of images, as the ends of the signatures' names, and the names of the inputs."""

QUESTIONS: dict[str, Callable[..., Outputs]] = {
    "greedy": functools.partial(ModelFunctions.captions, beam=False),
    "beam": functools.partial(ModelFunctions.captions, beam=True),
    "describe_regions": functools.partial(ModelFunctions.describe_regions, beam=False),
    "describe_regions_beam": functools.partial(ModelFunctions.describe_regions, beam=True),
    "embed_image": ModelFunctions.embed_image,
    "score": ModelFunctions.score,
    "align": ModelFunctions.align,
}
"""Signatures about images in any form, without the form of the images, and what they compute."""

_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
"""A black pixel as PNG, which takes the place of an image in an empty batch."""

NAMES = (
    "serving_default",
    "embed_text",
    "ground",
    *(f"{question}{source}" for source in SOURCES for question in QUESTIONS),
)
"""All signatures; `serving_default` is `greedy`."""


class Signatures:
    """The functions that the SavedModel of a run offers.

    This must not become a `tf.Module`: TensorFlow Serving cannot load a SavedModel that tracks
    Keras models.

    Args:
        run: A finished run. Signatures that need a model which it lacks are left out.
        unreadable: What an image that cannot be decoded causes: "empty" leaves its own row empty,
            "fail" makes the call fail.
        names: Names out of `NAMES`, or None for all.

    Attributes:
        names: Signatures that are offered.
        left_out: Signatures that are not offered, and the reasons.

    Raises:
        UserError: The run has no model for any of the signatures, or a name is unknown.
    """

    def __init__(
        self, run: TrainedRun, *, unreadable: str = "empty", names: Collection[str] | None = None
    ) -> None:
        for name in names or ():
            if name not in NAMES:
                raise UserError(
                    f"there is no signature {name!r}{nearest(name, NAMES)}; there are "
                    f"{', '.join(NAMES)}"
                )
        read_models(run)
        self.run = run
        self.unreadable = unreadable
        self.functions = ModelFunctions(run)
        self.names: list[str] = []
        self.left_out: dict[str, str] = {}
        for name in NAMES:
            if names is None or name in names:
                reason = self._reason_to_leave_out(name)
                if reason:
                    self.left_out[name] = reason
                else:
                    self.names.append(name)
        if not self.names:
            raise UserError(f"{run.run.path} has no trained model for any of these signatures")
        if any(map(_takes_images, self.names)):
            self.extractor = run.extractor  # read before functions are traced, like the models

    def trace(self) -> dict[str, Any]:
        """Returns the signatures as concrete functions with named inputs and outputs."""
        traced: dict[tuple[str, str], Any] = {}
        for key in map(_split, self.names):
            if key not in traced:
                function, specs = self._function(*key)
                graph = tf.function(function, input_signature=specs).get_concrete_function()
                traced[key] = graph
        return {name: traced[_split(name)] for name in self.names}

    def _reason_to_leave_out(self, name: str) -> str:
        model = REQUIRED_MODELS[_split(name)[0]]
        if not self.run.has(model):
            return f"the run has no model {model}"
        if _takes_images(name) and self.run.config.dataset_name == PRECOMPUTED:
            return "the run was trained on features that were computed elsewhere"
        return ""

    def _function(
        self, question: str, source: str
    ) -> tuple[Callable[..., Outputs], list[tf.TensorSpec]]:
        """Returns the function of a signature, and the specifications of its inputs in order."""
        sentences = tf.TensorSpec([None], tf.string, name="sentences")
        if question == "embed_text":
            return self.functions.embed_text, [sentences]
        if question == "ground":
            integers = [
                tf.TensorSpec([None], tf.int32, name=name) for name in ("image", "first", "last")
            ]
            return self._ground, [self._image_spec(source), sentences, *integers]

        specs = [self._image_spec(source), sentences]
        specs = specs if question in ("score", "align") else specs[:1]
        return functools.partial(self._answer, question, source), specs

    def _image_spec(self, source: str) -> tf.TensorSpec:
        name = SOURCES[source]
        if source == "_from_pixels":
            return tf.TensorSpec([None, None, None, 3], name=name)
        if source == "_from_features":
            return tf.TensorSpec([None, None, self.functions.feature_dim], name=name)
        return tf.TensorSpec([None], tf.string, name=name)

    def _answer(self, question: str, source: str, images: tf.Tensor, *texts: tf.Tensor) -> Outputs:
        """Answers a question about images, and about sentences in `score` and `align`."""
        frame_only = (
            question in ("greedy", "beam") and not self.run.full_frame_generator.reads_regions
        )

        def answer(images: tf.Tensor, *texts: tf.Tensor) -> Outputs:
            regions = self._regions(source, images, frame_only)
            return QUESTIONS[question](self.functions, regions, *texts)

        if question == "align":
            equal_length = tf.debugging.assert_equal(
                tf.shape(images)[0],
                tf.shape(texts[0])[0],
                "align takes one sentence per image: images and sentences must be equally many",
            )
            with tf.control_dependencies([equal_length]):
                outputs = _on_rows(answer, tf.identity(images), tf.identity(texts[0]))
        else:
            outputs = _on_rows(lambda rows: answer(rows, *texts), images)
        if source == "_from_features":  # only the caller knows the boxes and scores
            outputs = {n: o for n, o in outputs.items() if n not in ("boxes", "region_scores")}
        return outputs

    def _ground(
        self,
        images: tf.Tensor,
        sentences: tf.Tensor,
        image: tf.Tensor,
        first: tf.Tensor,
        last: tf.Tensor,
    ) -> Outputs:
        checks = [
            tf.debugging.assert_equal(
                tf.shape(each)[0],
                tf.shape(sentences)[0],
                "ground takes one sentence, image, first and last for each phrase: they must be "
                "equally many",
            )
            for each in (image, first, last)
        ]
        checks += [
            tf.debugging.assert_less(
                image, tf.shape(images)[0], "ground: image must be a position in image_bytes"
            ),
            tf.debugging.assert_non_negative(
                image, "ground: image must be a position in image_bytes"
            ),
        ]
        # An operation on an unchecked input could fail first, with a message of its own.
        with tf.control_dependencies(checks):
            checked = [tf.identity(each) for each in (images, sentences, image, first, last)]
        regions = self._regions("", _never_empty(checked[0], _PIXEL), frame_only=False)
        return self.functions.ground(regions, *checked[1:])

    def _regions(self, source: str, images: tf.Tensor, frame_only: bool) -> Regions:
        """Returns the regions of images of any form; unreadable images have no real region.

        Args:
            source: Form of the images, a key of `SOURCES`.
            images: Encoded images string [B], pixels float [B, H, W, 3] in 0..255, or features
                float [B, R, F], in which a row of zeros is not real.
            frame_only: Whether the whole frame is enough.
        """
        settings = self.run.config.regions
        if source == "_from_features":
            features = images[:, :1] if frame_only else images
            mask = tf.reduce_any(tf.not_equal(features, 0.0), axis=2)
            return _without_boxes(features, mask)
        if source == "_from_pixels":
            pixels = place_images(images, settings.picture_size, settings.resolution)
            readable = tf.fill([tf.shape(images)[0]], True)
        else:
            pixels, readable = self._decode(images)
            if self.unreadable == "fail":
                readable = check_readable(readable)
        mask = readable[:, tf.newaxis]
        if frame_only:
            return _without_boxes(self._frame_features(pixels)[:, tf.newaxis], mask)
        # One graph that the signatures share, with its constants.
        regions = self.extractor.compiled(pixels)
        return regions._replace(region_mask=regions.region_mask & mask)

    @functools.cached_property
    def _decode(self) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        settings = self.run.config.regions
        return tf.function(
            lambda rows: prepare_images(rows, settings.picture_size, settings.resolution),
            input_signature=[tf.TensorSpec([None], tf.string)],
        )

    @functools.cached_property
    def _frame_features(self) -> Callable[[tf.Tensor], tf.Tensor]:
        size = self.run.config.regions.picture_size
        spec = tf.TensorSpec([None, size, size, 3], tf.float32)
        return tf.function(self.extractor.extract_frames, input_signature=[spec])


def _split(name: str) -> tuple[str, str]:
    """Splits the name of a signature into its question and the form of its images."""
    if name == "serving_default":
        return "greedy", ""
    for source in SOURCES:
        if source and name.endswith(source):
            return name.removesuffix(source), source
    return name, ""


def _takes_images(name: str) -> bool:
    return name != "embed_text" and not name.endswith("_from_features")


def _without_boxes(features: tf.Tensor, mask: tf.Tensor) -> Regions:
    shape = tf.shape(mask)
    return Regions(features, tf.zeros([shape[0], shape[1], 4]), tf.zeros(shape), mask)


def _on_rows(function: Callable[..., Outputs], images: tf.Tensor, *texts: tf.Tensor) -> Outputs:
    """Applies a function to images and texts [B, ...]; for B = 0, to one of each.

    Fused convolutions fail on an empty batch.
    """
    count = tf.shape(images)[0]
    outputs = function(_never_empty(images, _PIXEL), *map(_never_empty, texts))
    return {name: output[:count] for name, output in outputs.items()}


def _never_empty(row: tf.Tensor, text: bytes = b"") -> tf.Tensor:
    """Appends a row of a text, or of zeros, to a tensor [0, ...]."""
    missing = tf.cast(tf.equal(tf.shape(row)[:1], 0), tf.int32)
    shape = tf.concat([missing, tf.shape(row)[1:]], axis=0)
    empty = tf.fill(shape, tf.constant(text if row.dtype == tf.string else 0, row.dtype))
    return tf.ensure_shape(tf.concat([row, empty], axis=0), row.shape)
