"""Snippets against marked phrases: the definitions, written as loops over Python sets."""

import numpy as np
import pytest

from visem_tf.metrics.snippets import Spans, snippet_hits

SENTENCES, WORDS, IMAGES = 12, 8, 4


def random_spans(random, count, sentences):
    sentence = random.choice(sentences, count)
    ends = np.sort(random.integers(0, WORDS, (count, 2)), axis=1)
    return sorted(set(zip(sentence.tolist(), *ends.T.tolist(), strict=True)))


def spans(rows):
    return Spans(*np.array(rows, np.int64).reshape(-1, 3).T)


def expected_figures(snippets, phrases, is_function, is_determiner):
    marked = {sentence for sentence, _, _ in phrases}
    snippets = [snippet for snippet in snippets if snippet[0] in marked]
    hits = len(set(snippets) & set(phrases))
    overlaps = []
    for sentence, first, last in phrases:
        words, best = set(range(first, last + 1)), 0.0
        for other, a, b in snippets:
            if other == sentence:
                cut = set(range(a, b + 1))
                best = max(best, len(words & cut) / len(words | cut))
        overlaps.append(best)
    bad = [
        (is_function[s, a] and not is_determiner[s, a]) or is_function[s, b] for s, a, b in snippets
    ]
    precision, recall = hits / len(snippets), hits / len(phrases)
    return {
        "f1": 100 * 2 * precision * recall / (precision + recall),
        "precision": 100 * precision,
        "recall": 100 * recall,
        "overlap": 100 * np.mean(overlaps),
        "function_word_ends": 100 * np.mean(bad),
        "mean_length": np.mean([b - a + 1 for _, a, b in snippets]),
        "snippets": len(snippets),
        "phrases": len(phrases),
    }


@pytest.mark.parametrize("seed", range(5))
def test_metrics_equal_their_definitions(seed):
    random = np.random.default_rng(seed)
    phrases = random_spans(random, 15, np.arange(0, SENTENCES, 2))  # of every second sentence
    snippets = random_spans(random, 40, np.arange(SENTENCES)) + phrases[:4]
    snippets = sorted(set(snippets))
    is_function = random.random((SENTENCES, WORDS)) < 0.5
    is_determiner = is_function & (random.random((SENTENCES, WORDS)) < 0.5)
    order = random.permutation(len(snippets))
    repeated = phrases + phrases[:3]  # a phrase with two boxes
    hits = snippet_hits(
        spans([snippets[n] for n in order]), spans(repeated), is_function, is_determiner
    )
    image_index = np.arange(SENTENCES) % IMAGES
    found = hits.figures(hits.evidence(image_index, IMAGES))
    assert found == pytest.approx(expected_figures(snippets, phrases, is_function, is_determiner))
    assert 0 < found["f1"] < 100


def test_evidence_of_an_image_is_that_of_its_sentences():
    random = np.random.default_rng(1)
    phrases = random_spans(random, 20, np.arange(SENTENCES))
    snippets = sorted({*random_spans(random, 40, np.arange(SENTENCES)), *phrases[::2]})
    is_function = random.random((SENTENCES, WORDS)) < 0.5
    none = np.zeros_like(is_function)
    image_index = np.arange(SENTENCES) % IMAGES
    evidence = snippet_hits(spans(snippets), spans(phrases), is_function, none).evidence(
        image_index, IMAGES
    )
    for image in range(IMAGES):
        of_image = [[s for s in rows if s[0] % IMAGES == image] for rows in (snippets, phrases)]
        expected = expected_figures(*of_image, is_function, none)
        assert len(evidence) == 5
        for name, parts in evidence.items():
            [found] = parts.values(np.eye(IMAGES)[[image]])
            assert found == pytest.approx(expected[name])


def test_figures_without_snippets_are_absent_or_zero():
    none = np.zeros([1, 3], bool)
    hits = snippet_hits(spans([]), spans([(0, 0, 1)]), none, none)
    found = hits.figures(hits.evidence(np.zeros(1, np.int64), 1))
    assert found == {
        "f1": 0.0,
        "precision": None,
        "recall": 0.0,
        "overlap": 0.0,
        "function_word_ends": None,
        "mean_length": None,
        "snippets": 0,
        "phrases": 1,
    }
