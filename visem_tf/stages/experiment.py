"""What the experiments of section 4 take and return."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import tensorflow as tf

from visem_tf.datasets.caption_dataset import Split
from visem_tf.metrics.resampling import Evidence
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.runs.checkpoints import read_or_build_vocabulary
from visem_tf.runs.context import Context
from visem_tf.runs.scoring import sentence_token_ids
from visem_tf.stages.features import open_cache
from visem_tf.text import Vocabulary


@dataclass(frozen=True)
class EvaluatedSplit:
    """A split to evaluate a run on.

    Attributes:
        context: Context of the run.
        split: Images and sentences.
        cache: Region features of the images.
        vocabulary: Vocabulary of the run.
        token_ids: Words of the S sentences, int32 [S, (T)].
    """

    context: Context
    split: Split
    cache: FeatureCache
    vocabulary: Vocabulary
    token_ids: tf.RaggedTensor

    @classmethod
    def open(cls, context: Context) -> EvaluatedSplit:
        """Opens the split that `evaluate.split` names."""
        name = context.config.evaluate.split
        split, vocabulary = context.data.splits[name], read_or_build_vocabulary(context)
        max_words = context.config.text.max_words
        token_ids = sentence_token_ids(vocabulary, split.sentences, max_words)
        return cls(context, split, open_cache(context, name), vocabulary, token_ids)


class Experiment(NamedTuple):
    """Results of an experiment.

    Attributes:
        figures: Part of `metrics.json`; None if the experiment could not be made.
        notes: Reasons for missing figures, and remarks on others, by dotted name.
        evidence: Contribution of every image to the figures, by dotted name.
    """

    figures: dict[str, Any] | None
    notes: dict[str, str]
    evidence: dict[str, Evidence]

    def under(self, name: str) -> Experiment:
        """Returns the results with a prefix before the names of notes and evidence."""
        if not name:
            return self
        return Experiment(
            self.figures,
            {f"{name}.{key}": note for key, note in self.notes.items()},
            {f"{name}.{key}": evidence for key, evidence in self.evidence.items()},
        )


def merge(experiments: Iterable[Experiment]) -> Experiment:
    """Merges the figures, notes and evidence of experiments."""
    merged: tuple[dict[str, Any], ...] = ({}, {}, {})
    for experiment in experiments:
        for whole, part in zip(merged, experiment, strict=True):
            whole.update(part or {})
    return Experiment(*merged)
