"""What an exported model answers: its signatures, from pictures and sentences to text and boxes.

Every question about pictures can be asked in three ways. `greedy` takes encoded pictures;
`greedy_from_pixels` takes decoded ones, of any size; and `greedy_from_features` takes the vectors
that a CNN of one's own made of their regions. The same for the others; `embed_text` takes sentences
alone. All run wholly in graph, for batches of any size, empty ones too, on the code by which
`visem_tf.runs.trained_run.TrainedRun` describes pictures, so that the texts are the same.

Parts that signatures share (decoding pictures, finding regions, searching for words) are functions
that are traced once. `visem_tf.export.saved_model.answers` has the rest.
"""

import functools
from collections.abc import Callable, Collection

import tensorflow as tf

from visem_tf.config.settings import nearest
from visem_tf.datasets import PRECOMPUTED
from visem_tf.errors import UserError
from visem_tf.export.saved_model.answers import Answers
from visem_tf.images.decode_in_graph import all_readable, decode_pictures
from visem_tf.regions.extractor import Regions, place_pictures
from visem_tf.runs.trained_run import TrainedRun

Outputs = dict[str, tf.Tensor]

UNREADABLE = ("empty", "fail")
"""What a picture that cannot be decoded does: leaves its own row empty, or fails the call."""

SOURCES = {"": "image_bytes", "_from_pixels": "image", "_from_features": "region_features"}
"""How pictures come in, by the end of a signature's name; and the name of the input."""

_MODELS = {
    "align": "alignment_model",
    "generate/full_frame": "full_frame_generator",
    "generate/regions": "region_generator",
}
_QUESTIONS = {
    "greedy": "generate/full_frame",
    "beam": "generate/full_frame",
    "describe_regions": "generate/regions",
    "describe_regions_beam": "generate/regions",
    "embed_image": "align",
    "score": "align",
    "align": "align",
}
_WITH_SENTENCES = ("score", "align")
_DEFAULT = "greedy"

NAMES = (
    "serving_default",
    "embed_text",
    *(f"{question}{source}" for source in SOURCES for question in _QUESTIONS),
)
"""All signatures that there are."""


class Signatures:
    """The functions that the SavedModel of a run offers.

    This is no `tf.Module`, and must not become one: a SavedModel that tracks Keras models cannot be
    loaded by TensorFlow Serving.

    Args:
      run: A finished run. A model that it did not train leaves out the functions that need it.
      unreadable: Of `UNREADABLE`.
      names: Which of `NAMES` to offer; None: all that the run has models for.

    Raises:
      UserError: The run has no model for any of them, or there is no such name.
    """

    def __init__(
        self, run: TrainedRun, *, unreadable: str = "empty", names: Collection[str] | None = None
    ) -> None:
        if unreadable not in UNREADABLE:
            raise ValueError(f"unreadable must be one of {UNREADABLE}, not {unreadable!r}")
        for name in names or ():
            if name not in NAMES:
                raise UserError(
                    f"there is no signature {name!r}{nearest(name, NAMES)}; there are "
                    f"{', '.join(NAMES)}"
                )
        self.run = run
        self.unreadable = unreadable
        wanted = [name for name in NAMES if names is None or name in names]
        models = {name: _model_of(name) for name in wanted}
        self.left_out = {
            name: f"the run has no model {model}"
            for name, model in models.items()
            if not run.has(model)
        }
        if run.config.dataset == PRECOMPUTED:
            reason = "the run was trained on features that were computed elsewhere"
            self.left_out |= {name: reason for name in wanted if _needs_pictures(name)}
        """Signatures that cannot be offered, with the reasons."""
        self.names = [name for name in wanted if name not in self.left_out]
        if not self.names:
            raise UserError(
                f"{run.run.path} has no trained model to export; run "
                f"python -m visem_tf.fit --run-dir {run.run.path} first"
            )
        self.vocabulary = run.vocabulary
        for model in {models[name] for name in self.names}:
            # Read now: if it were read while a function is traced, it would keep the values that
            # its weights start with.
            getattr(run, _MODELS[model])
        if any(map(_needs_pictures, self.names)):
            self.extractor = run.extractor
        self.answers = Answers(run)

    def trace(self) -> dict[str, Callable[..., Outputs]]:
        """The functions as graphs with named inputs and outputs, by the names of signatures."""
        traced = {}
        for name in self.names:
            if name != "serving_default":
                function, specs = self._function(name)
                graph = tf.function(function, input_signature=specs).get_concrete_function()
                traced[name] = graph
        if "serving_default" in self.names:
            default = traced.get(_DEFAULT)
            if default is None:
                function, specs = self._function(_DEFAULT)
                default = tf.function(function, input_signature=specs).get_concrete_function()
            traced = {"serving_default": default, **traced}
        return traced

    def _function(self, name: str) -> tuple[Callable[..., Outputs], list[tf.TensorSpec]]:
        """A signature, which takes its inputs in the order of the specifications."""
        sentences = tf.TensorSpec([None], tf.string, name="sentences")
        if name == "embed_text":
            return lambda sentences: self.answers.embed_text(sentences), [sentences]
        question, source = _split(name)
        read = {"": self._read, "_from_pixels": self._warp, "_from_features": self._take}[source]
        answer = functools.partial(self._answer, question, read)
        specs = [self._spec(source)]
        if question == "score":
            return lambda images, sentences: answer(images, sentences), [*specs, sentences]
        if question == "align":
            return lambda images, sentences: _pairs(answer, images, sentences), [*specs, sentences]
        return lambda images: answer(images), specs

    def _answer(
        self,
        question: str,
        read: Callable[[tf.Tensor, bool], "Regions"],
        images: tf.Tensor,
        sentences: tf.Tensor | None = None,
    ) -> Outputs:
        """Answers about pictures, whatever they come as; never sees an empty batch."""
        answers = self.answers

        def answer(images: tf.Tensor, *rows: tf.Tensor) -> Outputs:
            if question in ("greedy", "beam"):
                # A generator that looks at regions needs them for a whole picture too.
                frame = read(images, not self.run.full_frame_generator.reads_regions)
                best = answers.captions(frame, beam=question == "beam")
                if question == "greedy":
                    best = {name: sentences[:, 0] for name, sentences in best.items()}
                return best
            regions = read(images, False)
            if question.startswith("describe_regions"):
                return answers.describe_regions(regions, beam=question.endswith("_beam"))
            if question == "embed_image":
                return answers.embed_image(regions)
            if question == "score":
                return answers.score(regions, sentences)
            return answers.align(regions, *rows)

        rows = [sentences] if question == "align" else []
        outputs = _on_rows(answer, images, *rows)
        if read == self._take:  # whose boxes and scores only the caller knows
            outputs = {n: o for n, o in outputs.items() if n not in ("boxes", "region_scores")}
        return outputs

    def _read(self, image_bytes: tf.Tensor, frame_only: bool) -> Regions:
        """The regions of encoded pictures; none of them is real in one that is not readable."""
        pixels, readable = self._decoded(image_bytes)
        if self.unreadable == "fail":
            readable = all_readable(readable)
        return self._found(pixels, readable, frame_only)

    def _warp(self, image: tf.Tensor, frame_only: bool) -> Regions:
        """The regions of pictures float [B, H, W, 3] in 0..255."""
        settings = self.run.config.regions
        pixels = place_pictures(image, settings.picture_size, settings.resolution)
        return self._found(pixels, tf.fill([tf.shape(image)[0]], True), frame_only)

    def _take(self, region_features: tf.Tensor, frame_only: bool) -> Regions:
        """Regions float [B, R, F] as they come; one of zeros alone is not real."""
        if frame_only:
            region_features = region_features[:, :1]
        real = tf.reduce_any(tf.not_equal(region_features, 0.0), axis=2)
        return Regions(region_features, tf.zeros([*_shape(real), 4]), tf.zeros(_shape(real)), real)

    def _found(self, pixels: tf.Tensor, readable: tf.Tensor, frame_only: bool) -> Regions:
        readable = readable[:, tf.newaxis]
        if frame_only:
            features = self._frame_features(pixels)[:, tf.newaxis]
            return Regions(
                features, tf.zeros([*_shape(readable), 4]), tf.zeros(_shape(readable)), readable
            )
        # The compiled function is one graph that the signatures share, with its constants.
        regions = self.extractor.compiled(pixels)
        return regions._replace(region_mask=regions.region_mask & readable)

    @functools.cached_property
    def _decoded(self) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        settings = self.run.config.regions
        spec = tf.TensorSpec([None], tf.string)
        return tf.function(
            lambda rows: decode_pictures(rows, settings.picture_size, settings.resolution),
            input_signature=[spec],
        )

    @functools.cached_property
    def _frame_features(self) -> Callable[[tf.Tensor], tf.Tensor]:
        size = self.run.config.regions.picture_size
        spec = tf.TensorSpec([None, size, size, 3], tf.float32)
        return tf.function(self.extractor.describe_frames, input_signature=[spec])

    def _spec(self, source: str) -> tf.TensorSpec:
        shape: list[int | None] = [None]
        if source == "_from_pixels":
            shape = [None, None, None, 3]
        elif source == "_from_features":
            shape = [None, None, self.answers.feature_dim]
        return tf.TensorSpec(shape, tf.float32 if source else tf.string, name=SOURCES[source])


def _split(name: str) -> tuple[str, str]:
    """A signature's name as what it answers and how pictures come in."""
    for source in SOURCES:
        if source and name.endswith(source):
            return name.removesuffix(source), source
    return name, ""


def _needs_pictures(name: str) -> bool:
    return name != "embed_text" and _split(name)[1] != "_from_features"


def _model_of(name: str) -> str:
    """The model that a signature needs."""
    if name == "embed_text":
        return "align"
    return _QUESTIONS[_DEFAULT if name == "serving_default" else _split(name)[0]]


def _pairs(answer: Callable[..., Outputs], images: tf.Tensor, sentences: tf.Tensor) -> Outputs:
    """Answers about pictures with one sentence each."""
    equally_many = tf.debugging.assert_equal(
        tf.shape(images)[0],
        tf.shape(sentences)[0],
        "align takes one sentence a picture: there must be as many sentences as pictures",
    )
    with tf.control_dependencies([equally_many]):
        return answer(tf.identity(images), sentences)


def _on_rows(function: Callable[..., Outputs], *rows: tf.Tensor) -> Outputs:
    """Applies a function to tensors [B, ...], which never sees B = 0: it gets one row then.

    Fused convolutions fail on an empty batch. The row is empty strings or zeros.
    """
    count = tf.shape(rows[0])[0]
    lacking = tf.cast(tf.equal(count, 0), tf.int32)

    def filled(row: tf.Tensor) -> tf.Tensor:
        shape = tf.concat([[lacking], tf.shape(row)[1:]], axis=0)
        empty = tf.fill(shape, tf.constant("" if row.dtype == tf.string else 0, row.dtype))
        return tf.ensure_shape(tf.concat([row, empty], axis=0), row.shape)

    outputs = function(*(filled(row) for row in rows))
    return {name: output[:count] for name, output in outputs.items()}


def _shape(tensor: tf.Tensor) -> list[tf.Tensor]:
    return tf.unstack(tf.shape(tensor))
