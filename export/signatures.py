"""What an exported model answers: functions from encoded pictures and sentences to text and boxes.

All of them run wholly in graph, take batches of any size, empty ones too, and use the code by which
`visem_tf.trained.TrainedRun` describes pictures, so that the texts are the same. Boxes are
`rel_yxyx`; region 0 is the whole frame.

A picture that cannot be decoded has empty texts and minus infinity for log-probabilities and
scores, zeros for embeddings and boxes, and -1 for regions, in its own row only. So has a region
that does not exist, where the proposer found fewer than R - 1 boxes.
"""

from collections.abc import Callable

import tensorflow as tf
from visem_tf.export.pictures import decode_pictures

from visem_tf.errors import UserError
from visem_tf.regions.extractor import Regions
from visem_tf.stages.captioning import search_sentences
from visem_tf.stages.infer import align_words
from visem_tf.text import PAD_ID, tokenize
from visem_tf.trained import TrainedRun

Outputs = dict[str, tf.Tensor]

_NEVER = -float("inf")
_MODELS = {
    "align": "alignment_model",
    "generate/full_frame": "full_frame_generator",
    "generate/regions": "region_generator",
}


class Signatures:
    """The functions that the SavedModel of a run offers.

    This is no `tf.Module`, and must not become one: a SavedModel that tracks Keras models cannot be
    loaded by TensorFlow Serving.

    Args:
      run: A finished run. A model that it did not train leaves out the functions that need it.

    Raises:
      UserError: The run has no model at all.
    """

    def __init__(self, run: TrainedRun) -> None:
        self.run = run
        self.settings = run.config.generate
        images = tf.TensorSpec([None], tf.string, name="image_bytes")
        sentences = tf.TensorSpec([None], tf.string, name="sentences")
        parts: dict[str, tuple[str, Callable[..., Outputs], list[tf.TensorSpec]]] = {
            "serving_default": ("generate/full_frame", self.greedy, [images]),
            "greedy": ("generate/full_frame", self.greedy, [images]),
            "beam": ("generate/full_frame", self.beam, [images]),
            "describe_regions": ("generate/regions", self.describe_regions, [images]),
            "describe_regions_beam": ("generate/regions", self.describe_regions_beam, [images]),
            "embed_image": ("align", self.embed_image, [images]),
            "embed_text": ("align", self.embed_text, [sentences]),
            "score": ("align", self.score, [images, sentences]),
            "align": ("align", self.align, [images, sentences]),
        }
        self.left_out = {
            name: f"the run has no model {model}"
            for name, (model, _, _) in parts.items()
            if not run.has(model)
        }
        """Signatures that cannot be offered, with the reasons."""
        if len(self.left_out) == len(parts):
            raise UserError(
                f"{run.run.path} has no trained model to export; run "
                f"python -m visem_tf.fit --run-dir {run.run.path} first"
            )
        self._parts = {name: part for name, part in parts.items() if name not in self.left_out}
        self.extractor = run.extractor
        self.vocabulary = run.vocabulary
        for model, attribute in _MODELS.items():
            if run.has(model):
                # Read now: if it were read while a function is traced, it would keep the values
                # that its weights start with.
                getattr(run, attribute)

    def trace(self) -> dict[str, Callable[..., Outputs]]:
        """The functions as graphs with named inputs and outputs, by the names of signatures."""
        traced = {
            name: tf.function(function, input_signature=specs).get_concrete_function()
            for name, (_, function, specs) in self._parts.items()
            if name != "serving_default"
        }
        if "greedy" in traced:
            traced = {"serving_default": traced["greedy"], **traced}
        return traced

    def greedy(self, image_bytes: tf.Tensor) -> Outputs:
        """Captions of whole pictures by greedy search.

        Args:
          image_bytes: JPEG or PNG, string [B].

        Returns:
          captions string [B]; log_probs float [B].
        """
        best = self._whole_frames(image_bytes, beam_size=1)
        return {name: sentences[:, 0] for name, sentences in best.items()}

    def beam(self, image_bytes: tf.Tensor) -> Outputs:
        """The K best captions of whole pictures, as `greedy`.

        Returns:
          captions string [B, K], best first; log_probs float [B, K].
        """
        return self._whole_frames(image_bytes, self.settings.beam_size)

    def describe_regions(self, image_bytes: tf.Tensor) -> Outputs:
        """The regions of pictures, each with its description by greedy search.

        Args:
          image_bytes: string [B].

        Returns:
          boxes float [B, R, 4]; captions string [B, R]; log_probs and region_scores float [B, R].
        """
        return self._describe_regions(image_bytes, beam_size=1)

    def describe_regions_beam(self, image_bytes: tf.Tensor) -> Outputs:
        """As `describe_regions`, with the best description of a beam."""
        return self._describe_regions(image_bytes, self.settings.beam_size)

    def embed_image(self, image_bytes: tf.Tensor) -> Outputs:
        """The regions of pictures in the space that they share with words.

        Args:
          image_bytes: string [B].

        Returns:
          embeddings float [B, R, D]; boxes float [B, R, 4].
        """

        def embed(image_bytes: tf.Tensor) -> Outputs:
            regions, readable = self._regions(image_bytes)
            embeddings = self.run.alignment_model.encode_regions(regions.region_features)
            real = (regions.region_mask & readable[:, tf.newaxis])[..., tf.newaxis]
            return {
                "embeddings": tf.where(real, embeddings, 0.0),
                "boxes": tf.where(real, regions.boxes, 0.0),
            }

        return _on_rows(embed, image_bytes)

    def embed_text(self, sentences: tf.Tensor) -> Outputs:
        """The words of sentences in the space that they share with regions.

        Words after the longest sentence of the training (`text.max_words`) are left out.

        Args:
          sentences: UTF-8, string [N].

        Returns:
          embeddings float [N, T, D], zeros in the padding; mask bool [N, T], True = real; tokens
          string [N, T], "" in the padding. T is the largest number of words, 0 if there is none.
        """
        token_ids, tokens = self._token_ids(sentences)
        return {
            "embeddings": self.run.alignment_model.encode_sentences(token_ids),
            "mask": tf.not_equal(token_ids, PAD_ID),
            "tokens": tokens,
        }

    def score(self, image_bytes: tf.Tensor, sentences: tf.Tensor) -> Outputs:
        """The scores of all pictures with all sentences; 0 for a sentence without words.

        Args:
          image_bytes: string [B].
          sentences: string [N].

        Returns:
          scores float [B, N].
        """
        token_ids, _ = self._token_ids(sentences)

        def score(image_bytes: tf.Tensor) -> Outputs:
            regions, readable = self._regions(image_bytes)
            scores = self.run.alignment_model(
                {
                    "region_features": regions.region_features,
                    "region_mask": regions.region_mask,
                    "token_ids": token_ids,
                }
            )
            return {"scores": tf.where(readable[:, tf.newaxis], scores, _NEVER)}

        return _on_rows(score, image_bytes)

    def align(self, image_bytes: tf.Tensor, sentences: tf.Tensor) -> Outputs:
        """The region of every word of a sentence in its own picture, smoothed by the MRF.

        Args:
          image_bytes: string [B].
          sentences: string [B], one a picture.

        Returns:
          regions int [B, T], -1 in the padding; their boxes float [B, T, 4]; tokens string [B, T].
        """
        equally_many = tf.debugging.assert_equal(
            tf.shape(image_bytes),
            tf.shape(sentences),
            "align takes one sentence a picture: image_bytes and sentences must be equally many",
        )

        def align(image_bytes: tf.Tensor, sentences: tf.Tensor) -> Outputs:
            regions, readable = self._regions(image_bytes)
            token_ids, tokens = self._token_ids(sentences)
            chosen, _, boxes = align_words(
                self.run.alignment_model,
                regions.region_features,
                regions.region_mask,
                regions.boxes,
                token_ids,
                self.run.config.infer.beta,
            )
            chosen = tf.where(readable[:, tf.newaxis], chosen, -1)
            boxes = tf.where((chosen >= 0)[..., tf.newaxis], boxes, 0.0)
            return {"regions": chosen, "boxes": boxes, "tokens": tokens}

        with tf.control_dependencies([equally_many]):
            return _on_rows(align, tf.identity(image_bytes), sentences)

    def _whole_frames(self, image_bytes: tf.Tensor, beam_size: int) -> Outputs:
        """As `beam`."""

        def describe(image_bytes: tf.Tensor) -> Outputs:
            generator = self.run.full_frame_generator
            if generator.reads_regions:
                regions, readable = self._regions(image_bytes)
                inputs = generator.inputs_of_pictures(regions.region_features, regions.region_mask)
            else:
                pixels, readable = self._pixels(image_bytes)
                inputs = self.extractor.describe_frames(pixels)
            token_ids, log_probs = search_sentences(generator, inputs, self.settings, beam_size)
            real = readable[:, tf.newaxis]
            return {
                "captions": tf.where(real, self.vocabulary.decode(token_ids), ""),
                "log_probs": tf.where(real, log_probs, _NEVER),
            }

        return _on_rows(describe, image_bytes)

    def _describe_regions(self, image_bytes: tf.Tensor, beam_size: int) -> Outputs:
        """As `describe_regions`."""

        def describe(image_bytes: tf.Tensor) -> Outputs:
            regions, readable = self._regions(image_bytes)
            _, num_regions, feature_dim = regions.region_features.shape
            token_ids, log_probs = search_sentences(
                self.run.region_generator,
                tf.reshape(regions.region_features, [-1, feature_dim]),
                self.settings,
                beam_size,
            )
            captions = self.vocabulary.decode(token_ids[:, 0])
            real = regions.region_mask & readable[:, tf.newaxis]
            shape = [-1, num_regions]
            return {
                "boxes": tf.where(real[..., tf.newaxis], regions.boxes, 0.0),
                "captions": tf.where(real, tf.reshape(captions, shape), ""),
                "log_probs": tf.where(real, tf.reshape(log_probs[:, 0], shape), _NEVER),
                "region_scores": tf.where(real, regions.scores, _NEVER),
            }

        return _on_rows(describe, image_bytes)

    def _regions(self, image_bytes: tf.Tensor) -> tuple[Regions, tf.Tensor]:
        """The regions of black pictures too, and which pictures are readable, bool [B]."""
        pixels, readable = self._pixels(image_bytes)
        # The compiled function is one graph that the signatures share, with its constants.
        return self.extractor.compiled(pixels), readable

    def _pixels(self, image_bytes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        settings = self.run.config.regions
        return decode_pictures(image_bytes, settings.picture_size, settings.resolution)

    def _token_ids(self, sentences: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Token ids int32 [N, T] and tokens string [N, T]."""
        tokens = tokenize(sentences)[:, : self.run.config.text.max_words]
        token_ids = self.vocabulary.lookup(tokens).to_tensor(PAD_ID)
        return tf.ensure_shape(token_ids, [None, None]), tokens.to_tensor("")


def _on_rows(function: Callable[..., Outputs], *rows: tf.Tensor) -> Outputs:
    """Applies a function to string tensors [B], which never sees B = 0: it gets one row then.

    Fused convolutions fail on an empty batch.
    """
    count = tf.shape(rows[0])[0]
    lacking = tf.fill([tf.cast(tf.equal(count, 0), tf.int32)], "")
    outputs = function(*(tf.concat([row, lacking], axis=0) for row in rows))
    return {name: output[:count] for name, output in outputs.items()}
