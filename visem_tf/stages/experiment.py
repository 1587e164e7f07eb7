"""Inputs and results of the experiments of section 4."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from visem_tf.datasets.caption_dataset import Split
from visem_tf.metrics.resampling import Evidence
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.runs.context import Context
from visem_tf.runs.scoring import sentence_token_ids
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.stages.features import open_cache


@dataclass(frozen=True)
class EvaluatedSplit:
    """A split to evaluate a run on.

    Attributes:
        context: Context of the run.
        split: Images and sentences.
        cache: Region features of the images.
        run: Models of the run.
        token_ids: Words of the S sentences, int32 [S, (T)].
    """

    context: Context
    split: Split
    cache: FeatureCache
    run: TrainedRun
    token_ids: tf.RaggedTensor

    @classmethod
    def open(cls, context: Context) -> EvaluatedSplit:
        """Opens the split that `evaluate.split` names."""
        name, max_words = context.config.evaluate.split, context.config.text.max_words
        split, run = context.data.splits[name], TrainedRun(context.run, context.config)
        token_ids = sentence_token_ids(run.vocabulary, split.sentences, max_words)
        return cls(context, split, open_cache(context, name), run, token_ids)


@dataclass(frozen=True)
class Experiment:
    """Results of an experiment.

    Attributes:
        figures: Part of `metrics.json`.
        notes: Reasons for missing figures, and remarks on others, by dotted name.
        evidence: Contribution of every image to the figures, by dotted name.
    """

    figures: dict[str, Any]
    notes: dict[str, str] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)

    def under(self, name: str) -> Experiment:
        """Returns the results as the part `name` of others; if it is empty, as they are."""
        if not name:
            return self
        return Experiment(
            {name: self.figures},
            {f"{name}.{key}": note for key, note in self.notes.items()},
            {f"{name}.{key}": evidence for key, evidence in self.evidence.items()},
        )


def absent(name: str, reason: str) -> Experiment:
    """Returns the results of an experiment that could not be made."""
    return Experiment({name: None}, {name: reason})


def merge(experiments: Iterable[Experiment]) -> Experiment:
    """Merges the figures, notes and evidence of experiments."""
    merged = Experiment({})
    for experiment in experiments:
        merged.figures.update(experiment.figures)
        merged.notes.update(experiment.notes)
        merged.evidence.update(experiment.evidence)
    return merged
