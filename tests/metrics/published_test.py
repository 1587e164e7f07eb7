"""Published figures stand beside those of the same split, and beside no other."""

import pytest

from visem_tf.metrics.published import published, recognise_split

FLICKR8K = [
    "3385593926_d3e9c21170.jpg",
    "2677656448_6b7e7702af.jpg",
    "311146855_0b65fdb169.jpg",
    "1258913059_07c613f7ff.jpg",
    "241347760_d44c8d3a01.jpg",
    "2654514044_a70a6e2c21.jpg",
]


def names(known, count):
    return [*known, *(f"{n}.jpg" for n in range(count - len(known)))]


def test_the_official_split_is_recognised_through_any_reader():
    assert recognise_split(names(FLICKR8K, 1000), 5000) == "flickr8k"
    assert recognise_split([f"Images/{n}" for n in names(FLICKR8K, 1000)], 5000) == "flickr8k"
    assert recognise_split(names(["1007129816.jpg", "1009434119.jpg"], 1000), 5000) == "flickr30k"
    assert recognise_split(names(["COCO_val2014_000000391895.jpg"], 5000), 25_010) == "coco"


@pytest.mark.parametrize(
    ("file_names", "sentences"),
    [
        (names(FLICKR8K, 500), 2500),  # cut otherwise
        (names(FLICKR8K[1:], 1000), 5000),  # as large, but other pictures
        (names(FLICKR8K, 1000), 4990),
        (names(FLICKR8K, 999), 5000),  # a picture was skipped
        ([], 0),
    ],
)
def test_other_splits_are_not(file_names, sentences):
    assert recognise_split(file_names, sentences) is None
    found = published({"dataset": "flickr8k", "split": "test", "published_split": None})
    assert not (found.ranking or found.folds or found.captions)


def test_the_paper_s_figures():
    coco = published({"published_split": "coco"})
    assert coco.ranking["image_search"][0][1] == {
        "r1": 10.7,
        "r5": 29.6,
        "r10": 42.2,
        "median_rank": 14.0,
    }
    assert coco.folds["image_annotation"][0][1]["r1"] == 38.4
    assert coco.captions[0][1]["cider"] == 66.0
    names = ["1016887272.jpg", "7162685234.jpg", "4971484184.jpg", "2193001254.jpg"]
    names += [f"{number}.jpg" for number in range(996)]
    assert recognise_split(names, 5000) == "flickr30k_entities"
    assert published({"published_split": "flickr30k_entities"}).grounding[1][1] == {
        "pointing": 47.4
    }
    flickr = published({"published_split": "flickr8k"})
    assert flickr.captions[0][1] == {"bleu1": 57.9, "bleu2": 38.3, "bleu3": 24.5, "bleu4": 16.0}
