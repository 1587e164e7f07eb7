"""The sections of the configuration that say what the models are and how they are trained.

As in `visem_tf.config`, the defaults are the preset `default`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from visem_tf.config.registry import cell_names, check_name, loss_names, score_names
from visem_tf.config.settings import Settings, setting
from visem_tf.errors import UserError

Optimizer = Literal["adam", "adamw", "rmsprop", "sgd"]
Schedule = Literal["constant", "cosine", "plateau"]


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
        check_name("align.score", self.score, score_names())
        check_name("align.loss", self.loss, loss_names())
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
    members: int = setting(1, at_least=1, at_most=16)
    """Generators of whole-picture sentences that this run trains, each from a start of its own, and
    that write together: the probabilities of a word are averaged. Training takes so many times as
    long."""
    ensemble: tuple[str, ...] = ()
    """Run directories, separated by commas, whose generators of whole-picture sentences write
    together with this run's: the probabilities of a word are averaged."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name("generate.cell", self.cell, cell_names())
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
        if self.members > 1 and not self.full_frame:
            raise UserError(
                f"generate.members {self.members} are generators of whole-picture sentences, which "
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
