"""A finished run, ready for use on new images: its models, vocabulary and region extractor."""

import functools
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from visem_tf.alignment.hubness import Hubness
from visem_tf.config import Config
from visem_tf.datasets import PRECOMPUTED
from visem_tf.decoding import CaptioningModel
from visem_tf.decoding.captioner import Captioner, word_attention
from visem_tf.errors import UserError
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.saving import load_model
from visem_tf.regions.extractor import RegionExtractor, Regions
from visem_tf.regions.given_boxes import BoxExtractor
from visem_tf.runs.description import Description
from visem_tf.runs.generators import (
    find_and_read_generator,
    read_full_frame_generators,
    require_vocabulary,
)
from visem_tf.runs.grounding import Grounder
from visem_tf.runs.model_files import ModelFiles, open_model_files
from visem_tf.runs.phrase_grounding import PhraseGrounder
from visem_tf.runs.scoring import read_hubness
from visem_tf.text import Vocabulary


class TrainedRun:
    """A run whose models are loaded at their first use.

    Args:
        path: Run directory, or published model by its path, address or name; or its opened files.
        config: Configuration to use instead of the recorded one, e.g. with another beam size.

    Raises:
        UserError: There is no such model, it is damaged, or its configuration cannot be read. The
            properties raise it if the run has no such model.
    """

    def __init__(
        self, path: str | os.PathLike[str] | ModelFiles, config: Config | None = None
    ) -> None:
        self.run = path if isinstance(path, ModelFiles) else open_model_files(path)
        self.config = config or self.run.recorded_config()
        self._captioners: dict[tuple[str, int], Captioner] = {}

    @functools.cached_property
    def vocabulary(self) -> Vocabulary:
        """Vocabulary of the training split."""
        return Vocabulary.load(self.run / "vocabulary.txt")

    @functools.cached_property
    def extractor(self) -> RegionExtractor:
        """Region extractor, configured as for the training."""
        if self.config.dataset_name == PRECOMPUTED:
            raise UserError(
                f"{self.run.path} was trained on features that were computed elsewhere; use a run "
                "that was trained on images"
            )
        return RegionExtractor(self.config.regions, self.run.region_weights)

    @functools.cached_property
    def box_extractor(self) -> BoxExtractor:
        """Extracts the features of given boxes."""
        settings = self.config.regions.updated({"proposer": "none"})
        return BoxExtractor(RegionExtractor(settings, self.run.region_weights))

    @functools.cached_property
    def alignment_model(self) -> AlignmentModel:
        """Best alignment model."""
        path = self.run.alignment_model
        if not path.exists():
            raise self.run.missing(path, "align")
        model = load_model(path, AlignmentModel)
        require_vocabulary(self.run, model.sentence_encoder.vocabulary_size)
        return model

    @functools.cached_property
    def grounder(self) -> Grounder:
        """Grounder of the alignment model."""
        return Grounder(self.alignment_model, self.vocabulary, self.config, self.hubness)

    @functools.cached_property
    def word_grounder(self) -> Grounder:
        """Grounder that scores no sentences with images, and so needs no bank."""
        return Grounder(self.alignment_model, self.vocabulary, self.config)

    @functools.cached_property
    def hubness(self) -> Hubness | None:
        """What is subtracted from scores; None without `infer.hubness_scale`."""
        scale, model = self.config.infer.hubness_scale, self.alignment_model
        if not scale:
            return None
        if not self.run.bank.exists():
            missing = self.run.missing(self.run.bank, f"align --infer.hubness_scale {scale:g}")
            raise UserError(f"{missing}, or give --infer.hubness_scale 0")
        return read_hubness(self.run.bank, scale, model)

    def score_embeddings(
        self,
        region_embeddings: tf.Tensor,
        word_embeddings: tf.Tensor,
        region_mask: tf.Tensor,
        word_mask: tf.Tensor,
        *,
        in_chunks: bool = False,
    ) -> tf.Tensor:
        """Scores images with sentences as `Grounder.scores` does, in graph.

        Args:
            region_embeddings: float [B, R, D].
            word_embeddings: float [N, T, D].
            region_mask: bool [B, R], True for real regions.
            word_mask: bool [N, T], True for real words.
            in_chunks: Whether the hubness of many images is computed in parts, which needs loops.

        Returns:
            float32 [B, N].
        """
        embeddings = region_embeddings, word_embeddings, region_mask, word_mask
        scores = self.alignment_model.score_embeddings(*embeddings)
        if self.hubness is None:
            return scores
        size = self.hubness.images_at_a_time if in_chunks else None
        of_images = self.hubness.of_images(region_embeddings, region_mask, size)
        of_sentences = self.hubness.of_sentences(word_embeddings, word_mask, size)
        return scores - of_images[:, tf.newaxis] - of_sentences

    @functools.cached_property
    def phrase_grounder(self) -> PhraseGrounder:
        """Grounder of phrases, with the configured read-out."""
        return PhraseGrounder(self.grounder)

    @functools.cached_property
    def full_frame_generator(self) -> CaptioningModel:
        """Best generator of captions of whole images, or the ensemble of several."""
        return read_full_frame_generators(
            self.run, self.config, self.vocabulary, lambda: self.alignment_model
        )

    @functools.cached_property
    def region_generator(self) -> CaptioningModel:
        """Best generator of region descriptions."""
        return find_and_read_generator(self.run, self.config.generate, "regions")

    def has(self, name: str) -> bool:
        """Returns whether a model was trained.

        Args:
            name: "align", "generate/full_frame" or "generate/regions".
        """
        if name == "align":
            return self.run.alignment_model.exists()
        return self.run.generator(name.removeprefix("generate/")).exists()

    def describe(
        self,
        regions: Regions,
        beam_size: int | None = None,
        captions: Sequence[str] | None = None,
    ) -> list[Description]:
        """Describes images and their regions by beam search.

        Args:
            regions: Regions of B images.
            beam_size: Number of beams; None is as configured.
            captions: Captions that the model has written before, whose log-probabilities are not
                known; None writes them.

        Returns:
            B descriptions.
        """
        beam_size = beam_size or self.config.generate.beam_size
        regions = Regions(*map(np.asarray, regions))
        features, mask = regions.region_features, regions.region_mask
        log_probs, attention = np.full(len(mask), np.nan), None
        reads_captions = captions is None or (any(captions) and self.has("generate/full_frame"))
        if captions is None:
            captioner = self._captioner("full_frame", beam_size)
            captions, log_probs = captioner.describe_images(features, mask)
        if reads_captions:
            attention = word_attention(
                self.full_frame_generator, self.vocabulary, list(captions), features, mask
            )
        texts, text_log_probs = [""] * mask.size, np.zeros(mask.size)
        fits = None
        if self.has("generate/regions"):
            texts, text_log_probs = self._captioner("regions", beam_size)(
                features.reshape(mask.size, -1)
            )
            fits = self.word_grounder.fits(features, texts) if self.has("align") else None
        by_image = np.reshape(np.array(texts, object), mask.shape)
        return [
            Description(
                captions[row],
                float(log_probs[row]),
                regions.boxes[row, real],
                by_image[row, real].tolist(),
                text_log_probs.reshape(mask.shape)[row, real],
                regions.scores[row, real],
                None if attention is None else attention[row][:, real],
                None if fits is None else fits[row, real],
            )
            for row, real in enumerate(mask)
        ]

    def _captioner(self, name: str, beam_size: int) -> Captioner:
        """The captioner of a generator, which has one graph for each beam size."""
        key = name, beam_size
        if key not in self._captioners:
            generator = self.region_generator if name == "regions" else self.full_frame_generator
            settings = self.config.generate
            self._captioners[key] = Captioner(generator, self.vocabulary, settings, beam_size)
        return self._captioners[key]
