"""The sections of the configuration that say what the models are and how they are trained.

As in `visem_tf.config`, the defaults are the preset `default`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from visem_tf.choices import cell_names
from visem_tf.errors import UserError
from visem_tf.settings import Settings, nearest, setting

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
    score: Literal["best_region", "fragments"] = "best_region"
    """A word's part of the score: its best region, or the sum over all regions of what is positive
    (the earlier Deep Fragments form)."""
    normalise_by_length: bool = False
    """Whether a score is divided by the number of words in the sentence."""
    feature_scale: float = setting(10.0, at_least=0)
    """CNN features are brought to length 1 and multiplied by this; 0 leaves them as they are."""
    centre_features: bool = True
    """Whether scaled CNN features have their mean direction taken away, and are scaled again."""
    margin: float = setting(1.0, above=0)
    """By how much a true pair must outscore a false one."""
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
        if self.cell not in cell_names():
            raise UserError(
                f"generate.cell must be one of {', '.join(cell_names())}, not {self.cell!r}"
                f"{nearest(self.cell, cell_names())}"
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
        if self.model == "attention" and not self.full_frame:
            raise UserError(
                "generate.model attention is the generator of whole-picture sentences, which "
                "generate.full_frame false leaves out"
            )
