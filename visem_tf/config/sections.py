"""The whole configuration of a run: frozen dataclasses, a section for each part of the method.

`visem_tf.config.presets` has named configurations, which differ from the defaults. Every field has
a docstring, which `--help` shows, and is set on the command line by its dotted name, as in
`--align.batch_size 200`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from visem_tf.config.inference import InferConfig
from visem_tf.config.models import AlignConfig, GenerateConfig, JointConfig, ProposeConfig
from visem_tf.config.recorded import read_fields
from visem_tf.config.registry import PROPOSERS
from visem_tf.config.settings import Settings, nearest, setting

STAGES = ("propose", "features", "align", "infer", "generate", "evaluate", "report", "export")
"""The stages of `visem_tf.fit`, in the order in which they run."""


FREEZABLE = ("region_encoder", "sentence_encoder", "word_vectors")
"""Parts of a model that a training can start from and leave unchanged."""


@dataclass(frozen=True)
class DataConfig(Settings):
    """How the files of a data set are read."""

    section: ClassVar[str] = "data"

    pictures: str = ""
    """The folder of the images, absolute or relative to data_dir; if empty, the usual folder of the
    data set."""
    captions: str = ""
    """The file of the captions, absolute or relative to data_dir; if empty, the usual file of the
    data set."""
    features: str = ""
    """For precomputed: the name of a .mat or .tsv file, ims for {train,dev,test}_ims.npy, or cache
    for the format of this package; if empty, the only kind of file that is there."""
    splits: Literal["auto", "given", "entities", "random"] = "auto"
    """Which splits are used: given (those of the data), entities (those of Flickr30k Entities),
    random (drawn with split_seed), or auto (given splits if there are any, otherwise random
    ones)."""
    val_share: float = setting(0.1, above=0, below=1)
    """Share of the images that random splits put into val."""
    test_share: float = setting(0.1, above=0, below=1)
    """Share of the images that random splits put into test."""
    split_seed: int = setting(0, at_least=0, at_most=2**32 - 1)
    """The seed of random splits. All sentences of an image are in one split."""

    def _conflicts(self) -> Iterator[str]:
        if self.val_share + self.test_share >= 1:
            yield (
                f"data.val_share {self.val_share:g} and data.test_share {self.test_share:g} leave "
                "nothing to train on; their sum must be below 1"
            )


@dataclass(frozen=True)
class TextConfig(Settings):
    """The vocabulary, and the length of sentences."""

    section: ClassVar[str] = "text"

    min_count: int = setting(5, at_least=1, at_most=10**9)
    """Words that occur less often than this in the training split become <unk>."""
    max_words: int = setting(30, at_least=1, at_most=1000)
    """Maximum number of words of a sentence; longer sentences are cut."""


@dataclass(frozen=True)
class RegionsConfig(Settings):
    """Regions of an image, and the pretrained CNN that computes their features (section 3.1.1)."""

    section: ClassVar[str] = "regions"

    backbone: Literal["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"] = (
        "efficientnet_lite0"
    )
    """The CNN pretrained on ImageNet; efficientnet_lite1 needs the extra `backbones`."""
    proposer: str = setting("windows", choices=PROPOSERS)
    """The proposer of the boxes: windows (of several sizes, scored by the classifier), trained (a
    small detector, see the section propose), selective_search (needs the extra
    `selective-search`), retinanet (KerasCV's detector, whose weights are downloaded from Kaggle),
    grid (the same boxes in every image), or none (the whole frame is the only region)."""
    proposer_backbone: Literal[
        "same", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"
    ] = "same"
    """The CNN whose maps the proposer reads: same (that of `backbone`) or another one, which then
    reads every image too. The proposer in the package was trained on efficientnet_lite0."""
    num_regions: int = setting(20, at_least=1, at_most=1000)
    """Number of regions of an image, including the whole frame; the paper has 19 boxes and the
    frame."""
    picture_size: int = setting(384, at_least=32, at_most=2048)
    """Side in pixels of the square to which an image is resized first. The proposer reads this
    square, and regions are cropped from it."""
    frame_size: int = setting(224, at_least=32, at_most=2048)
    """Side in pixels at which the CNN reads the whole frame, with the features crops."""
    features: Literal["crops", "one_pass", "pooled"] = "crops"
    """How the features of a region are computed: crops (the CNN reads the crop of the region),
    one_pass (the CNN reads the image once, and its last blocks read the part of a map in the box),
    or pooled (the last map is averaged over the box, which is faster still, but worse)."""
    position: bool = False
    """Whether the features of a region include the position and the size of its box."""
    crop_size: int = setting(96, at_least=32, at_most=2048)
    """Side in pixels to which the crop of a region is resized."""
    resolution: Literal["square", "own"] = "square"
    """What regions are cropped from: square (the image, warped to a square) or own (the image with
    its own aspect ratio, reduced if its longer side exceeds picture_size; crops then nearly keep
    their aspect ratios too). The proposer always reads the square."""
    scales: int = setting(1, at_least=1, at_most=4)
    """Number of sizes at which the CNN reads every region; the vectors are averaged. The sizes are
    crop_size (or frame_size) times 1, 1.5, 2 and 3, as many of these as this number says."""
    nms_iou: float = setting(0.4, above=0, at_most=1)
    """Of two proposals that overlap with more than this IoU, the one with the lower score is
    dropped; 1 keeps all. The proposer trained has no such threshold: it keeps the boxes that
    together cover its candidates best."""
    proposer_file: str = ""
    """For trained: the file checkpoints/propose/proposer.npz of another run; if empty, the proposer
    that this run trains, or the one in the package if it trains none."""
    edge_weight: float = setting(2.0, at_least=0, at_most=1e6)
    """For windows: weight of the edges at the borders of a window, relative to the contrast between
    the classifier's activations inside and around it. Drawn scenes need a larger weight than
    photographs."""
    batch_size: int = setting(8, at_least=1, at_most=1_000_000)
    """Images in one pass of the CNN; affects speed and memory only."""

    @property
    def maps_backbone(self) -> str:
        """Name of the CNN whose maps the proposer reads."""
        return self.backbone if self.proposer_backbone == "same" else self.proposer_backbone

    def _conflicts(self) -> Iterator[str]:
        if self.features != "crops":
            for name, off in (("resolution", "square"), ("scales", 1)):
                if getattr(self, name) != off:
                    yield (
                        f"regions.{name} {getattr(self, name)} applies to crops, and "
                        f"regions.features {self.features} has one pass over the square; choose "
                        "regions.features crops"
                    )


@dataclass(frozen=True)
class EvaluateConfig(Settings):
    """The three experiments on a finished run (section 4)."""

    section: ClassVar[str] = "evaluate"

    split: Literal["train", "val", "test"] = "test"
    """The split that is evaluated."""
    beam_size: int = setting(7, at_least=1, at_most=1000)
    """Number of beams of the search whose captions are scored, in addition to the greedy ones."""
    resamples: int = setting(1000, at_least=0, at_most=1_000_000)
    """Number of bootstrap resamples over images for 95 % intervals and paired tests; 0 omits
    intervals."""
    fold_size: int = setting(1000, at_least=1, at_most=10**9)
    """Number of images in a fold; a split of at least two folds is also ranked in folds (as in
    COCO 1K)."""


@dataclass(frozen=True)
class ReportConfig(Settings):
    """The report page `report.html`, and TensorBoard."""

    section: ClassVar[str] = "report"

    pictures: int = setting(24, at_least=1, at_most=10_000)
    """Number of images in `report.html`; a third each are the best ranked, random ones, and the
    worst ranked."""
    every: int = setting(2, at_least=0, at_most=100_000)
    """Number of epochs between two sets of images and sentences for TensorBoard; 0 writes none."""
    profile: bool = False
    """Whether a few steps of each training are profiled for TensorBoard (viewing them needs the
    package tensorboard-plugin-profile)."""


@dataclass(frozen=True)
class DistributeConfig(Settings):
    """Training on several devices; the objective does not depend on their number."""

    section: ClassVar[str] = "distribute"

    strategy: Literal["auto", "none", "mirrored", "multi_worker"] = "auto"
    """The devices that train: auto (every GPU of this machine, and all machines of TF_CONFIG if it
    names several), none (one device), mirrored (every device of this machine, even if there is
    only one), or multi_worker (the machines of TF_CONFIG)."""
    replicas: int = setting(0, at_least=0, at_most=64)
    """Number of devices to train on; 0 uses all. Without a GPU, a number above 1 splits the CPU
    into that many logical devices."""
    wait_seconds: int = setting(300, at_least=1, at_most=10**9)
    """Seconds that a worker waits for the others of TF_CONFIG to start."""

    def _conflicts(self) -> Iterator[str]:
        if self.strategy == "multi_worker" and self.replicas:
            yield (
                f"distribute.strategy multi_worker uses every GPU of every worker, not "
                f"distribute.replicas {self.replicas}; leave it 0"
            )
        if self.strategy == "none" and self.replicas > 1:
            yield (
                f"distribute.strategy none uses one device, not distribute.replicas "
                f"{self.replicas}; choose auto or mirrored"
            )


@dataclass(frozen=True)
class ComputeConfig(Settings):
    """How the machine is used."""

    section: ClassVar[str] = "compute"

    threads: int = setting(0, at_least=0, at_most=1024)
    """Number of threads for a matrix product on the CPU; 0 uses every core."""
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    """The precision of training: float32, or mixed_bfloat16, which computes in 16 bits and keeps
    the weights in 32 bits. Trained models always compute in 32 bits."""
    save_seconds: int = setting(300, at_least=0, at_most=10**9)
    """Seconds of training between two checkpoints within an epoch; 0 saves only at the end of an
    epoch."""


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
