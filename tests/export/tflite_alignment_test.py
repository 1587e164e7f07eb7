"""Other sentence encoders and scores than the paper's in TFLite."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from visem_tf.config.registry import HUBNESS_SCORES, SCORES
from visem_tf.export.tflite.functions import TfliteFunctions
from visem_tf.export.tflite.recurrence import embed_padded
from visem_tf.export.tflite.writer import convert
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.sentence_encoder import GruSentenceEncoder
from visem_tf.runs.trained_run import TrainedRun

pytest.importorskip("ai_edge_litert")
pytestmark = pytest.mark.usefixtures("small_cnn")
TOKEN_IDS = np.array([[4, 5, 6, 7], [8, 0, 0, 0], [9, 5, 4, 0]], np.int32)


def test_padded_sentences_are_embedded_as_gated_units_do():
    keras.utils.set_random_seed(1)
    encoder = GruSentenceEncoder(10, 8, 7, word_dim=6)
    expected = encoder(tf.constant(TOKEN_IDS)).numpy()
    np.testing.assert_allclose(embed_padded(encoder, tf.constant(TOKEN_IDS)), expected, atol=1e-6)


@pytest.mark.parametrize(
    "score",
    [
        "cosine",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in SCORES
            if name not in ("best_region", "cosine")
        ),
    ],
)
def test_scores_are_those_of_python(score, make_run, tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    scale = 0.5 if score in HUBNESS_SCORES else 0.0
    make_run(tmp_path / "run", "align", **{"align.score": score, "infer.hubness_scale": scale})
    model = AlignmentModel(
        RegionEncoder(8, feature_scale=10.0), GruSentenceEncoder(10, 8, 7, word_dim=6), score=score
    )
    model.build({"region_features": (None, None, 1280), "token_ids": (None, None)})
    model.save(tmp_path / "run" / "checkpoints" / "align" / "best.keras")
    run = TrainedRun(tmp_path / "run")
    functions = TfliteFunctions(run).trace(["embed_text", "score"])
    interpreter = Interpreter(model_content=convert(functions, "float32"))
    words = interpreter.get_signature_runner("embed_text")(token_ids=TOKEN_IDS)
    features = np.random.default_rng(0).normal(size=(2, 4, 1280)).astype(np.float32)
    mask = np.array([[True] * 4, [True, True, False, False]])
    embeddings = model.encode_regions(features)
    found = interpreter.get_signature_runner("score")(
        region_embeddings=embeddings.numpy(), region_mask=mask, **words
    )["scores"]
    token_ids = tf.RaggedTensor.from_tensor(TOKEN_IDS, padding=0)
    expected = run.grounder.scorer.of_blocks([(embeddings, tf.constant(mask))], token_ids)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
