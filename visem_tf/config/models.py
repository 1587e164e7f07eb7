"""The sections of the configuration that define the models and their training."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from visem_tf.config.registry import CELLS, LOSSES, SCORES
from visem_tf.config.settings import Settings, setting

Optimizer = Literal["adam", "adamw", "rmsprop", "sgd"]
Schedule = Literal["constant", "cosine", "plateau"]


@dataclass(frozen=True)
class TrainingConfig(Settings):
    """How a model is trained: the fields that `propose`, `align` and `generate` have in common."""

    optimizer: Optimizer = "adam"
    """The optimizer."""
    learning_rate: float = setting(5e-4, above=0, at_most=1000)
    """The learning rate after the warm-up."""
    momentum: float = setting(0.9, at_least=0, below=1)
    """Momentum of sgd; the other optimizers ignore it."""
    weight_decay: float = setting(0.0, at_least=0, at_most=1000)
    """Decoupled weight decay, per step and multiplied by the learning rate."""
    clip_value: float = setting(5.0, above=0, at_most=1e6)
    """Each element of the gradients is clipped to plus or minus this."""
    batch_size: int = setting(100, at_least=1, at_most=1_000_000)
    """Examples in a batch, over all devices together."""
    epochs: int = setting(12, at_least=1, at_most=100_000)
    """Maximum number of passes over the training sentences."""
    patience: int = setting(4, at_least=1, at_most=100_000)
    """Training stops after this many epochs without a better validation metric."""
    schedule: Schedule = "cosine"
    """The schedule of the learning rate: constant, cosine (down to zero at the last epoch), or
    plateau (divided by ten whenever the validation metric stops improving)."""
    warmup_steps: int = setting(0, at_least=0, at_most=10**9)
    """Steps in which the learning rate rises from zero."""


@dataclass(frozen=True)
class ProposeConfig(TrainingConfig):
    """A detector of regions, trained on the boxes of a data set without their words."""

    section: ClassVar[str] = "propose"

    epochs: int = setting(0, at_least=0, at_most=100_000)
    """Maximum number of passes over the views of the training images; 0 trains no proposer and
    skips the stage propose."""
    channels: int = setting(128, at_least=1, at_most=65_536)
    """Number of channels of the detector's maps."""
    head_blocks: int = setting(4, at_least=1, at_most=64)
    """Number of residual blocks between these maps and the predictions."""
    views: int = setting(2, at_least=1, at_most=1000)
    """Number of views of every training image: the image itself, and random crops of it, every
    second of which is mirrored. The CNN reads each view once, and its maps are kept in the cache
    directory (0.5 MB for a view of 320 x 320 pixels)."""
    min_view: float = setting(0.6, above=0, at_most=1)
    """The smallest height and width of a crop, relative to the image."""
    optimizer: Optimizer = "adamw"
    """The optimizer."""
    learning_rate: float = setting(2e-3, above=0, at_most=1000)
    """The learning rate after the warm-up."""
    weight_decay: float = setting(0.05, at_least=0, at_most=1000)
    """Decoupled weight decay, per step and multiplied by the learning rate."""
    batch_size: int = setting(32, at_least=1, at_most=1_000_000)
    """Images in a batch, over all devices together."""
    warmup_steps: int = setting(100, at_least=0, at_most=10**9)
    """Steps in which the learning rate rises from zero."""


@dataclass(frozen=True)
class AlignConfig(TrainingConfig):
    """The alignment model: regions and words in one space (section 3.1)."""

    section: ClassVar[str] = "align"

    embedding_dim: int = setting(512, at_least=1, at_most=65_536)
    """Size of the space that regions and words share; 1000 to 1600 in the paper."""
    hidden_dim: int = setting(512, at_least=1, at_most=65_536)
    """Number of hidden units in each direction of the BRNN."""
    word_dim: int = setting(300, at_least=1, at_most=65_536)
    """Size of the word vectors."""
    word_vectors: str = ""
    """A file of word vectors in word2vec's binary format, or in the text format of word2vec or
    GloVe. The vectors of other words, or of all words if this is empty, are initialised at
    random."""
    train_words: bool = True
    """Whether the word vectors are trained."""
    dropout_regions: float = setting(0.2, at_least=0, below=1)
    """Dropout rate of the CNN features."""
    dropout_words: float = setting(0.2, at_least=0, below=1)
    """Dropout rate of the word vectors."""
    dropout_hidden: float = setting(0.2, at_least=0, below=1)
    """Dropout rate of the BRNN's outputs; the recurrences have no dropout."""
    encoder: Literal["brnn", "gru"] = "brnn"
    """The sentence encoder: the paper's bidirectional network, or bidirectional gated recurrent
    units."""
    score: str = setting("best_region", choices=SCORES)
    """The image-sentence score: best_region (the paper's), fragments (its earlier form, the sum
    over all regions of the positive products), cosine (the mean over words of the best cosine),
    attention (SCAN: every word attends to the regions), hard_alignment (CHAN: the smooth maximum
    over words of the best cosine) or negative_aware (NAAF: attention, lowered by words whose best
    cosine is below align.threshold)."""
    sharpness: float = setting(9.0, above=0, at_most=1e6)
    """Inverse temperature: for the scores attention and negative_aware, of the softmax over
    regions; for hard_alignment, of the smooth maximum over words. The authors use 9, 20 and 10."""
    threshold: float = setting(0.0, at_least=0, below=1)
    """For the score negative_aware: the cosine that a word must reach with a region. If its best
    cosine is lower, the difference lowers the score of the pair."""
    normalise_by_length: bool = False
    """Whether the score is divided by the number of words in the sentence. Only best_region and
    fragments grow with this number."""
    feature_scale: float = setting(10.0, at_least=0, at_most=1e6)
    """CNN features are normalised to length 1 and multiplied by this; 0 leaves them unchanged."""
    centre_features: bool = True
    """Whether the mean is subtracted from scaled CNN features, which are then scaled again."""
    region_context: Literal["none", "frame"] = "none"
    """What a region is compared with before it is embedded: none, or frame (a second map embeds by
    how much its CNN features exceed those of the whole image)."""
    loss: str = setting("hinge_sum", choices=LOSSES)
    """The training loss: hinge_sum (the paper's), hinge_max (the hardest negative only, as in
    VSE++) or infonce (cross-entropy over the batch)."""
    hinge_warmup_epochs: int = setting(0, at_least=0, at_most=100_000)
    """For hinge_max: number of epochs at the start that are trained with hinge_sum; with 0, the
    model may not learn anything."""
    margin: float = setting(1.0, above=0, at_most=1e6)
    """The margin by which a true pair should outscore a false one; 0.2 is better for scores of
    cosines, which lie between -1 and 1."""
    temperature: float = setting(0.1, above=0, at_most=1e6)
    """For infonce and for align.swap_weight: scores are divided by this."""
    members: int = setting(1, at_least=1, at_most=16)
    """Number of models that are trained one after the other from different seeds, and whose
    similarities are averaged. They are joined into one model, whose width is the sum of theirs."""
    mirror: bool = False
    """Whether mirror images are trained on too: in every epoch, each pair uses the image or its
    mirror image at random. The CNN then reads each training image twice. Precomputed features have
    no mirror images."""
    swap_weight: float = setting(0.0, at_least=0, at_most=1e6)
    """Weight of a loss that requires an image to prefer its sentence to false ones that differ from
    it in one noun; 0 makes no such sentences. The nouns and their replacements are found in the
    training sentences."""
    swaps: int = setting(2, at_least=1, at_most=16)
    """For align.swap_weight: number of false sentences of each pair. Encoding one takes about as
    long as a true sentence."""
    optimizer: Optimizer = "adam"
    """The optimizer; the paper uses sgd."""
    batch_size: int = setting(100, at_least=2, at_most=1_000_000)
    """Pairs of an image and a sentence in a batch, over all devices together; each pair is ranked
    against the others of its batch."""
    finetune_epochs: int = setting(0, at_least=0, at_most=100_000)
    """Number of epochs after the alignment in which the CNN is trained too. An epoch uses every
    training image once. Every step computes features from pixels, which needs a GPU unless
    regions.features is one_pass and align.finetune_from is above 5. 0 does not train the CNN."""
    finetune_from: int = setting(7, at_least=1, at_most=8)
    """The first block of the CNN that is fine-tuned, together with all later ones: 1 to 7, or 8 for
    the last convolution only. Batch normalisation is not trained."""
    finetune_learning_rate: float = setting(1e-5, above=0, at_most=1000)
    """The learning rate of the CNN in fine-tuning, for Adam with a cosine schedule down to zero."""
    finetune_align_rate: float = setting(1e-4, above=0, at_most=1000)
    """The learning rate of the alignment model in fine-tuning."""
    finetune_batch_size: int = setting(16, at_least=2, at_most=1_000_000)
    """Number of images in a batch in fine-tuning."""
    finetune_sentences: int = setting(1, at_least=1, at_most=1000)
    """Number of sentences of each image in a batch in fine-tuning; an image with fewer repeats
    some of them."""
    self_training_epochs: int = setting(0, at_least=0, at_most=100_000)
    """Number of epochs after the alignment, and after the CNN, in which the phrases of sentences
    are also trained to choose the regions that the read-out phrase gives them. An epoch uses every
    training image once. 0 skips this."""
    self_training_weight: float = setting(5.0, above=0, at_most=1e6)
    """Weight of the loss of the phrases of a sentence in self-training."""
    self_training_rate: float = setting(1e-4, above=0, at_most=1000)
    """The learning rate in self-training, for Adam with a cosine schedule down to zero."""
    self_training_batch_size: int = setting(96, at_least=2, at_most=1_000_000)
    """Number of images in a batch in self-training."""
    self_training_sentences: int = setting(5, at_least=1, at_most=1000)
    """Number of sentences of each image in a batch in self-training; an image with fewer repeats
    some of them."""

    def _conflicts(self) -> Iterator[str]:
        if self.normalise_by_length and self.score not in ("best_region", "fragments"):
            yield (
                "align.normalise_by_length applies to sums over words, and align.score "
                f"{self.score} is no sum; leave it false"
            )
        bounded = self.score in ("cosine", "attention")
        if bounded and self.loss.startswith("hinge") and self.margin >= 2:
            yield (
                f"align.margin {self.margin:g} can never be reached, because align.score "
                f"{self.score} lies between -1 and 1; use 0.2"
            )
        if self.members > 1 and self.score not in ("best_region", "fragments"):
            yield (
                f"align.members averages dot products, and align.score {self.score} has cosines; "
                "leave it at 1"
            )
        if self.threshold and self.score != "negative_aware":
            yield (
                f"align.threshold {self.threshold:g} applies to align.score negative_aware, not "
                f"{self.score}; leave it at 0"
            )
        if self.hinge_warmup_epochs and self.loss != "hinge_max":
            yield (
                f"align.hinge_warmup_epochs precedes align.loss hinge_max, not {self.loss}; "
                "leave it at 0"
            )


@dataclass(frozen=True)
class GenerateConfig(TrainingConfig):
    """The caption generators: one for whole images, one for regions (section 3.2)."""

    section: ClassVar[str] = "generate"

    full_frame: bool = True
    """Whether the generator of whole-image sentences is trained."""
    regions: bool = True
    """Whether the generator of region snippets is trained."""
    model: Literal["mrnn", "attention"] = "mrnn"
    """The generator of whole-image sentences: the paper's multimodal RNN, which reads the image at
    its first step, or one that attends to the regions before every word. The generator of region
    snippets is always an mrnn."""
    cell: str = setting("rnn", choices=CELLS)
    """The recurrent cell of both generators: rnn (the paper's), lstm or gru."""
    attend_to: Literal["features", "embeddings"] = "features"
    """For attention: what the generator reads of the regions: features (those of the CNN) or
    embeddings (those of the alignment model)."""
    doubly_stochastic: float = setting(0.0, at_least=0, at_most=1e6)
    """For attention: weight of the penalty on regions whose attention weights do not sum to 1 over
    a sentence; 1 in Show, Attend and Tell."""
    deep_output: bool = False
    """For attention: whether the output layer also reads the last word and the attended regions."""
    mirror: bool = False
    """Whether the generator of whole-image sentences is trained on mirror images too. In every
    epoch, each sentence has the image or its mirror image at random. The training on CIDEr uses no
    mirror images."""
    hidden_dim: int = setting(256, at_least=1, at_most=65_536)
    """Number of hidden units of the recurrent network."""
    word_dim: int = setting(256, at_least=1, at_most=65_536)
    """Size of the word vectors."""
    dropout: float = setting(0.3, at_least=0, below=1)
    """Dropout rate of the word vectors and of the outputs; the recurrence has no dropout."""
    image_dropout: float = setting(0.2, at_least=0, below=1)
    """Dropout rate of the vector of the image, or of the vectors of its regions."""
    word_dropout: float = setting(0.0, at_least=0, below=1)
    """Share of the input words that are replaced by <unk> in training."""
    label_smoothing: float = setting(0.0, at_least=0, below=1)
    """Share of the training target that is spread over the vocabulary."""
    optimizer: Optimizer = "rmsprop"
    """The optimizer; rmsprop worked best in the paper."""
    learning_rate: float = setting(1e-3, above=0, at_most=1000)
    """The learning rate after the warm-up."""
    batch_size: int = setting(100, at_least=1, at_most=1_000_000)
    """Number of sentences or snippets in a batch, over all devices together."""
    bucket_batches: int = setting(0, at_least=0, at_most=1_000_000)
    """Texts of similar length are put into one batch, chosen among those of so many batches, so
    that fewer steps are spent on padding; 0 leaves them mixed."""
    patience: int = setting(3, at_least=1, at_most=100_000)
    """Training stops after this many epochs without a better validation perplexity."""
    feature_scale: float = setting(10.0, at_least=0, at_most=1e6)
    """CNN features are normalised to length 1 and multiplied by this; 0 leaves them unchanged."""
    centre_features: bool = True
    """Whether the mean is subtracted from scaled CNN features, which are then scaled again."""
    cider_epochs: int = setting(0, at_least=0, at_most=100_000)
    """Number of passes over the training images in which the trained generator of whole-image
    sentences is trained further to maximise CIDEr (self-critical training); 0 skips this."""
    cider_patience: int = setting(4, at_least=1, at_most=100_000)
    """Self-critical training stops after this many epochs without a better CIDEr of the greedy
    sentences of the validation images."""
    cider_samples: int = setting(5, at_least=1, at_most=1000)
    """Number of sentences sampled for an image in self-critical training. The baseline of each is
    the mean reward of the others; with 1, it is the reward of the greedy sentence."""
    cider_batch_size: int = setting(100, at_least=1, at_most=1_000_000)
    """Number of images in a batch of self-critical training."""
    cider_learning_rate: float = setting(5e-5, above=0, at_most=1000)
    """The learning rate of self-critical training, for Adam."""
    cider_temperature: float = setting(0.5, at_least=0.01, at_most=100)
    """In self-critical training, the log probabilities of words are divided by this. Below 1, the
    samples resemble the sentences that a search finds."""
    beam_size: int = setting(7, at_least=1, at_most=1000)
    """Number of beams of the search that describes images; 1 is greedy search."""
    max_length: int = setting(20, at_least=1, at_most=1000)
    """Maximum number of tokens of a description, including the end token."""
    length_normalisation: float = setting(0.0, at_least=0, at_most=1e6)
    """Beams are ranked by log probability / length ** this; 0 ranks them by log probability."""
    alignment_weight: float = setting(0.0, at_least=0, at_most=1e6)
    """Weight of the alignment when beams are ranked after the search: this times the mean
    similarity of the words of a beam with their best regions is added to the value of the beam, so
    that sentences about what is visible come first. Needs a generator that attends to regions, and
    has no effect without a trained alignment; 0 does not use it."""
    allow_unknown: bool = False
    """Whether a description may contain <unk>."""
    block_ngrams: int = setting(0, at_least=0, at_most=100)
    """No description repeats a sequence of this many words; 0 allows repetition."""
    block_content_words: bool = False
    """Whether no description uses a word twice, apart from function words such as "a" and "in"."""
    members: int = setting(1, at_least=1, at_most=16)
    """Number of generators of whole-image sentences that are trained from different random
    initialisations. Decoding averages their word probabilities. The training time grows in
    proportion."""
    ensemble: tuple[str, ...] = ()
    """Directories of other runs, separated by commas. Decoding averages the word probabilities of
    their generators of whole-image sentences with those of this run."""

    def _conflicts(self) -> Iterator[str]:
        if self.model == "mrnn":
            for name, off in (
                ("attend_to", "features"),
                ("doubly_stochastic", 0),
                ("deep_output", False),
                ("alignment_weight", 0),
            ):
                value = getattr(self, name)
                if value != off:
                    yield (
                        f"generate.{name} {value!r} applies to attention over regions, which "
                        "generate.model mrnn does not have; choose generate.model attention"
                    )
        if self.members > 1 and not self.full_frame:
            yield (
                f"generate.members {self.members} applies to the generator of whole-image "
                "sentences, which generate.full_frame false leaves out"
            )


@dataclass(frozen=True)
class JointConfig(Settings):
    """Alignment model and generators trained together instead of one after the other."""

    section: ClassVar[str] = "joint"

    train: bool = False
    """Whether the stage align also trains the generators, which share the region encoder and the
    word vectors of the alignment model. Optimizer, batches and epochs are those of align."""
    reinfer_every: int = setting(2, at_least=1, at_most=100_000)
    """Number of epochs between two alignments of all training sentences, which give new snippets;
    there are no snippets before the first."""
    sentences_weight: float = setting(1.0, above=0, at_most=1e6)
    """Weight of the loss per word of the sentences, relative to the alignment loss per pair."""
    snippets_weight: float = setting(1.0, above=0, at_most=1e6)
    """Weight of the loss per word of the snippets, relative to the alignment loss per pair."""
    monitor: Literal["recall_sum", "val_perplexity"] = "recall_sum"
    """The validation metric whose best epoch is kept: recall_sum (of the alignment) or
    val_perplexity (of the sentences)."""
