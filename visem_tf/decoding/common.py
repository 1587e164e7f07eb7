"""Parts of all searches: the interface of a model, its state, and the words that may follow."""

from collections.abc import Callable
from typing import Any, Protocol

import tensorflow as tf
from numpy.typing import ArrayLike

from visem_tf.models.generator import ImageState
from visem_tf.text import END_ID, PAD_ID, START_ID, UNK_ID

State = Any
"""A nest of tensors whose first axis is the batch, or an `ImageState`."""

_BLOCK = 32


class StepwiseModel(Protocol):
    """A model that gives the probabilities of the next word, one step at a time."""

    def initial_state(self, image_features: Any) -> State:
        """Returns the state before START.

        Args:
            image_features: Float tensor [B, F], or a nest of tensors [B, ...].

        Returns:
            A nest of tensors [B, ...] whose shapes and types stay the same from step to step, or a
            `ImageState`, whose `images` no search changes.
        """

    def step(self, token_ids: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        """Returns log-probabilities [B, V] of the words after `token_ids` [B], and the state."""


class CaptioningModel(StepwiseModel, Protocol):
    """A stepwise model that knows which features of an image it reads, as the generators do."""

    reads_regions: bool
    """Whether it reads the regions of an image, or one vector."""

    def inputs_of_images(self, region_features: Any, region_mask: Any) -> Any:
        """Returns what `initial_state` takes, for regions [B, R, F] and their mask [B, R]."""

    def input_specs(self) -> Any:
        """Returns the `tf.TensorSpec`s of what `inputs_of_images` returns."""


ChooseWords = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""Log-probabilities float32 [N, V] and the step, int32, to the next words, int32 [N]."""


def write_sentences(
    generator: StepwiseModel,
    image_features: Any,
    max_length: int,
    choose_words: ChooseWords,
    *,
    copies: int = 1,
    allow_unknown: bool = False,
    block_ngrams: int = 0,
    block_words: ArrayLike | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Writes sentences word by word, until all of them have ended.

    Args:
        generator: Model with `initial_state` and `step`.
        image_features: Float tensor [B, F], or what else `initial_state` takes.
        max_length: L, the largest number of tokens, END counted.
        choose_words: Function that chooses the next word of every sentence.
        copies: K, the number of sentences per image.
        allow_unknown: Whether UNK may be chosen. PAD and START never are.
        block_ngrams: Length n of the n-grams that a sentence may not repeat; 0 allows all.
        block_words: Words that a sentence may not use twice, bool [V]; None allows all.

    Returns:
        token_ids: Int32 tensor [B K, L]: the words, END, then PAD.
        log_probs: Float32 tensor [B K], the sums of the log-probabilities of these tokens.
    """
    rows = batch_size(image_features) * copies
    state, restore = split_state(generator.initial_state(image_features))
    if copies > 1:
        state = map_rows(lambda tensor: tf.repeat(tensor, copies, axis=0), state)
    column = tf.range(max_length)

    def body(t, token_ids, last, log_probs, finished, state):
        word_log_probs, next_state = generator.step(last, restore(state))
        word_log_probs = forbid(word_log_probs, allow_unknown)
        if block_ngrams:
            word_log_probs = forbid_repeated(word_log_probs, token_ids, t, block_ngrams)
        if block_words is not None:
            word_log_probs = forbid_used(word_log_probs, token_ids, block_words)
        words = choose_words(word_log_probs, t)
        log_prob = tf.gather(word_log_probs, words, batch_dims=1)
        log_probs += tf.where(finished, 0.0, log_prob)
        words = tf.where(finished, PAD_ID, words)
        token_ids = tf.where(column == t, words[:, tf.newaxis], token_ids)
        finished |= words == END_ID
        state = map_rows(tf.identity, split_state(next_state)[0])
        return t + 1, token_ids, words, log_probs, finished, state

    loop = (
        tf.constant(0),
        tf.fill([rows, max_length], PAD_ID),
        tf.fill([rows], START_ID),
        tf.zeros([rows]),
        tf.fill([rows], False),
        state,
    )
    _, token_ids, _, log_probs, _, _ = tf.while_loop(
        lambda t, token_ids, last, log_probs, finished, state: (
            (t < max_length) & ~tf.reduce_all(finished)
        ),
        body,
        loop,
    )
    return token_ids, log_probs


def check_limits(block_ngrams: int = 0, **sizes: int) -> None:
    """Checks the arguments of a search.

    Args:
        block_ngrams: Number that must not be negative.
        **sizes: Numbers that must be at least 1, by the names of their arguments.

    Raises:
        ValueError: If one of them is too small.
    """
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if block_ngrams < 0:
        raise ValueError(f"block_ngrams must be at least 0, got {block_ngrams}")


def forbid(log_probs: tf.Tensor, allow_unknown: bool) -> tf.Tensor:
    """Sets the log-probabilities of words that no sentence contains to minus infinity.

    The other words keep their log-probabilities; they are not normalised again.

    Args:
        log_probs: Float tensor [..., V].
        allow_unknown: Whether UNK is allowed. PAD and START never are.

    Returns:
        Float32 tensor [..., V].
    """
    log_probs = tf.cast(log_probs, tf.float32)
    word = tf.range(tf.shape(log_probs)[-1])
    forbidden = (word == PAD_ID) | (word == START_ID)
    if not allow_unknown:
        forbidden |= word == UNK_ID
    return log_probs + tf.where(forbidden, -float("inf"), 0.0)


def forbid_repeated(
    log_probs: tf.Tensor, token_ids: tf.Tensor, length: tf.Tensor, n: int
) -> tf.Tensor:
    """Sets words to minus infinity that would repeat an n-gram of their sentence.

    Args:
        log_probs: Log-probabilities of the next words, float tensor [B, V].
        token_ids: Int32 tensor [B, L], the tokens so far, followed by PAD.
        length: Number of tokens so far, the same in every row.
        n: Length of an n-gram, at least 1. With 1 no word is used twice.

    Returns:
        Float tensor [B, V].

    Example:
        >>> said = tf.constant([[4, 5, 4, 0]])  # with n = 2 the next word must not be 5
        >>> forbid_repeated(tf.zeros([1, 7]), said, tf.constant(3), n=2).numpy()
        array([[  0.,   0.,   0.,   0.,   0., -inf,   0.]], dtype=float32)
    """
    places = token_ids.shape[1] - n + 1  # where an n-gram can begin
    if places < 2:
        return log_probs
    # An earlier n-gram counts if its first n - 1 words are the last n - 1 words so far.
    batch = tf.shape(token_ids)[0]
    repeated = tf.repeat(tf.range(places)[tf.newaxis] <= length - n, batch, axis=0)
    for offset in range(n - 1):
        last = tf.gather(token_ids, tf.maximum(length - n + 1 + offset, 0), axis=1)
        repeated &= token_ids[:, offset : offset + places] == last[:, tf.newaxis]
    return _forbid_chosen(log_probs, token_ids[:, n - 1 :], repeated)


def forbid_used(log_probs: tf.Tensor, token_ids: tf.Tensor, words: ArrayLike) -> tf.Tensor:
    """Sets words to minus infinity that their sentence has used, if they are among some words.

    Args:
        log_probs: Log-probabilities of the next words, float tensor [B, V].
        token_ids: Int32 tensor [B, L], the tokens so far, followed by PAD.
        words: The words that a sentence may not use twice, bool [V].

    Returns:
        Float tensor [B, V].

    Example:
        >>> said = tf.constant([[4, 5, 0]])
        >>> forbid_used(tf.zeros([1, 6]), said, [False] * 5 + [True]).numpy()
        array([[  0.,   0.,   0.,   0.,   0., -inf]], dtype=float32)
    """
    return _forbid_chosen(log_probs, token_ids, tf.gather(tf.constant(words), token_ids))


def _forbid_chosen(log_probs: tf.Tensor, words: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    """Sets words int32 [B, N] to minus infinity in log-probabilities [B, V], if bool `chosen`."""
    batch, places = tf.unstack(tf.shape(words))
    row = tf.repeat(tf.range(batch)[:, tf.newaxis], places, axis=1)
    times = tf.scatter_nd(
        tf.reshape(tf.stack([row, words], axis=-1), [-1, 2]),
        tf.reshape(tf.cast(chosen, log_probs.dtype), [-1]),
        tf.shape(log_probs),
    )
    return tf.where(times > 0, -float("inf"), log_probs)


def best_words(log_probs: tf.Tensor, count: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes exactly what `tf.math.top_k` does, four times as fast on a CPU.

    The vocabulary is cut into blocks. The K best words lie in the K blocks with the best maxima: a
    word in another block has K better words in other blocks. Of equal values the first is taken.

    Args:
        log_probs: Float tensor [N, V].
        count: K, at most V.

    Returns:
        The K largest values of every row in descending order, and their int32 indices, both
        [N, K].

    Example:
        >>> best_words(tf.constant([[0.1, 0.5, 0.4, 0.5]]), 3)[1].numpy()
        array([[1, 3, 2]], dtype=int32)
    """
    rows, size = tf.unstack(tf.shape(log_probs))
    blocks = -(-size // _BLOCK)
    lowest = tf.constant(-float("inf"), log_probs.dtype)
    padded = tf.pad(log_probs, [[0, 0], [0, blocks * _BLOCK - size]], constant_values=lowest)
    by_block = tf.reshape(padded, [rows, blocks, _BLOCK])
    _, chosen = tf.math.top_k(tf.reduce_max(by_block, axis=2), tf.minimum(count, blocks))
    chosen = tf.sort(chosen, axis=1)  # in their old order, for equal values
    flat = [rows, tf.shape(chosen)[1] * _BLOCK]
    candidates = tf.reshape(tf.gather(by_block, chosen, axis=1, batch_dims=1), flat)
    indices = tf.reshape(tf.expand_dims(chosen, 2) * _BLOCK + tf.range(_BLOCK), flat)
    best, place = tf.math.top_k(candidates, count)
    return best, tf.gather(indices, place, batch_dims=1)


def batch_size(image_features: Any) -> tf.Tensor:
    """Returns B of features [B, ...], or of a nest of them."""
    return tf.shape(tf.nest.flatten(image_features)[0])[0]


def split_state(state: State) -> tuple[State, Callable[[State], State]]:
    """Returns the part of a state that changes from step to step, and a function to restore it."""
    if isinstance(state, ImageState):
        return state.rows, lambda rows: ImageState(rows, state.images)
    return state, lambda rows: rows


def map_rows(function: Callable[[tf.Tensor], tf.Tensor], state: State) -> State:
    """Applies a function that changes only the first axis to every tensor of a state."""

    def apply(tensor: tf.Tensor) -> tf.Tensor:
        result = function(tensor)
        result.set_shape([None, *tensor.shape[1:]])
        return result

    return tf.nest.map_structure(apply, state)


def loop_invariants(variables: Any) -> Any:
    """Returns the shapes of the variables of a loop: the first axis may change, others may not."""
    return tf.nest.map_structure(
        lambda tensor: tf.TensorShape([None, *tensor.shape[1:]] if tensor.shape.rank else []),
        variables,
    )


def flatten_beams(tensor: tf.Tensor) -> tf.Tensor:
    """Reshapes [B, K, ...] to [B K, ...]."""
    return tf.reshape(tensor, tf.concat([[-1], tf.shape(tensor)[2:]], axis=0))


def gather_beams(tensor: tf.Tensor, beams: tf.Tensor) -> tf.Tensor:
    """Gathers beams of every image: [B, K, ...] and int32 [B, N] to [B, N, ...]."""
    return tf.gather(tensor, beams, batch_dims=1)
