"""The whole configuration of a run: frozen dataclasses, a section for each part of the method.

The defaults below are the preset `default`; the others are in `visem_tf.presets`. Every field has a
docstring, which `--help` shows, and is given on the command line by its dotted name, as in
`--align.batch_size 200`.
"""

from __future__ import annotations

import json
import pkgutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from visem_tf.errors import UserError
from visem_tf.settings import Settings, nearest, setting

STAGES = ("features", "align", "infer", "generate", "evaluate", "report", "export")
"""The stages of `visem_tf.fit`, in the order in which they run."""


def proposer_names() -> tuple[str, ...]:
    """Returns the proposers there are: the modules of `visem_tf.regions.proposers`."""
    return _modules("regions", "proposers")


def cell_names() -> tuple[str, ...]:
    """Returns the recurrent cells there are: the modules of `visem_tf.models.cells`."""
    return _modules("models", "cells")


def score_names() -> tuple[str, ...]:
    """Returns the image-sentence scores there are: the modules of `visem_tf.scores`."""
    return _modules("scores")


def loss_names() -> tuple[str, ...]:
    """Returns the losses of the alignment there are: the modules of `visem_tf.losses`."""
    return _modules("losses")


def _modules(*package: str) -> tuple[str, ...]:
    folder = Path(__file__).parent.joinpath(*package)
    return tuple(module.name for module in pkgutil.iter_modules([str(folder)]))


def _check_name(field: str, name: str, names: tuple[str, ...]) -> None:
    if name not in names:
        raise UserError(
            f"{field} must be one of {', '.join(names)}, not {name!r}{nearest(name, names)}"
        )


Optimizer = Literal["adam", "adamw", "rmsprop", "sgd"]
Schedule = Literal["constant", "cosine", "plateau"]


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
        _check_name("regions.proposer", self.proposer, proposer_names())
        if self.features == "pooled":
            for name, off in (("resolution", "square"), ("scales", 1)):
                if getattr(self, name) != off:
                    raise UserError(
                        f"regions.{name} {getattr(self, name)} is of crops, and regions.features "
                        "pooled has one pass over the square; choose regions.features crops"
                    )


@dataclass(frozen=True)
class AlignConfig(Settings):
    """The alignment model: regions and words in one space (section 3.1 of the paper)."""

    section: ClassVar[str] = "align"

    embedding_dim: int = setting(512, at_least=1)
    """Size of the space that regions and words share; 1000 to 1600 in the paper."""
    hidden_dim: int = setting(512, at_least=1)
    """Hidden units of each direction of the BRNN."""
    word_dim: int = setting(300, at_least=1)
    """Size of the word vectors."""
    word_vectors: str = ""
    """A file of word vectors: word2vec's binary format, or text of word2vec or GloVe; empty starts
    at random, and so do words that the file lacks."""
    train_words: bool = True
    """Whether the word vectors are trained, or stay as they started."""
    dropout_regions: float = setting(0.2, at_least=0, below=1)
    """Share of the CNN features that are dropped in training."""
    dropout_words: float = setting(0.2, at_least=0, below=1)
    """Share of the word vectors' entries that are dropped in training."""
    dropout_hidden: float = setting(0.2, at_least=0, below=1)
    """Share of the BRNN's outputs that are dropped in training; the recurrences never drop."""
    encoder: Literal["brnn", "gru"] = "brnn"
    """What puts words into the context of their sentence: the paper's bidirectional network, or
    gated recurrent units in both directions."""
    score: str = "best_region"
    """How a picture and a sentence are scored, a module of `visem_tf.scores`: best_region (the
    paper's), fragments (its earlier form, the sum over all regions of what is positive), cosine
    (the mean over words of the best cosine) or attention (SCAN: every word attends to regions)."""
    sharpness: float = setting(9.0, above=0)
    """For the score attention: how much a word prefers the regions that are like it."""
    normalise_by_length: bool = False
    """Whether a score is divided by the number of words in the sentence; cosine and attention are
    means already."""
    feature_scale: float = setting(10.0, at_least=0)
    """CNN features are brought to length 1 and multiplied by this; 0 leaves them as they are."""
    centre_features: bool = True
    """Whether scaled CNN features have their mean direction taken away, and are scaled again."""
    loss: str = "hinge_sum"
    """What is descended, a module of `visem_tf.losses`: hinge_sum (the paper's), hinge_max (the
    hardest negative only, as in VSE++) or infonce (cross-entropy over the batch)."""
    hinge_warmup_epochs: int = setting(0, at_least=0)
    """For hinge_max: epochs of hinge_sum that come first; without any it may learn nothing."""
    margin: float = setting(1.0, above=0)
    """By how much a true pair must outscore a false one; for the scores cosine and attention, which
    lie between -1 and 1, take 0.2."""
    temperature: float = setting(0.1, above=0)
    """For infonce: what scores are divided by."""
    optimizer: Optimizer = "adam"
    """The optimizer; the paper uses sgd."""
    learning_rate: float = setting(5e-4, above=0)
    """The learning rate after the warm-up."""
    momentum: float = setting(0.9, at_least=0, below=1)
    """Momentum of sgd; the other optimizers ignore it."""
    weight_decay: float = setting(0.0, at_least=0)
    """Decoupled weight decay, per step and multiplied by the learning rate."""
    clip_value: float = setting(5.0, above=0)
    """Each element of the gradients is clipped to plus or minus this."""
    batch_size: int = setting(100, at_least=2)
    """Pairs of a picture and a sentence in a batch, over all devices together: each pair is ranked
    against the others of its batch."""
    bucket_batches: int = setting(0, at_least=0)
    """Sentences of like length are put into one batch, chosen among those of so many batches; 0
    leaves them mixed. Scores grow with length: false sentences of the same length are harder."""
    epochs: int = setting(12, at_least=1)
    """Passes over the training sentences, at most."""
    patience: int = setting(4, at_least=1)
    """Training ends after this many epochs without a better validation figure."""
    schedule: Schedule = "cosine"
    """How the learning rate goes on: constant, a cosine down to zero at the last epoch, or a tenth
    whenever the validation figure stands still (plateau)."""
    warmup_steps: int = setting(0, at_least=0)
    """Steps in which the learning rate rises from zero."""
    finetune_epochs: int = setting(0, at_least=0)
    """Passes over the training pictures, each with one of its sentences, in which the CNN is
    trained too, after the alignment; features are then computed from pixels in every step, which
    wants a GPU. 0 keeps the CNN as it is."""
    finetune_from: int = setting(7, at_least=1, at_most=8)
    """The first block of the CNN that is then trained, with all that follow: 1 to 7, or 8 for its
    last convolution alone. Batch norms stay as they are."""
    finetune_learning_rate: float = setting(1e-5, above=0)
    """The learning rate of the CNN meanwhile, of Adam, falling to zero along a cosine."""
    finetune_align_rate: float = setting(1e-4, above=0)
    """The learning rate of regions and words meanwhile."""
    finetune_batch_size: int = setting(16, at_least=2)
    """Pairs of a picture and a sentence in a batch meanwhile."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_name("align.score", self.score, score_names())
        _check_name("align.loss", self.loss, loss_names())
        if self.score in ("cosine", "attention"):
            if self.normalise_by_length:
                raise UserError(
                    "align.normalise_by_length is of sums over words, and align.score "
                    f"{self.score} is a mean already; leave it false"
                )
            if self.loss.startswith("hinge") and self.margin >= 2:
                raise UserError(
                    f"align.margin {self.margin:g} can never be met, for align.score {self.score} "
                    "lies between -1 and 1; take 0.2"
                )
        if self.hinge_warmup_epochs and self.loss != "hinge_max":
            raise UserError(
                f"align.hinge_warmup_epochs comes before align.loss hinge_max, not {self.loss}; "
                "leave it at 0"
            )


@dataclass(frozen=True)
class InferConfig(Settings):
    """From aligned words to text snippets: the MRF (section 3.1.4 of the paper)."""

    section: ClassVar[str] = "infer"

    beta: float = setting(0.5, at_least=0)
    """What two neighbouring words gain by sharing a region, in units of their score with it: 0
    gives single words, a large value one region to the whole sentence."""


@dataclass(frozen=True)
class GenerateConfig(Settings):
    """The caption generators: one for whole pictures, one for regions (section 3.2)."""

    section: ClassVar[str] = "generate"

    full_frame: bool = True
    """Whether the generator of whole-picture sentences is trained."""
    regions: bool = True
    """Whether the generator of region snippets is trained."""
    model: Literal["mrnn", "attention"] = "mrnn"
    """The generator of whole-picture sentences: the paper's multimodal RNN, which is told of the
    picture at its first step, or one that looks at the regions before every word. The generator of
    region snippets is always an mrnn."""
    cell: str = "rnn"
    """The recurrence of both generators, a module of `visem_tf.models.cells`: rnn (the paper's),
    lstm or gru."""
    attend_to: Literal["features", "embeddings"] = "features"
    """For attention: whether regions are seen as the CNN describes them, or as the alignment model
    embeds them."""
    doubly_stochastic: float = setting(0.0, at_least=0)
    """For attention: weight of the penalty on regions that a sentence never, or too often, looks
    at; 1 in Show, Attend and Tell."""
    deep_output: bool = False
    """For attention: whether the last word and what is looked at help to choose the next word."""
    hidden_dim: int = setting(256, at_least=1)
    """Hidden units of the recurrent network."""
    word_dim: int = setting(256, at_least=1)
    """Size of the word vectors."""
    dropout: float = setting(0.3, at_least=0, below=1)
    """Share of the word vectors' entries and of the outputs that are dropped in training; the
    recurrence never drops."""
    image_dropout: float = setting(0.2, at_least=0, below=1)
    """Share of the picture's vector, or of its regions' vectors, that is dropped in training."""
    word_dropout: float = setting(0.0, at_least=0, below=1)
    """Share of the input words that are replaced by <unk> in training."""
    scheduled_sampling: float = setting(0.0, at_least=0, below=1)
    """Share of the input words that are replaced by words of the model's own; it rises from 0 over
    all epochs of training, each of which then takes about half as long again."""
    label_smoothing: float = setting(0.0, at_least=0, below=1)
    """Share of the training target that is spread over the vocabulary."""
    optimizer: Optimizer = "rmsprop"
    """The optimizer; rmsprop worked best in the paper."""
    learning_rate: float = setting(1e-3, above=0)
    """The learning rate after the warm-up."""
    momentum: float = setting(0.9, at_least=0, below=1)
    """Momentum of sgd; the other optimizers ignore it."""
    weight_decay: float = setting(0.0, at_least=0)
    """Decoupled weight decay, per step and multiplied by the learning rate."""
    clip_value: float = setting(5.0, above=0)
    """Each element of the gradients is clipped to plus or minus this."""
    batch_size: int = setting(100, at_least=1)
    """Sentences or snippets in a batch, over all devices together."""
    bucket_batches: int = setting(0, at_least=0)
    """Texts of like length are put into one batch, chosen among those of so many batches, so that
    fewer steps are spent on padding; 0 leaves them mixed."""
    sampled_words: int = setting(0, at_least=0)
    """Words that a training step compares the right one with, drawn by lot, where the vocabulary is
    so large that all of them would take most of the time; 0 compares with all. Training then shows
    the loss among these; validation is with all words."""
    epochs: int = setting(12, at_least=1)
    """Passes over the training sentences, at most."""
    patience: int = setting(3, at_least=1)
    """Training ends after this many epochs without a better validation perplexity."""
    schedule: Schedule = "cosine"
    """How the learning rate goes on: constant, a cosine down to zero at the last epoch, or a tenth
    whenever the validation perplexity stands still (plateau)."""
    warmup_steps: int = setting(0, at_least=0)
    """Steps in which the learning rate rises from zero."""
    feature_scale: float = setting(10.0, at_least=0)
    """CNN features are brought to length 1 and multiplied by this; 0 leaves them as they are."""
    centre_features: bool = True
    """Whether scaled CNN features have their mean direction taken away, and are scaled again."""
    cider_epochs: int = setting(0, at_least=0)
    """Passes over the training pictures in which the trained generator of whole-picture sentences
    goes on with CIDEr as its aim (self-critical training); 0 leaves it out."""
    cider_samples: int = setting(5, at_least=1)
    """Sentences drawn for a picture, each judged against the mean of the others; 1 judges it
    against the greedy sentence."""
    cider_batch_size: int = setting(25, at_least=1)
    """Pictures in a batch of that training."""
    cider_learning_rate: float = setting(5e-5, above=0)
    """The learning rate of that training, of Adam."""
    beam_size: int = setting(7, at_least=1)
    """Beams of the search that describes pictures."""
    max_length: int = setting(20, at_least=1)
    """Longest description, in words."""
    length_normalisation: float = setting(0.0, at_least=0)
    """Beams are ranked by log probability / length ** this; 0 ranks by log probability."""
    allow_unknown: bool = False
    """Whether a description may hold <unk>."""
    block_ngrams: int = setting(0, at_least=0)
    """No description says this many words in a row twice; 0 allows it."""
    ensemble: tuple[str, ...] = ()
    """Run directories, separated by commas, whose generators of whole-picture sentences write
    together with this run's: the probabilities of a word are averaged."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_name("generate.cell", self.cell, cell_names())
        if self.sampled_words and self.label_smoothing:
            raise UserError(
                f"generate.label_smoothing {self.label_smoothing:g} spreads over the whole "
                f"vocabulary, which generate.sampled_words {self.sampled_words} leaves out; set "
                "one of them to 0"
            )
        if self.model == "mrnn":
            for name, off in (
                ("attend_to", "features"),
                ("doubly_stochastic", 0),
                ("deep_output", False),
            ):
                value = getattr(self, name)
                if value != off:
                    raise UserError(
                        f"generate.{name} {value!r} is of attention over regions, which "
                        "generate.model mrnn does not have; choose generate.model attention"
                    )
        if self.cider_epochs and not self.full_frame:
            raise UserError(
                "generate.cider_epochs is for the generator of whole-picture sentences, which "
                "generate.full_frame false leaves out"
            )
        if self.model == "attention" and not self.full_frame:
            raise UserError(
                "generate.model attention is the generator of whole-picture sentences, which "
                "generate.full_frame false leaves out"
            )


@dataclass(frozen=True)
class JointConfig(Settings):
    """Alignment and generators as one model; off, they are trained one after the other."""

    section: ClassVar[str] = "joint"

    train: bool = False
    """Whether the stage align trains the generators too, on the alignment's region encoder and word
    vectors; optimizer, batches and epochs are those of align."""
    reinfer_every: int = setting(2, at_least=1)
    """Epochs between two alignments of all training sentences, which cut the snippets anew; before
    the first there are none."""
    sentences_weight: float = setting(1.0, above=0)
    """What the loss of a word of the sentences counts, beside the alignment's loss of a pair."""
    snippets_weight: float = setting(1.0, above=0)
    """What the loss of a word of the snippets counts."""
    monitor: Literal["recall_sum", "val_perplexity"] = "recall_sum"
    """The validation figure whose best epoch is kept: of the alignment, or of the sentences."""


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
