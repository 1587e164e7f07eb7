"""A generator that attends to the regions of the image before every word.

The soft attention of Xu et al., "Show, Attend and Tell" (ICML 2015), over the regions of the image
instead of a grid of cells. It removes the second limitation that the paper names (section 4.4): the
image enters the paper's generator at the first step only.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from visem_tf.models.generator import ImageState, SentenceGenerator, Targets
from visem_tf.models.layers import FeatureScale
from visem_tf.models.recurrence import DeferredProduct, Rows, SortedSentences, unroll
from visem_tf.models.region_encoder import RegionEncoder

ImageTensors = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
Product = Callable[[tf.Tensor], tf.Tensor]


@keras.saving.register_keras_serializable(package="visem_tf")
class AttentionGenerator(SentenceGenerator):
    """Words of a sentence, each from a weighted mean of the regions (Show, Attend and Tell).

        a_i   = relu(W_a f_i + b_a)                          annotation of region i
        e_ti  = w · tanh(W_k a_i + W_q h_{t-1} + b_q)        α_t = softmax_i(e_t)
        ẑ_t   = σ(w_β · h_{t-1} + b_β) Σ_i α_ti a_i
        h_t   = cell(W_x x_t + W_z ẑ_t,  U h_{t-1} + b)
        y_t   = softmax(W_o h_t + b_o)
        h_0   = tanh(W_h a_frame + b_h),   c_0 = tanh(W_c a_frame + b_c) if the cell has one

    With `deep_output`, y_t = softmax(W_o (x_t + L_h h_t + L_z ẑ_t) + b_o). Region 0 is the whole
    frame. Padded regions have the weight 0. `fit` takes dictionaries with

    * `region_features`, float [B, R, F],
    * `region_mask`, bool [B, R], True for real regions (optional; by default all are real),
    * `image_features`, float [B, F]: the subject of the sentence (optional; by default the whole
      frame), and
    * `token_ids`, int32 [B, 1 + T]: START, the words, END, then PAD.

    Each sentence adds to the loss of `SentenceGenerator` the penalty

        doubly_stochastic · Σ_i (1 - Σ_t α_ti)²

    over its real regions, so that every region receives attention at some step (equation 14 of Xu
    et al.). Like the likelihoods, it is divided by the number of targets.

    The keys W_k a_i are computed once per image, and W_x x_t once per batch; a step is computed for
    the sentences that still have a word.

    Args:
        vocabulary_size: Number of words V, including the four special tokens.
        hidden_dim: Number of hidden units H, also the size of annotations and keys.
        word_dim: Length E of the word vectors x_t.
        doubly_stochastic: Weight of the penalty; 1 in Xu et al.
        deep_output: Whether word vector and context enter the output layer, see above.
        region_encoder: The alignment's region encoder, whose embeddings v_i replace the CNN
            features f_i, or None. It is trained only as part of a `JointModel`.
        kwargs: Other arguments of `SentenceGenerator`.

    Example:
        >>> generator = AttentionGenerator(10, hidden_dim=8, word_dim=6, cell="lstm")
        >>> inputs = {"region_features": tf.zeros([2, 3, 5]),
        ...           "token_ids": tf.constant([[1, 4, 5, 2], [1, 6, 2, 0]])}
        >>> tuple(generator(inputs).shape), tuple(generator.attention(inputs).shape)
        ((2, 4, 10), (2, 3, 3))
    """

    reads_regions = True

    def __init__(
        self,
        vocabulary_size: int,
        hidden_dim: int = 512,
        word_dim: int = 512,
        doubly_stochastic: float = 0.0,
        deep_output: bool = False,
        region_encoder: RegionEncoder | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            vocabulary_size, hidden_dim, word_dim, region_encoder=region_encoder, **kwargs
        )
        if not doubly_stochastic >= 0:
            raise ValueError(f"doubly_stochastic must be at least 0, not {doubly_stochastic}")
        self.doubly_stochastic = doubly_stochastic
        self.deep_output = deep_output
        if region_encoder is not None:
            # A loaded encoder does not pass it on to its layers.
            for layer in (region_encoder, *region_encoder.projections):
                layer.trainable = False
        if deep_output:
            common = {"dtype": self.dtype_policy}
            self.hidden_to_word = keras.layers.Dense(word_dim, **common)  # L_h
            self.context_to_word = keras.layers.Dense(word_dim, use_bias=False, **common)  # L_z

    def make_layers(self) -> None:
        """Creates the layers, in the order of their random initial values."""
        layers, common = keras.layers, {"dtype": self.dtype_policy}
        hidden_dim = self.hidden_dim
        width = self._cell.gates * hidden_dim
        self._widths = [width, hidden_dim, 1]  # of U h, W_q h and w_β h
        self.word_projection = layers.Dense(width, use_bias=False, **common)  # W_x
        self.scaling = FeatureScale(self.feature_scale, **common)
        self.region_projection = layers.Dense(hidden_dim, activation="relu", **common)  # W_a
        self.key_projection = layers.Dense(hidden_dim, use_bias=False, **common)  # W_k
        self.energy = layers.Dense(1, use_bias=False, **common)  # w
        self.context_projection = layers.Dense(width, use_bias=False, **common)  # W_z
        self.recurrence = layers.Dense(
            sum(self._widths),
            kernel_initializer="orthogonal",
            bias_initializer=self._first_bias(extra=hidden_dim + 1),
            **common,
        )  # U, W_q, w_β and their biases
        self.hidden_start = layers.Dense(hidden_dim, activation="tanh", **common)  # W_h
        if self._cell.memory == "own":
            self.memory_start = layers.Dense(hidden_dim, activation="tanh", **common)  # W_c
        self.output_projection = layers.Dense(self.vocabulary_size, **common)  # W_o
        self.word_dropout = layers.Dropout(self.dropout, **common)
        self.region_dropout = layers.Dropout(self.image_dropout, **common)
        self.hidden_dropout = layers.Dropout(self.dropout, **common)

    def build(self, input_shape: dict[str, tuple[int | None, ...]]) -> None:
        """Creates the weights; of the shapes, only the size F of `region_features` is used."""
        region_dim = self._build_inputs(input_shape["region_features"][-1])
        hidden = (None, self.hidden_dim)
        self.word_projection.build((None, self.word_dim))
        self.scaling.build((None, None, region_dim))
        self.region_projection.build((None, None, region_dim))
        layers = [
            self.key_projection,
            self.energy,
            self.context_projection,
            self.recurrence,
            self.hidden_start,
        ]
        if self._cell.memory == "own":
            layers.append(self.memory_start)
        if self.deep_output:
            layers += [self.hidden_to_word, self.context_to_word]
        for layer in layers:
            layer.build(hidden)
        self.output_projection.build((None, self.word_dim) if self.deep_output else hidden)

    def attention(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Computes the attention weights of the words of given sentences.

        Args:
            inputs: A batch as in training; `token_ids` are, for example, sentences that a search
                found, with START before them.

        Returns:
            Weights α, float tensor [B, T, R], of the T tokens after START; zeros for PAD and for
            padded regions.
        """
        targets = self._targets(inputs, training=False)
        _, weights = self._pass(inputs, targets, training=False)
        batch, length = tf.unstack(tf.shape(inputs["token_ids"]))
        shape = tf.stack([batch, length - 1, tf.shape(weights)[-1]])
        places = tf.cast(tf.reverse(targets.places, axis=[1]), tf.int32)  # sentence, step
        return tf.scatter_nd(places, weights, shape)

    def initial_state(self, image_features: Any) -> ImageState:
        """Returns the state before START.

        Args:
            image_features: Dictionary as in training, without `token_ids`; or float tensor [B, F]
                of images with one region.
        """
        inputs = image_features
        if not isinstance(inputs, dict):
            inputs = {"region_features": tf.expand_dims(inputs, 1)}
        if not self.built:
            self.build({"region_features": tuple(inputs["region_features"].shape)})
        return ImageState(*self._start(inputs, training=False))

    def step(self, token_ids: tf.Tensor, state: ImageState) -> tuple[tf.Tensor, ImageState]:
        """Computes one step of decoding.

        Args:
            token_ids: Int32 tensor [B K], START or the words chosen last.
            state: State of `initial_state` or of the previous step.

        Returns:
            Log-probabilities of the next words, float32 tensor [B K, V], and the next state.
        """
        vectors = self.word_vectors(token_ids)
        rows, (hidden, context, _) = self._advance(self.word_projection(vectors), *state)
        logits = self._logits(self._output(vectors, hidden, context, training=False))
        return tf.nn.log_softmax(logits), ImageState(rows, state.images)

    def attend(self, token_ids: tf.Tensor, state: ImageState) -> tuple[tf.Tensor, ImageState]:
        """Computes the attention weights of one step of decoding.

        Args:
            token_ids: Int32 tensor [B K], START or the words chosen last.
            state: State of `initial_state` or of the previous step.

        Returns:
            Weights α_t, float tensor [B K, R], and the next state.
        """
        word_inputs = self.word_projection(self.word_vectors(token_ids))
        rows, (_, _, weights) = self._advance(word_inputs, *state)
        return weights, ImageState(rows, state.images)

    def hidden_of_targets(
        self, inputs: dict[str, tf.Tensor], targets: Targets, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes the input of the output layer, [M, H] or [M, E], and the penalty."""
        hidden, weights = self._pass(inputs, targets, training)
        if not self.doubly_stochastic:
            return hidden, tf.constant(0.0)
        sentence, batch = targets.places[:, 1], tf.shape(targets.words)[1]
        totals = tf.math.unsorted_segment_sum(weights, sentence, batch)  # Σ_t α_t, [B, R]
        counts = tf.reduce_sum(totals, axis=1, keepdims=True) > 0  # sentences with words
        mask = inputs.get("region_mask")
        counts = counts if mask is None else tf.logical_and(counts, mask)
        missed = tf.where(counts, tf.square(1 - totals), 0)
        return hidden, self.doubly_stochastic * tf.reduce_sum(missed)

    def inputs_of_images(self, region_features: Any, region_mask: Any) -> dict[str, Any]:
        """Returns all regions and their mask."""
        return {"region_features": region_features, "region_mask": region_mask}

    def batch_of(self, inputs: Any, token_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns a batch of regions and sentences [B, 1 + T]."""
        return {**inputs, "token_ids": token_ids}

    def input_specs(self) -> dict[str, tf.TensorSpec]:
        """Returns the types of `inputs_of_images`, float [B, R, F] and bool [B, R]."""
        return {
            "region_features": tf.TensorSpec([None, None, self.feature_dim], tf.float32),
            "region_mask": tf.TensorSpec([None, None], tf.bool),
        }

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {
            **super().get_config(),
            "doubly_stochastic": self.doubly_stochastic,
            "deep_output": self.deep_output,
        }

    def _annotate(self, features: tf.Tensor, training: bool) -> tf.Tensor:
        """a_i, float [..., H]."""
        if self.region_encoder is not None:
            features = self.region_encoder(features, training=False)
        annotations = self.region_projection(self.scaling(features))
        return self.region_dropout(annotations, training=training)

    def _start(self, inputs: dict[str, tf.Tensor], training: bool) -> tuple[Rows, ImageTensors]:
        """h_0 and the memory; keys [B, R, H], annotations [B, R, H] and mask [B, R]."""
        annotations = self._annotate(inputs["region_features"], training)
        mask = inputs.get("region_mask")
        if mask is None:
            mask = tf.ones(tf.shape(annotations)[:2], tf.bool)
        frame = annotations[:, 0]
        if "image_features" in inputs:
            frame = self._annotate(inputs["image_features"][:, tf.newaxis], training)[:, 0]
        hidden = self.hidden_start(frame)
        own = self.memory_start(frame) if self._cell.memory == "own" else None
        rows = (hidden, *self._cell.first_memory(hidden, own))
        return rows, (self.key_projection(annotations), annotations, mask)

    def _advance(
        self,
        word_inputs: tf.Tensor,
        rows: Rows,
        images: ImageTensors,
        recurrence: Product | None = None,
        context_projection: Product | None = None,
    ) -> tuple[Rows, Rows]:
        """Computes one step of the recurrence for K sentences per image.

        Args:
            word_inputs: W_x x_t, float tensor [B K, G H].
            rows: h_{t-1} and the memory, float tensors [B K, H].
            images: Keys and annotations [B, R, H] and mask [B, R].
            recurrence: Takes the place of the layer of this name, with the same value.
            context_projection: The same.

        Returns:
            The rows after the step; and h_t and ẑ_t, [B K, H], and α_t, [B K, R].
        """
        keys, annotations, mask = images
        hidden, *memory = rows
        products = (recurrence or self.recurrence)(hidden)
        recurrent, query, gate = tf.split(products, self._widths, axis=-1)
        batch, regions = tf.unstack(tf.shape(mask))
        beams = tf.shape(hidden)[0] // tf.maximum(batch, 1)
        query = tf.reshape(query, [batch, beams, 1, self.hidden_dim])
        energies = self.energy(tf.tanh(keys[:, tf.newaxis] + query))[..., 0]  # [B, K, R]
        excluded = tf.constant(float("-inf"), energies.dtype)
        weights = tf.nn.softmax(tf.where(mask[:, tf.newaxis], energies, excluded))
        context = tf.reshape(tf.matmul(weights, annotations), [-1, self.hidden_dim])
        context *= tf.sigmoid(gate)
        inputs = word_inputs + (context_projection or self.context_projection)(context)
        hidden, after = self._cell.step(inputs, recurrent, tuple(memory))
        weights = tf.reshape(weights, [batch * beams, regions])
        return (hidden, *after), (hidden, context, weights)

    def _output(
        self, vectors: tf.Tensor, hidden: tf.Tensor, context: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """The input of the output layer, after dropout."""
        if self.deep_output:
            hidden = self.hidden_dropout(hidden, training=training)
            hidden = vectors + self.hidden_to_word(hidden) + self.context_to_word(context)
        return self.hidden_dropout(hidden, training=training)

    def _pass(
        self, inputs: dict[str, tf.Tensor], targets: Targets, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The input of the output layer, [M, H] or [M, E], and α_t, [M, R], for all targets."""
        words, _, places = targets
        step, sentence = tf.unstack(tf.cast(places, tf.int32), axis=1)
        lengths = tf.math.unsorted_segment_sum(tf.ones_like(sentence), sentence, tf.shape(words)[1])
        by_length = SortedSentences(lengths)
        row = by_length.rows(step, sentence)

        vectors = self.word_vectors(tf.gather_nd(words, places))
        vectors = self.word_dropout(vectors, training=training)
        projected = self.word_projection(tf.gather(vectors, tf.math.invert_permutation(row)))
        rows, images = by_length.sort(self._start(inputs, training))

        kernel, bias, of_context = (
            tf.cast(w, projected.dtype)
            for w in (*self.recurrence.weights, self.context_projection.kernel)
        )
        biases = tf.broadcast_to(bias, [tf.shape(projected)[0], bias.shape[0]])
        recurrence = DeferredProduct(biases, kernel)
        context_projection = DeferredProduct(projected, of_context)

        def advance(inputs: Rows, rows: Rows, count: tf.Tensor) -> tuple[Rows, Rows]:
            word_inputs, biases = inputs
            rows, current = by_length.first((rows, images), count)
            after, found = self._advance(
                word_inputs,
                rows,
                current,
                lambda hidden: recurrence.multiply(hidden) + biases,
                context_projection.multiply,
            )
            return after, (rows[0], *found)

        sizes = (*(self.hidden_dim,) * 3, images[2].shape[1])
        inputs_of_steps = (context_projection.addends, recurrence.addends)
        before, *packed = unroll(advance, inputs_of_steps, by_length.counts, rows, sizes)
        recurrence.close(before)
        context_projection.close(packed[1])
        hidden, contexts, weights = (tf.gather(values, row) for values in packed)
        return self._output(vectors, hidden, contexts, training), weights
