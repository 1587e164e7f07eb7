"""The whole configuration of a run: frozen dataclasses, a section for each part of the method.

`visem_tf.config.presets` has named configurations, which differ from the defaults. Every field has
a docstring, which `--help` shows, and is set on the command line by its dotted name, as in
`--align.batch_size 200`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from visem_tf.config.inference import InferConfig
from visem_tf.config.models import AlignConfig, GenerateConfig, JointConfig, ProposeConfig
from visem_tf.config.recorded import read_fields
from visem_tf.config.registry import HUBNESS_SCORES
from visem_tf.config.sections import (
    ComputeConfig,
    DataConfig,
    DistributeConfig,
    EvaluateConfig,
    RegionsConfig,
    ReportConfig,
    TextConfig,
)
from visem_tf.config.settings import Settings, nearest, setting

STAGES = ("propose", "features", "align", "infer", "generate", "evaluate", "report", "export")
"""The stages of `visem_tf.fit`, in the order in which they run."""


FREEZABLE = ("region_encoder", "sentence_encoder", "word_vectors")
"""Parts of a model that a training can start from and leave unchanged."""


@dataclass(frozen=True)
class Config(Settings):
    """Everything that a run depends on.

    Example:
        >>> config = Config(seed=3).updated({"align.batch_size": 200})
        >>> config.align.batch_size
        200
        >>> Config.from_json(config.to_json()) == config
        True
    """

    dataset: str = "scenes"
    """The data set, or NAME/VARIANT. scenes is drawn when it is needed and has no files. auto, the
    default if only data_dir is given, recognises the data set in the folder."""
    data_dir: str = ""
    """The folder with the data set's files, if it has any."""
    preset: Literal["smoke", "default", "paper", "best"] = "default"
    """The named configuration that all other fields start from."""
    stages: tuple[str, ...] = STAGES
    """The stages to run, separated by commas; finished ones are skipped."""
    run_dir: str = ""
    """The folder of all results; if empty, runs/DATASET-PRESET. A command with an existing folder
    resumes its run."""
    cache_dir: str = "~/.cache/visem_tf"
    """The folder for prepared data sets and CNN features, shared by all runs."""
    init_from: str = ""
    """A trained model to start from: a run directory, a published model, or the name of a model in
    the package. Its configuration replaces the preset, its vocabulary grows by the words of the
    new data, and training starts from its weights."""
    freeze: tuple[str, ...] = ()
    """For init_from: parts that are not trained, separated by commas: region_encoder,
    sentence_encoder (except for the word vectors) and word_vectors (those of the words that the
    model knows, including the ones of the generators)."""
    seed: int = setting(0, at_least=0, at_most=2**32 - 1)
    """The seed of all random numbers."""
    strict: bool = False
    """Whether an unreadable image is an error; otherwise it is listed and skipped."""
    data: DataConfig = field(default_factory=DataConfig)
    text: TextConfig = field(default_factory=TextConfig)
    regions: RegionsConfig = field(default_factory=RegionsConfig)
    propose: ProposeConfig = field(default_factory=ProposeConfig)
    align: AlignConfig = field(default_factory=AlignConfig)
    infer: InferConfig = field(default_factory=InferConfig)
    generate: GenerateConfig = field(default_factory=GenerateConfig)
    joint: JointConfig = field(default_factory=JointConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    distribute: DistributeConfig = field(default_factory=DistributeConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)

    @property
    def dataset_name(self) -> str:
        """Name of the data set without its variant."""
        return self.dataset.partition("/")[0]

    @property
    def variant(self) -> str | None:
        """Variant of the data set; None for the first."""
        return self.dataset.partition("/")[2] or None

    def _conflicts(self) -> Iterator[str]:
        if not self.stages:
            yield f"stages must name at least one of {', '.join(STAGES)}"
        for stage in self.stages:
            if stage not in STAGES:
                hint = nearest(stage, STAGES)
                yield f"stages must be among {', '.join(STAGES)}, not {stage!r}{hint}"
        yield from self._start_conflicts()
        yield from self._propose_conflicts()
        if self.infer.hubness_scale and self.align.score not in HUBNESS_SCORES:
            yield (
                f"infer.hubness_scale applies to align.score {' and '.join(HUBNESS_SCORES)}, not "
                f"{self.align.score}; give --infer.hubness_scale 0"
            )
        if self.joint.train:
            yield from self._joint_conflicts()

    def _start_conflicts(self) -> Iterator[str]:
        for part in self.freeze:
            if part not in FREEZABLE:
                hint = nearest(part, FREEZABLE)
                yield f"freeze must be of {', '.join(FREEZABLE)}, not {part!r}{hint}"
        if self.freeze and not self.init_from:
            yield "freeze keeps parts of a trained model, which init_from names; give --init-from"
        if self.init_from and self.align.word_vectors:
            yield (
                "init_from and align.word_vectors both bring vectors of words; leave one of them "
                "out"
            )

    def _propose_conflicts(self) -> Iterator[str]:
        proposer, file = self.regions.proposer, self.regions.proposer_file
        if self.propose.epochs and proposer != "trained":
            yield (
                f"propose.epochs trains a proposer, and regions.proposer {proposer} would not use "
                "it; choose regions.proposer trained"
            )
        if self.propose.epochs and file:
            yield (
                "propose.epochs trains a proposer, and regions.proposer_file names a trained one; "
                "leave one of them out"
            )
        if file and proposer != "trained":
            yield (
                f"regions.proposer_file names a trained proposer, and regions.proposer {proposer} "
                "would not use it; choose regions.proposer trained"
            )
        if "propose" in self.stages and not self.propose.epochs and set(self.stages) != set(STAGES):
            yield (
                "the stage propose needs --propose.epochs, which is 0; set it, or leave the stage "
                "out of --stages"
            )

    def _joint_conflicts(self) -> Iterator[str]:
        align, generate = self.align, self.generate
        if not (generate.full_frame or generate.regions):
            yield (
                "joint.train trains generators with the alignment model, and generate.full_frame "
                "and generate.regions are both false"
            )
        if generate.members > 1:
            yield (
                f"joint.train has one generator of whole-image sentences, not generate.members "
                f"{generate.members}; leave it at 1"
            )
        if align.members > 1:
            yield (
                f"joint.train has one alignment model, not align.members {align.members}; leave it "
                "at 1"
            )
        if align.mirror:
            yield (
                "align.mirror changes the regions of an image from pair to pair, and joint.train "
                "writes to those of the snippets; leave one of them out"
            )
        if generate.mirror:
            yield (
                "generate.mirror applies to generators that are trained after the alignment, and "
                "joint.train trains them with it; leave one of them out"
            )
        if align.finetune_epochs:
            yield (
                "align.finetune_epochs changes the region features after the alignment, while "
                "joint.train trains generators on them at the same time; choose one of the two"
            )
        if align.self_training_epochs:
            yield (
                "align.self_training_epochs trains the region encoder after the alignment, and "
                "joint.train trains generators that share it; choose one of the two"
            )
        if align.word_dim != generate.word_dim:
            yield (
                "joint.train has one set of word vectors, so that align.word_dim "
                f"{align.word_dim} and generate.word_dim {generate.word_dim} must be equal"
            )
        if self.compute.precision != "float32":
            yield (
                f"joint.train computes in float32, not in compute.precision "
                f"{self.compute.precision}; leave one of them out"
            )
        if self.joint.monitor == "val_perplexity" and not generate.full_frame:
            yield (
                "joint.monitor val_perplexity is the perplexity of whole-image sentences, whose "
                "generator generate.full_frame false leaves out"
            )

    def to_json(self, **extra: Any) -> str:
        """Returns the configuration as indented JSON, with further top-level entries at its end."""
        return json.dumps({**self.to_dict(), **extra}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Config:
        """Returns the configuration in a JSON text; fields that it leaves out have their defaults.

        Args:
            text: Output of `to_json`, of this version or an earlier one.

        Raises:
            UserError: The text is not a JSON object, a field is unknown or a value is invalid.
        """
        return cls().updated(read_fields(text))
