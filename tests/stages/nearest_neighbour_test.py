"""Nearest neighbours against a loop over all candidates."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from visem_tf.errors import UserError
from visem_tf.regions.extractor import Regions
from visem_tf.stages import nearest_neighbour


class Cache:
    """Stands for the training features, in blocks of two images."""

    def __init__(self, features):
        self.features = features
        self.num_regions = features.shape[1]

    def __len__(self):
        return len(self.features)

    def batches(self, size):
        for start in range(0, len(self), 2):
            features = self.features[start : start + 2]
            mask = np.ones(features.shape[:2], bool)
            yield np.arange(start, start + len(features)), Regions(features, None, None, mask)


@pytest.fixture
def context(monkeypatch, tmp_path):
    features = np.random.default_rng(0).normal(size=(5, 3, 4))
    features[1, 2] = 0  # has no direction
    monkeypatch.setattr(nearest_neighbour, "open_cache", lambda context, split: Cache(features))
    train = SimpleNamespace(
        image_ids=[f"image{n}" for n in range(5)],
        image_index=np.array([0, 0, 1, 2, 3, 3, 4]),
        first_sentences=np.array([0, 2, 3, 4, 6]),
        sentences=[f"sentence {n}" for n in range(7)],
    )
    data = SimpleNamespace(splits={"train": train})
    return SimpleNamespace(data=data, run=tmp_path, features=features)


def most_similar(query, candidates):
    """Position of the candidate with the largest cosine."""
    cosines = [
        query @ other / (np.linalg.norm(query) * (np.linalg.norm(other) or 1))
        for other in candidates
    ]
    return int(np.argmax(cosines))


def test_captions_are_first_sentences_of_the_most_similar_frames(context):
    queries = np.random.default_rng(1).normal(size=(6, 4))
    first = [0, 2, 3, 4, 6]
    assert nearest_neighbour.nearest_captions(context, queries) == [
        f"sentence {first[most_similar(query, context.features[:, 0])]}" for query in queries
    ]


def test_snippets_are_those_of_the_most_similar_aligned_regions(context):
    aligned = [(0, 1, "a"), (1, 2, "b"), (3, 0, "c"), (4, 2, "d"), (0, 1, "later")]
    lines = [
        json.dumps({"image_id": f"image{image}", "segments": [{"region": region, "text": text}]})
        for image, region, text in aligned
    ]
    (context.run / "alignments.jsonl").write_text("\n".join(lines))
    queries = np.random.default_rng(2).normal(size=(9, 4))
    candidates = [context.features[image, region] for image, region, _ in aligned[:4]]
    expected = [aligned[most_similar(query, candidates)][2] for query in queries]
    assert nearest_neighbour.nearest_snippets(context, queries) == expected
    assert len(set(expected)) > 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        json.dumps({"image_id": "image0", "segments": []}),
        json.dumps({"image_id": "image0", "segments": [{"region": -1, "text": "a"}]}),
        json.dumps({"image_id": "image0", "segments": [{"region": 3, "text": "a"}]}),
        json.dumps({"image_id": "another", "segments": [{"region": 0, "text": "a"}]}),
    ],
)
def test_damaged_alignments_are_named(context, content):
    (context.run / "alignments.jsonl").write_text(content)
    with pytest.raises(UserError, match=r"alignments\.jsonl is damaged .*delete it, and run the"):
        nearest_neighbour.nearest_snippets(context, np.ones([2, 4]))
