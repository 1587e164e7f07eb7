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
    _join_regions(joined, models)
    _join_sentences(joined, models)
    return joined


def _options(layer: keras.layers.Layer) -> dict[str, object]:
    return {key: value for key, value in layer.get_config().items() if key != "name"}


def _widened(layer: keras.layers.Layer, count: int, names: tuple[str, ...]) -> dict[str, object]:
    config = layer.get_config()
    return {**config, **{name: count * config[name] for name in names}}


def _join_regions(joined: AlignmentModel, models: Sequence[AlignmentModel]) -> None:
    """All members read the same features: their projections stand side by side."""
    encoders = [model.region_encoder for model in models]
    target = joined.region_encoder
    target.scaling.set_weights(encoders[0].scaling.get_weights())
    for number, projection in enumerate(target.projections):
        parts = [encoder.projections[number].get_weights() for encoder in encoders]
        projection.set_weights([np.concatenate(part, axis=-1) for part in zip(*parts, strict=True)])


def _join_sentences(joined: AlignmentModel, models: Sequence[AlignmentModel]) -> None:
    """Every member reads its own word vectors: blocks on the diagonals of all other layers."""
    encoders = [model.sentence_encoder for model in models]
    target = joined.sentence_encoder
    vectors = [encoder.word_vectors.get_weights()[0] for encoder in encoders]
    target.word_vectors.set_weights([np.concatenate(vectors, axis=1)])
    is_gru = isinstance(target, GruSentenceEncoder)
    gates = _GATES if is_gru else 1
    names = ("forward_projection", "backward_projection") if is_gru else ("word_projection",)
    for name in names:
        _join_layers(getattr(target, name), [getattr(each, name) for each in encoders], gates)
    for direction in ("forward", "backward"):
        for part in ("kernel", "bias"):
            name = f"{direction}_{part}"
            values = [np.asarray(getattr(each, name)) for each in encoders]
            getattr(target, name).assign(_joined_weights(values, gates))
    outputs = [each.output_projection for each in encoders]
    _join_layers(target.output_projection, outputs, share=1 / len(models))


def _join_layers(
    target: keras.layers.Dense,
    layers: Sequence[keras.layers.Dense],
    gates: int = 1,
    share: float = 1.0,
) -> None:
    weights = zip(*(layer.get_weights() for layer in layers), strict=True)
    target.set_weights([share * _joined_weights(values, gates) for values in weights])


def _joined_weights(values: Sequence[np.ndarray], gates: int) -> np.ndarray:
    """Kernels [I, G H] as blocks on the diagonals of G gates; biases [G H] gate by gate."""
    parts = [np.split(value, gates, axis=-1) for value in values]
    join = np.concatenate if values[0].ndim == 1 else _block_diagonal
    return np.concatenate([join(gate) for gate in zip(*parts, strict=True)], axis=-1)


def _block_diagonal(blocks: Sequence[np.ndarray]) -> np.ndarray:
    rows, columns = (np.cumsum([0, *(block.shape[axis] for block in blocks)]) for axis in (0, 1))
    whole = np.zeros([rows[-1], columns[-1]], blocks[0].dtype)
    for number, block in enumerate(blocks):
        whole[rows[number] : rows[number + 1], columns[number] : columns[number + 1]] = block
    return whole
