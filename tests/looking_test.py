import itertools

import numpy as np
import pytest

from visem_tf.errors import UserError
from visem_tf.regions.extractor import Regions
from visem_tf.runs.grounding import Looker, looks_as_json, read_query
from visem_tf.runs.trained import TrainedRun
from visem_tf.text import Vocabulary

VOCABULARY = Vocabulary.build(["a dog runs", "a cat"], min_count=1)


def test_a_sentence_is_read_with_what_it_lacks():
    query = read_query("A DOG, a zebra & a zebra runs", VOCABULARY, max_words=5)
    assert query.words == ["a", "dog", "a", "zebra", "a"]
    assert query.unknown == ["zebra"]
    assert query.dropped == 2
    assert query.remarks() == [
        "zebra was not among the training words",
        "only the first 5 words are read",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "no word"), ("?!", "no word"), ("zebra\udcff crossing", "among the training words")],
)
def test_a_sentence_without_known_words_is_refused(text: str, message: str):
    with pytest.raises(UserError, match=message):
        read_query(text, VOCABULARY, 5)


def brute_force(similarities: np.ndarray, beta: float) -> float:
    """The best value of the chain, over all assignments."""
    words, regions = similarities.shape
    best = -np.inf
    for code in range(regions**words):
        chain = [code // regions**t % regions for t in range(words)]
        value = sum(similarities[t, a] for t, a in enumerate(chain))
        value += beta * sum(a == b for a, b in itertools.pairwise(chain))
        best = max(best, value)
    return best


def test_scores_and_looks_agree_with_the_definitions(tiny_run):
    looker = Looker(TrainedRun(tiny_run.path))
    dim = looker.model.region_encoder.projection.kernel.shape[0]
    generator = np.random.default_rng(0)
    features = generator.uniform(size=(3, 4, dim)).astype(np.float32)
    mask = np.array([[True] * 4, [True, True, False, False], [True] * 4])
    regions = Regions(features, np.zeros([3, 4, 4], np.float32), np.zeros([3, 4]), mask)
    known = looker.vocabulary.words[4:8]
    query = looker.read(" ".join(known))
    embeddings = looker.embed(regions)
    v = np.asarray(looker.model.encode_regions(features))
    s = np.asarray(looker.model.encode_sentences(query.token_ids[np.newaxis]))[0]
    similarities = np.where(mask[:, np.newaxis], np.einsum("td,brd->btr", s, v), -np.inf)
    np.testing.assert_allclose(
        looker.scores(embeddings, mask, query),
        similarities.max(axis=2).sum(axis=1),
        rtol=1e-4,
        atol=1e-4,
    )
    for beta in (0.0, 0.7):
        looks = looker.look(embeddings, mask, query, beta=beta)
        np.testing.assert_allclose(looks.similarities, similarities, rtol=1e-4, atol=1e-4)
        for row in range(3):
            chain = looks.regions[row]
            value = similarities[row, np.arange(4), chain].sum()
            value += beta * np.count_nonzero(chain[1:] == chain[:-1])
            real = similarities[row][:, mask[row]]
            assert value == pytest.approx(brute_force(real, beta), abs=1e-4)


def test_json_names_every_word_and_its_snippet():
    query = read_query("a dog runs zebra", VOCABULARY, 9)
    similarities = np.arange(12.0).reshape(4, 3)
    boxes = np.array([[0, 0, 1, 1], [0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]])
    found = looks_as_json(query, np.array([1, 1, 0, 2]), similarities, boxes)
    assert [word["score"] for word in found["words"]] == [1, 4, 6, 11]
    assert [word["known"] for word in found["words"]] == [True, True, True, False]
    assert found["segments"] == [
        {
            "text": "a dog",
            "first": 0,
            "last": 1,
            "region": 1,
            "box": [0, 0, 0.5, 0.5],
            "score": 2.5,
        },
        {"text": "runs", "first": 2, "last": 2, "region": 0, "box": [0, 0, 1, 1], "score": 6},
        {"text": "zebra", "first": 3, "last": 3, "region": 2, "box": [0.5, 0.5, 1, 1], "score": 11},
    ]
