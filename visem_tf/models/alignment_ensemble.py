"""Several alignment models as one of the same kind.

With the embeddings of N models side by side, a dot product is the sum of those of the models:

    [v1_i, v2_i] · [s1_t, s2_t] = v1_i · s1_t + v2_i · s2_t

The layers of such a model have the weights of the N models as blocks on their diagonals. So the
ensemble is saved, exported and used like any other alignment model, and its similarities are the
means of those of its members: the projection to s_t is divided by N.
"""

from collections.abc import Sequence

import keras
import numpy as np

from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.sentence_encoder import GruSentenceEncoder

_GATES = 3  # of a gated recurrent unit


def join_models(models: Sequence[AlignmentModel]) -> AlignmentModel:
    """Joins trained alignment models into one, whose similarities v_i · s_t are their means.

    Args:
        models: Built models with the same options and the same feature centre. Their score must be
            made of dot products, not of cosines.

    Returns:
        A model with N times the embedding_dim, hidden_dim and word_dim.

    Raises:
        ValueError: The options of the models differ.

    Example:
        >>> from visem_tf.models.region_encoder import RegionEncoder
        >>> from visem_tf.models.sentence_encoder import SentenceEncoder
        >>> models = [AlignmentModel(RegionEncoder(8), SentenceEncoder(9, 8, 6, 4)) for _ in "ab"]
        >>> for model in models:
        ...     model.build({"region_features": (None, 20, 5), "token_ids": (None, None)})
        >>> join_models(models).region_encoder.embedding_dim
        16
    """
    first, count = models[0], len(models)
    for model in models[1:]:
        for name in ("region_encoder", "sentence_encoder"):
            own, others = getattr(first, name), getattr(model, name)
            if type(own) is not type(others) or _options(own) != _options(others):
                raise ValueError(f"the models must have the same options of the {name}")
    config = first.get_config()
    regions, sentences = first.region_encoder, first.sentence_encoder
    config["region_encoder"] = keras.saving.serialize_keras_object(
        type(regions).from_config(_widened(regions, count, ("embedding_dim",)))
    )
    config["sentence_encoder"] = keras.saving.serialize_keras_object(
        type(sentences).from_config(
            _widened(sentences, count, ("embedding_dim", "hidden_dim", "word_dim"))
        )
    )
    joined = AlignmentModel.from_config(config)
    features = regions.projection.kernel.shape[0]
    joined.build({"region_features": (None, None, features), "token_ids": (None, None)})
    outputs = {id(weight) for weight in joined.sentence_encoder.output_projection.weights}
    inner = {id(weight) for weight in joined.sentence_encoder.weights} - outputs
    has_gates = isinstance(sentences, GruSentenceEncoder)
    for target, *members in zip(joined.weights, *(each.weights for each in models), strict=True):
        gates = _GATES if has_gates and id(target) in inner else 1
        whole = _joined_weights([np.asarray(each) for each in members], tuple(target.shape), gates)
        target.assign(1 / count * whole if id(target) in outputs else whole)
    return joined


def _options(layer: keras.layers.Layer) -> dict[str, object]:
    return {key: value for key, value in layer.get_config().items() if key != "name"}


def _widened(layer: keras.layers.Layer, count: int, names: tuple[str, ...]) -> dict[str, object]:
    config = layer.get_config()
    return {**config, **{name: count * config[name] for name in names}}


def _joined_weights(values: Sequence[np.ndarray], shape: tuple[int, ...], gates: int) -> np.ndarray:
    """The weights of a layer of the joined model, given those of the members and its shape.

    Members read the same features and words: where a layer has as many inputs as theirs, their
    outputs stand side by side. All other kernels are blocks on a diagonal.
    """
    if values[0].shape == shape:  # the centre of the features, which is the same
        return values[0]
    if values[0].shape[0] == shape[0]:
        return np.concatenate(values, axis=-1)
    parts = [np.split(value, gates, axis=-1) for value in values]
    join = np.concatenate if values[0].ndim == 1 else _block_diagonal
    return np.concatenate([join(gate) for gate in zip(*parts, strict=True)], axis=-1)


def _block_diagonal(blocks: Sequence[np.ndarray]) -> np.ndarray:
    rows, columns = (np.cumsum([0, *(block.shape[axis] for block in blocks)]) for axis in (0, 1))
    whole = np.zeros([rows[-1], columns[-1]], blocks[0].dtype)
    for number, block in enumerate(blocks):
        whole[rows[number] : rows[number + 1], columns[number] : columns[number + 1]] = block
    return whole
