"""The whole configuration of a run: frozen dataclasses, a section for each part of the method.

The defaults below are the preset `default`; the others are in `visem_tf.config.presets`. Every
field has a docstring, which `--help` shows, and is given on the command line by its dotted name, as
in `--align.batch_size 200`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from visem_tf.config.models import AlignConfig, GenerateConfig, InferConfig, JointConfig
from visem_tf.config.registry import check_name, proposer_names
from visem_tf.config.settings import Settings, nearest, setting
from visem_tf.errors import UserError

STAGES = ("features", "align", "infer", "generate", "evaluate", "report", "export")
"""The stages of `visem_tf.fit`, in the order in which they run."""


@dataclass(frozen=True)
class DataConfig(Settings):
    """How a data set's own files are read, where they leave that open."""

    section: ClassVar[str] = "data"

    pictures: str = ""
    """The folder of the pictures, below data_dir or anywhere; empty takes the data set's usual
    one."""
    captions: str = ""
    """The file of the captions, below data_dir or anywhere; empty takes the data set's usual
    one."""
    features: str = ""
    """For precomputed: the name of a .mat or .tsv file, or ims for {train,dev,test}_ims.npy, or
    cache for our own; empty takes those that are there, if only one kind is."""
    splits: Literal["auto", "given", "entities", "random"] = "auto"
    """Where the splits come from: given with the data, from Flickr30k Entities' own lists, or made
    at random from split_seed; auto takes the given ones, and makes them where none are given."""
    val_share: float = setting(0.1, above=0, below=1)
    """Share of the pictures that splits made at random put into val."""
    test_share: float = setting(0.1, above=0, below=1)
    """Share of the pictures that splits made at random put into test."""
    split_seed: int = setting(0, at_least=0)
    """The seed of splits made at random; a picture's sentences always stay together."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.val_share + self.test_share >= 1:
            raise UserError(
                f"data.val_share {self.val_share:g} and data.test_share {self.test_share:g} leave "
                "nothing to train on; their sum must be below 1"
            )


@dataclass(frozen=True)
class TextConfig(Settings):
    """Words: what counts as one, and how long a sentence may be."""

    section: ClassVar[str] = "text"

    min_count: int = setting(5, at_least=1)
    """A word is kept when the training split has it at least this often; others become <unk>."""
    max_words: int = setting(30, at_least=1)
    """Longer sentences are cut to this many words for training."""


@dataclass(frozen=True)
class RegionsConfig(Settings):
    """Regions of a picture, and the pretrained CNN that describes them."""

    section: ClassVar[str] = "regions"

    backbone: Literal["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"] = (
        "efficientnet_lite0"
    )
    """The CNN pretrained on ImageNet; all but efficientnet_lite0 need the extra `backbones`."""
    proposer: str = "windows"
    """What proposes the boxes, a module of `visem_tf.regions.proposers`: windows (of several sizes,
    scored by the classifier), selective_search (needs the extra `selective-search`), retinanet
    (KerasCV's detector; fetches its weights from Kaggle), grid (the same boxes in every picture),
    or none (the whole frame is the only region)."""
    num_regions: int = setting(20, at_least=1, at_most=1000)
    """Regions of a picture, the whole frame among them: 19 boxes and the frame in the paper."""
    picture_size: int = setting(384, at_least=32, at_most=2048)
    """Side in pixels of the square that a picture is resized to first: where the proposer looks,
    and what regions are cut out of."""
    frame_size: int = setting(224, at_least=32, at_most=2048)
    """Side in pixels at which the CNN sees the whole frame, when regions are described as crops."""
    features: Literal["crops", "pooled"] = "crops"
    """How a region is described: the CNN on its own crop (better), or pooled from one pass over the
    picture (some thirty times faster)."""
    crop_size: int = setting(96, at_least=32, at_most=2048)
    """Side in pixels that the crop of a region is resized to."""
    resolution: Literal["square", "own"] = "square"
    """Whether a picture is warped to the square first, or keeps its aspect ratio, and its own
    pixels as far as its longer side fits into picture_size; each region is then described in about
    its own aspect ratio too. The proposer looks at the square in any case."""
    scales: int = setting(1, at_least=1, at_most=4)
    """Sizes at which the CNN sees every region: crop_size (frame_size) times 1, 1.5, 2 and 3, so
    many of them; the vectors are averaged."""
    nms_iou: float = setting(0.4, above=0, at_most=1)
    """Of two proposals that overlap by more than this IoU, the weaker is dropped; 1 keeps all."""
    edge_weight: float = setting(2.0, at_least=0)
    """For windows: what it counts that things begin and end at a window's borders, beside how much
    more the classifier sees inside than around; drawn scenes want more of it than photographs."""
    batch_size: int = setting(8, at_least=1)
    """Pictures in one pass of the CNN; changes speed and memory only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name("regions.proposer", self.proposer, proposer_names())
        if self.features == "pooled":
            for name, off in (("resolution", "square"), ("scales", 1)):
                if getattr(self, name) != off:
                    raise UserError(
                        f"regions.{name} {getattr(self, name)} is of crops, and regions.features "
                        "pooled has one pass over the square; choose regions.features crops"
                    )


@dataclass(frozen=True)
class EvaluateConfig(Settings):
    """The three experiments on a finished run."""

    section: ClassVar[str] = "evaluate"

    split: Literal["train", "val", "test"] = "test"
    """The split that is evaluated."""
    beam_size: int = setting(7, at_least=1)
    """Beams of the search whose captions are scored beside the greedy ones."""
    resamples: int = setting(1000, at_least=0)
    """Drawings of the bootstrap over pictures behind 95 % intervals and paired tests; 0 leaves
    intervals out."""
    fold_size: int = setting(1000, at_least=1)
    """Pictures in a fold; a split of two folds or more is ranked in folds as well (COCO's 1K)."""


@dataclass(frozen=True)
class ReportConfig(Settings):
    """What people look at: `report.html`, and TensorBoard."""

    section: ClassVar[str] = "report"

    pictures: int = setting(24, at_least=1)
    """Pictures in `report.html`, a third each of the best, of any and of the worst."""
    every: int = setting(2, at_least=0)
    """Pictures and sentences are written for TensorBoard every so many epochs; 0: never."""
    profile: bool = False
    """Whether a few steps of each training are profiled for TensorBoard (to look at them needs the
    package tensorboard-plugin-profile)."""


@dataclass(frozen=True)
class DistributeConfig(Settings):
    """Training on several devices; the objective does not depend on how many there are."""

    section: ClassVar[str] = "distribute"

    strategy: Literal["auto", "none", "mirrored", "multi_worker"] = "auto"
    """auto takes every GPU of this machine, and the machines of TF_CONFIG where it names several;
    none takes one device; mirrored copies the model to each device of this machine, even when there
    is one; multi_worker is for the machines of TF_CONFIG."""
    replicas: int = setting(0, at_least=0, at_most=64)
    """Devices to train on; 0 takes every one. More than 1 without a GPU splits the CPU into as many
    logical devices."""
    wait_seconds: int = setting(300, at_least=1)
    """How long a worker waits for the others of TF_CONFIG to start."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strategy == "multi_worker" and self.replicas:
            raise UserError(
                f"distribute.strategy multi_worker takes every GPU of every worker, not "
                f"distribute.replicas {self.replicas}; leave it 0"
            )
        if self.strategy == "none" and self.replicas > 1:
            raise UserError(
                f"distribute.strategy none uses one device, not distribute.replicas "
                f"{self.replicas}; choose auto or mirrored"
            )


@dataclass(frozen=True)
class ComputeConfig(Settings):
    """How the machine is used."""

    section: ClassVar[str] = "compute"

    threads: int = setting(0, at_least=0, at_most=1024)
    """Threads of a matrix product on the CPU; 0 takes every core."""
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    """In what the models are trained: mixed_bfloat16 multiplies in 16 bits, where the processor or
    GPU can, and keeps the weights in 32; afterwards all models compute in 32."""
    save_seconds: int = setting(300, at_least=0)
    """Seconds of training after which all numbers are saved within an epoch, so that a kill loses
    no more; 0 saves after whole epochs only."""


@dataclass(frozen=True)
class Config(Settings):
    """Everything that a run depends on.

    Example:
        >>> config = Config(seed=3).updated({"align.batch_size": 200})
        >>> config.align.batch_size
        200
        >>> Config.from_json(config.to_json()) == config
        True
        >>> differences(Config(), config)
        ['seed', 'align.batch_size']
    """

    dataset: str = "scenes"
    """The data set, or NAME/VARIANT; scenes is drawn on the spot and needs no files."""
    data_dir: str = ""
    """The folder with the data set's own files, where it needs any."""
    preset: str = "default"
    """The named configuration that all other fields start from."""
    stages: tuple[str, ...] = STAGES
    """The stages to run, separated by commas; finished ones are skipped."""
    run_dir: str = ""
    """The folder of all results; running again with the same one resumes. Empty stands for
    runs/DATASET-PRESET."""
    cache_dir: str = "~/.cache/visem_tf"
    """The folder for prepared data sets and CNN features, which runs share."""
    seed: int = setting(0, at_least=0, at_most=2**32 - 1)
    """The seed of everything random."""
    strict: bool = False
    """Whether an unreadable picture ends the command; otherwise it is listed and skipped."""
    data: DataConfig = field(default_factory=DataConfig)
    text: TextConfig = field(default_factory=TextConfig)
    regions: RegionsConfig = field(default_factory=RegionsConfig)
    align: AlignConfig = field(default_factory=AlignConfig)
    infer: InferConfig = field(default_factory=InferConfig)
    generate: GenerateConfig = field(default_factory=GenerateConfig)
    joint: JointConfig = field(default_factory=JointConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    distribute: DistributeConfig = field(default_factory=DistributeConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.stages:
            raise UserError(f"stages must name at least one of {', '.join(STAGES)}")
        for stage in self.stages:
            if stage not in STAGES:
                raise UserError(
                    f"stages must be among {', '.join(STAGES)}, not {stage!r}"
                    f"{nearest(stage, STAGES)}"
                )
        if self.joint.train:
            self._check_joint()

    def _check_joint(self) -> None:
        align, generate = self.align, self.generate
        if not (generate.full_frame or generate.regions):
            raise UserError(
                "joint.train trains generators with the alignment, and generate.full_frame and "
                "generate.regions are both false"
            )
        if generate.members > 1:
            raise UserError(
                f"joint.train has one generator of whole-picture sentences, not generate.members "
                f"{generate.members}; leave it at 1"
            )
        if align.finetune_epochs:
            raise UserError(
                "align.finetune_epochs changes what regions look like after generators have "
                "learned from them, which joint.train does at once; choose one of the two"
            )
        if align.word_dim != generate.word_dim:
            raise UserError(
                "joint.train has one set of word vectors, so that align.word_dim "
                f"{align.word_dim} and generate.word_dim {generate.word_dim} must be equal"
            )
        if self.compute.precision != "float32":
            raise UserError(
                f"joint.train computes in float32, not in compute.precision "
                f"{self.compute.precision}; leave one of them out"
            )
        if self.joint.monitor == "val_perplexity" and not generate.full_frame:
            raise UserError(
                "joint.monitor val_perplexity is of whole-picture sentences, which "
                "generate.full_frame false leaves out"
            )

    def to_json(self, **extra: Any) -> str:
        """Returns the configuration as indented JSON, with further top-level entries at its end."""
        return json.dumps({**self.to_dict(), **extra}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Config:
        """Returns the configuration in a JSON text; fields that it leaves out have their defaults.

        Args:
            text: what `to_json` gave; the entry "versions" of a run's config.json is skipped.

        Raises:
            UserError: the text is no JSON object, a field is unknown or a value is bad.
        """
        return cls().updated(read_fields(text))


def read_fields(text: str) -> dict[str, Any]:
    """Returns the fields that a JSON text sets, without checking them.

    Args:
        text: a JSON object; the entry "versions" of a run's config.json is left out.

    Raises:
        UserError: the text is no JSON object.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UserError(f"a configuration must be valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"a configuration must be a JSON object, not {type(values).__name__}")
    return {key: value for key, value in values.items() if key != "versions"}


def differences(a: Config, b: Config) -> list[str]:
    """Returns the dotted names of the fields in which two configurations differ."""
    there = dict(b.flat())
    return [name for name, value in a.flat() if value != there[name]]
