"""A finished run, ready to be used on pictures: its models, vocabulary and region extractor."""

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from visem_tf.config import Config
from visem_tf.datasets import PRECOMPUTED
from visem_tf.decoding import CaptioningModel
from visem_tf.decoding.captioner import Captioner, word_attention
from visem_tf.errors import UserError
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.generator import SentenceGenerator
from visem_tf.models.saving import load_model
from visem_tf.regions.extractor import RegionExtractor, Regions
from visem_tf.runs.generators import checkpoint, read_generator, with_ensemble
from visem_tf.runs.grounding import Grounder
from visem_tf.runs.run_directory import RunDirectory
from visem_tf.runtime.storage import as_path
from visem_tf.text import Vocabulary


@dataclass(frozen=True)
class Description:
    """What is said of a picture.

    Attributes:
      caption: Of the whole picture.
      log_prob: Its log-probability.
      boxes: float32 [R, 4], `rel_yxyx`; row 0 is the whole frame.
      region_captions: R texts, empty where the run has no region generator.
      region_log_probs: float32 [R].
      region_scores: float32 [R], the proposer's.
      attention: float32 [words, R], how much each word of the caption looked at each region; None
        if the generator does not look at regions.
      region_fits: float32 [R], how well each text fits its region: the sum of v_i . s_t over its
        words, by the alignment model; None if the run has none.
    """

    caption: str
    log_prob: float
    boxes: np.ndarray
    region_captions: list[str]
    region_log_probs: np.ndarray
    region_scores: np.ndarray
    attention: np.ndarray | None = None
    region_fits: np.ndarray | None = None


class TrainedRun:
    """Reads the parts of a run when they are first used.

    Args:
      path: The run directory.
      config: Instead of the recorded configuration, for another beam size or length.

    Raises:
      UserError: It is no run directory, or the part that is asked for was not trained.
    """

    def __init__(self, path: str | os.PathLike[str], config: Config | None = None) -> None:
        if not (as_path(path) / "config.json").is_file():
            raise UserError(f"{os.fspath(path)} is no run directory (it has no config.json)")
        self.run = RunDirectory(path)
        recorded = self.run.config()
        assert recorded is not None
        self.config = recorded if config is None else config

    @functools.cached_property
    def vocabulary(self) -> Vocabulary:
        """The words of the training split."""
        return Vocabulary.load(self.run / "vocabulary.txt")

    @functools.cached_property
    def extractor(self) -> RegionExtractor:
        """Finds and describes regions as in the training."""
        if self.config.dataset == PRECOMPUTED:
            raise UserError(
                f"{self.run.path} was trained on features that were computed elsewhere; pictures "
                "need a run that was trained on pictures"
            )
        return RegionExtractor(self.config.regions, self.run.tuned_cnn)

    @functools.cached_property
    def alignment_model(self) -> AlignmentModel:
        """The best alignment model."""
        return load_model(self._existing("align", "align"), AlignmentModel)

    @functools.cached_property
    def grounder(self) -> Grounder:
        """Scores sentences with images, and finds the regions of their words."""
        return Grounder(self.alignment_model, self.vocabulary, self.config)

    @functools.cached_property
    def full_frame_generator(self) -> CaptioningModel:
        """The best generator of whole-picture sentences, with its ensemble if it has one."""
        return with_ensemble(self._generator("full_frame"), self.config, self.vocabulary, self.run)

    @functools.cached_property
    def region_generator(self) -> CaptioningModel:
        """The best generator of region snippets."""
        return self._generator("regions")

    def describe(self, regions: Regions) -> list[Description]:
        """Describes pictures and their regions by beam search.

        Args:
          regions: Of B pictures.

        Returns:
          B descriptions.
        """
        features = np.asarray(regions.region_features)
        mask = np.asarray(regions.region_mask)
        captions, log_probs = self._full_frame_captioner.describe_images(features, mask)
        attention = word_attention(
            self.full_frame_generator, self.vocabulary, captions, features, mask
        )
        batch, num_regions, feature_dim = features.shape
        texts, text_log_probs = [""] * (batch * num_regions), np.zeros([batch, num_regions])
        fits = None
        if self.has("generate/regions"):
            texts, flat = self._region_captioner(features.reshape(-1, feature_dim))
            text_log_probs = flat.reshape(batch, num_regions)
            fits = self.grounder.fits(features, texts) if self.has("align") else None
        described = []
        for row in range(batch):
            real = np.flatnonzero(mask[row])
            described.append(
                Description(
                    captions[row],
                    float(log_probs[row]),
                    np.asarray(regions.boxes)[row, real],
                    [texts[row * num_regions + region] for region in real],
                    text_log_probs[row, real],
                    np.asarray(regions.scores)[row, real],
                    None if attention is None else attention[row][:, real],
                    None if fits is None else fits[row, real],
                )
            )
        return described

    @functools.cached_property
    def _full_frame_captioner(self) -> Captioner:
        return self._captioner(self.full_frame_generator)

    @functools.cached_property
    def _region_captioner(self) -> Captioner:
        return self._captioner(self.region_generator)

    def _captioner(self, generator: CaptioningModel) -> Captioner:
        settings = self.config.generate
        return Captioner(generator, self.vocabulary, settings, settings.beam_size)

    def has(self, name: str) -> bool:
        """Whether a model was trained: "align", "generate/full_frame" or "generate/regions"."""
        return self._path(name).exists()

    def _path(self, name: str) -> Path:
        folder, _, generator = name.partition("/")
        if folder == "generate":
            return checkpoint(self.run.path, generator)
        return self.run.alignment_model

    def _generator(self, name: str) -> SentenceGenerator:
        path = self._existing(f"generate/{name}", "generate")
        return read_generator(path, self.config.generate, name)

    def _existing(self, name: str, stage: str) -> Path:
        path = self._path(name)
        if path.exists():
            return path
        if stage == "generate" and not getattr(self.config.generate, path.parent.name):
            raise UserError(
                f"{self.run.path} was trained with --generate.{path.parent.name} false and has no "
                "such generator; use another run"
            )
        raise UserError(
            f"{self.run.path} has no {path.relative_to(self.run.path)}; run "
            f"python -m visem_tf.fit --run-dir {self.run.path} --stages {stage} first"
        )
