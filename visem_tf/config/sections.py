"""Sections of the configuration: data, text, regions, evaluation, report, and the machine.

Those of the models are in `visem_tf.config.models` and `visem_tf.config.inference`, the whole is in
`visem_tf.config.run_config`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from visem_tf.config.registry import BACKBONES, PROPOSERS
from visem_tf.config.settings import Settings, setting


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

    backbone: str = setting("efficientnet_lite0", choices=BACKBONES)
    """The CNN pretrained on ImageNet; efficientnet_lite1 needs the extra `backbones`."""
    proposer: str = setting("windows", choices=PROPOSERS)
    """The proposer of the boxes: windows (of several sizes, scored by the classifier), trained (a
    small detector, see the section propose), selective_search (needs the extra
    `selective-search`), retinanet (KerasCV's detector, whose weights are downloaded from Kaggle),
    grid (the same boxes in every image), or none (the whole frame is the only region)."""
    proposer_backbone: str = setting("same", choices=("same", *BACKBONES))
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
