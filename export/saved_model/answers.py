"""The answers of an exported model, given the regions of pictures.

Boxes are `rel_yxyx`; region 0 is the whole frame. What is not there - a region where the proposer
found fewer than R - 1 boxes, or any of a picture that cannot be decoded - has an empty text, minus
infinity for log-probabilities and scores, zeros for embeddings and boxes, and -1 for the regions of
words, in its own place only.
"""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from visem_tf.decoding import CaptioningModel
from visem_tf.decoding.captioner import search_sentences
from visem_tf.regions.extractor import Regions
from visem_tf.runs.grounding import ground_words
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.text import PAD_ID, tokenize

Outputs = dict[str, tf.Tensor]

_NEVER = -float("inf")


class Answers:
    """What the models of a run say of regions and sentences, in graph.

    Args:
      run: Its models must have been read before a method is traced.
    """

    def __init__(self, run: TrainedRun) -> None:
        self.run = run
        self.settings = run.config.generate
        self._searches: dict[tuple[str, bool], Callable] = {}

    @functools.cached_property
    def feature_dim(self) -> int:
        """F, the size of the CNN features that the models were trained on."""
        if self.run.has("align"):
            return int(self.run.alignment_model.region_encoder.projection.kernel.shape[0])
        full_frame = self.run.has("generate/full_frame")
        specs = self._generator("full_frame" if full_frame else "regions").input_specs()
        return int((specs["region_features"] if isinstance(specs, dict) else specs).shape[-1])

    def captions(self, frames: Regions, *, beam: bool) -> Outputs:
        """Captions of whole pictures.

        Args:
          frames: Region 0 is the whole frame; others are looked at by generators that attend.
          beam: Whether the K best of a beam are wanted, or the one of greedy search.

        Returns:
          captions string [B, K], best first; log_probs float [B, K]; K = 1 for greedy search.
        """
        real = frames.region_mask[:, :1]
        # Where nothing is real there is nothing to attend to, and the answer is thrown away.
        inputs = self._generator("full_frame").inputs_of_pictures(
            frames.region_features, frames.region_mask | ~real
        )
        token_ids, log_probs = self._search("full_frame", beam)(inputs)
        return {
            "captions": tf.where(real, self.run.vocabulary.decode(token_ids), ""),
            "log_probs": tf.where(real, log_probs, _NEVER),
        }

    def describe_regions(self, regions: Regions, *, beam: bool) -> Outputs:
        """The regions of pictures, each with its best description.

        Returns:
          boxes float [B, R, 4]; captions string [B, R]; log_probs and region_scores float [B, R].
        """
        shape = tf.shape(regions.region_features)
        token_ids, log_probs = self._search("regions", beam)(
            tf.reshape(regions.region_features, [-1, regions.region_features.shape[2]])
        )
        captions = self.run.vocabulary.decode(token_ids[:, 0])
        real = regions.region_mask
        as_regions = functools.partial(_reshaped, shape=shape[:2], like=real)
        return {
            "boxes": tf.where(real[..., tf.newaxis], regions.boxes, 0.0),
            "captions": tf.where(real, as_regions(captions), ""),
            "log_probs": tf.where(real, as_regions(log_probs[:, 0]), _NEVER),
            "region_scores": tf.where(real, regions.scores, _NEVER),
        }

    def embed_image(self, regions: Regions) -> Outputs:
        """Regions in the space that they share with words.

        Returns:
          embeddings float [B, R, D]; boxes float [B, R, 4].
        """
        embeddings = self.run.alignment_model.encode_regions(regions.region_features)
        real = regions.region_mask[..., tf.newaxis]
        return {
            "embeddings": tf.where(real, embeddings, 0.0),
            "boxes": tf.where(real, regions.boxes, 0.0),
        }

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

    def score(self, regions: Regions, sentences: tf.Tensor) -> Outputs:
        """The scores of all pictures with all sentences; 0 for a sentence without words.

        Args:
          regions: Of B pictures.
          sentences: string [N].

        Returns:
          scores float [B, N].
        """
        token_ids, _ = self._token_ids(sentences)
        real = regions.region_mask
        readable = tf.reduce_any(real, axis=1, keepdims=True)
        scores = self.run.alignment_model(
            {
                "region_features": regions.region_features,
                "region_mask": real | ~readable,  # a row of nothing but padding has no maximum
                "token_ids": token_ids,
            }
        )
        return {"scores": tf.where(readable, scores, _NEVER)}

    def align(self, regions: Regions, sentences: tf.Tensor) -> Outputs:
        """The region of every word of a sentence in its own picture, smoothed by the MRF.

        Args:
          regions: Of B pictures.
          sentences: string [B], one a picture.

        Returns:
          regions int [B, T], -1 in the padding; their boxes float [B, T, 4]; tokens string [B, T].
        """
        token_ids, tokens = self._token_ids(sentences)
        readable = tf.reduce_any(regions.region_mask, axis=1, keepdims=True)
        model = self.run.alignment_model
        chosen, _, boxes = ground_words(
            model,
            model.encode_regions(regions.region_features),
            regions.region_mask | ~readable,
            regions.boxes,
            token_ids,
            self.run.config.infer.beta,
        )
        chosen = tf.where(readable, chosen, -1)
        boxes = tf.where((chosen >= 0)[..., tf.newaxis], boxes, 0.0)
        return {"regions": chosen, "boxes": boxes, "tokens": tokens}

    def _search(self, name: str, beam: bool) -> Callable[[Any], tuple[tf.Tensor, tf.Tensor]]:
        """The search of a generator as one graph, shared by all signatures."""
        if (name, beam) not in self._searches:
            generator = self._generator(name)
            beam_size = self.settings.beam_size if beam else 1
            self._searches[name, beam] = tf.function(
                lambda inputs: search_sentences(generator, inputs, self.settings, beam_size),
                input_signature=[generator.input_specs()],
            )
        return self._searches[name, beam]

    def _generator(self, name: str) -> CaptioningModel:
        return self.run.full_frame_generator if name == "full_frame" else self.run.region_generator

    def _token_ids(self, sentences: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Token ids int32 [N, T] and tokens string [N, T]."""
        tokens = tokenize(sentences)[:, : self.run.config.text.max_words]
        token_ids = self.run.vocabulary.lookup(tokens).to_tensor(PAD_ID)
        return tf.ensure_shape(token_ids, [None, None]), tokens.to_tensor("")


def _reshaped(values: tf.Tensor, shape: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    return tf.ensure_shape(tf.reshape(values, shape), like.shape)
