"""Computations of the models of a run from the regions of images, in graph.

Boxes are `rel_yxyx`; region 0 is the whole frame. A region that is not real, because the proposer
found fewer than R - 1 boxes or the image cannot be decoded, has an empty text, minus infinity for
log-probabilities and scores, zeros for embeddings and boxes, and -1 for the regions of words. The
other regions and images of the batch are not affected.
"""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from visem_tf.decoding import CaptioningModel
from visem_tf.decoding.captioner import search_sentences
from visem_tf.regions.extractor import Regions
from visem_tf.runs.phrase_grounding import PhraseSpans
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.text import PAD_ID, tokenize

Outputs = dict[str, tf.Tensor]

_MINUS_INFINITY = -float("inf")


class ModelFunctions:
    """The models of a run as functions of regions and sentences.

    Args:
        run: A finished run whose models have been read.
    """

    def __init__(self, run: TrainedRun) -> None:
        self.run = run
        self._searches: dict[tuple[str, bool], Callable] = {}

    @functools.cached_property
    def feature_dim(self) -> int:
        """F, the size of the region features that the models were trained on."""
        if self.run.has("align"):
            return int(self.run.alignment_model.region_encoder.projection.kernel.shape[0])
        full_frame = self.run.has("generate/full_frame")
        specs = self._generator("full_frame" if full_frame else "regions").input_specs()
        return int((specs["region_features"] if isinstance(specs, dict) else specs).shape[-1])

    def captions(self, regions: Regions, *, beam: bool) -> Outputs:
        """Describes whole images.

        Args:
            regions: Regions of B images; generators that do not attend use region 0 alone.
            beam: Whether to search by beam instead of greedily.

        Returns:
            captions string and log_probs float, [B, K] best first, or [B] if greedy.
        """
        real = regions.region_mask[:, :1]
        # An image without a real region would leave nothing to attend to; its row is masked below.
        inputs = self._generator("full_frame").inputs_of_images(
            regions.region_features, regions.region_mask | ~real
        )
        token_ids, log_probs = self._search("full_frame", beam)(inputs)
        outputs = {
            "captions": tf.where(real, self.run.vocabulary.decode(token_ids), ""),
            "log_probs": tf.where(real, log_probs, _MINUS_INFINITY),
        }
        return outputs if beam else {name: output[:, 0] for name, output in outputs.items()}

    def describe_regions(self, regions: Regions, *, beam: bool) -> Outputs:
        """Gives the regions of images with the best description of each.

        Returns:
            boxes float [B, R, 4]; captions string [B, R]; log_probs and region_scores float [B, R].
        """
        real = regions.region_mask
        token_ids, log_probs = self._search("regions", beam)(
            tf.reshape(regions.region_features, [-1, regions.region_features.shape[2]])
        )

        def as_regions(values: tf.Tensor) -> tf.Tensor:
            return tf.ensure_shape(tf.reshape(values, tf.shape(real)), real.shape)

        captions = as_regions(self.run.vocabulary.decode(token_ids[:, 0]))
        return {
            "boxes": tf.where(real[..., tf.newaxis], regions.boxes, 0.0),
            "captions": tf.where(real, captions, ""),
            "log_probs": tf.where(real, as_regions(log_probs[:, 0]), _MINUS_INFINITY),
            "region_scores": tf.where(real, regions.scores, _MINUS_INFINITY),
        }

    def embed_image(self, regions: Regions) -> Outputs:
        """Encodes regions in the space that they share with words.

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
        """Encodes the words of sentences in the space that they share with regions.

        Words beyond `text.max_words` are left out.

        Args:
            sentences: UTF-8 strings [N].

        Returns:
            embeddings float [N, T, D], zeros in the padding; mask bool [N, T], True for real words;
            tokens string [N, T], empty in the padding. T is the number of words of the longest
            sentence, which may be 0.
        """
        token_ids, tokens = self._token_ids(sentences)
        return {
            "embeddings": self.run.alignment_model.encode_sentences(token_ids),
            "mask": tf.not_equal(token_ids, PAD_ID),
            "tokens": tokens,
        }

    def score(self, regions: Regions, sentences: tf.Tensor) -> Outputs:
        """Scores all images with all sentences.

        S_kl of a sentence without words is 0; hubness, if configured, is subtracted as from others.

        Args:
            regions: Regions of B images.
            sentences: UTF-8 strings [N].

        Returns:
            scores float [B, N].
        """
        token_ids, _ = self._token_ids(sentences)
        mask, readable = _maskable(regions.region_mask)
        model = self.run.alignment_model
        scores = self._score(
            model.encode_regions(regions.region_features),
            model.encode_sentences(token_ids),
            mask,
            tf.not_equal(token_ids, PAD_ID),
        )
        return {"scores": tf.where(readable, scores, _MINUS_INFINITY)}

    def align(self, regions: Regions, sentences: tf.Tensor) -> Outputs:
        """Finds the region of every word of a sentence in its own image by the MRF.

        Args:
            regions: Regions of B images.
            sentences: UTF-8 strings [B].

        Returns:
            regions int [B, T], -1 in the padding; boxes of these regions float [B, T, 4]; tokens
            string [B, T].
        """
        token_ids, tokens = self._token_ids(sentences)
        mask, readable = _maskable(regions.region_mask)
        embeddings = self.run.alignment_model.encode_regions(regions.region_features)
        chosen, _, boxes = self.run.grounder.ground_words(
            embeddings, mask, regions.boxes, token_ids
        )
        chosen = tf.where(readable, chosen, -1)
        boxes = tf.where((chosen >= 0)[..., tf.newaxis], boxes, 0.0)
        return {"regions": chosen, "boxes": boxes, "tokens": tokens}

    def ground(
        self,
        regions: Regions,
        sentences: tf.Tensor,
        image: tf.Tensor,
        first: tf.Tensor,
        last: tf.Tensor,
    ) -> Outputs:
        """Finds the boxes and the points of phrases, as the run's read-out does.

        A phrase without a word, as of an empty sentence or beyond `text.max_words`, has zeros and
        minus infinity, and so has a phrase in an image that cannot be decoded.

        Args:
            regions: Regions of B images.
            sentences: UTF-8 strings [N], the sentence of each phrase.
            image: Position of its image, int32 [N].
            first: Index of its first word, int32 [N].
            last: Index of its last word, int32 [N].

        Returns:
            boxes float [N, 4]; points (y, x) float [N, 2]; scores float [N].
        """
        found = self.run.phrase_grounder.ground_spans(
            self.run.alignment_model.encode_regions(regions.region_features),
            regions,
            self._token_ids(sentences)[0],
            PhraseSpans(tf.range(tf.shape(sentences)[0]), image, first, last),
        )
        return {"boxes": found.boxes, "points": found.points, "scores": found.scores}

    @functools.cached_property
    def _score(self) -> Callable[..., tf.Tensor]:
        """Scores of embeddings as one graph, whose constants all signatures share."""
        model = self.run.alignment_model
        dim, mask = model.region_encoder.embedding_dim, tf.TensorSpec([None, None], tf.bool)
        regions = tf.TensorSpec([None, None, dim], model.region_encoder.compute_dtype)
        words = tf.TensorSpec([None, None, dim], model.sentence_encoder.compute_dtype)
        return tf.function(
            lambda v, s, real_regions, real_words: self.run.score_embeddings(
                v, s, real_regions, real_words, in_chunks=True
            ),
            input_signature=[regions, words, mask, mask],
        )

    def _search(self, name: str, beam: bool) -> Callable[[Any], tuple[tf.Tensor, tf.Tensor]]:
        """Returns the search of a generator as one graph that the signatures share."""
        if (name, beam) not in self._searches:
            generator, settings = self._generator(name), self.run.config.generate
            beam_size = settings.beam_size if beam else 1
            self._searches[name, beam] = tf.function(
                lambda inputs: search_sentences(
                    generator, inputs, self.run.vocabulary, settings, beam_size
                ),
                input_signature=[generator.input_specs()],
            )
        return self._searches[name, beam]

    def _generator(self, name: str) -> CaptioningModel:
        return self.run.full_frame_generator if name == "full_frame" else self.run.region_generator

    def _token_ids(self, sentences: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns token ids int32 [N, T] and tokens string [N, T]."""
        tokens = tokenize(sentences)[:, : self.run.config.text.max_words]
        token_ids = self.run.vocabulary.lookup(tokens).to_tensor(PAD_ID)
        return tf.ensure_shape(token_ids, [None, None]), tokens.to_tensor("")


def _maskable(region_mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns a mask with a real region in every row, since padding alone has no maximum.

    Also returns the rows that had one before, bool [B, 1].
    """
    readable = tf.reduce_any(region_mask, axis=1, keepdims=True)
    return region_mask | ~readable, readable
