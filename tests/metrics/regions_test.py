"""Alignment accuracy against loops, and its chance level against random choices."""

import collections
import itertools

import numpy as np
import pytest

from visem_tf.metrics.regions import PhraseBoxes, alignment_hits, box_iou


def alignment_accuracy(*arguments, **options):
    return alignment_hits(*arguments, **options).accuracy()


def random_boxes(rng, *shape):
    corners = np.sort(rng.uniform(size=[*shape, 2, 2]), axis=-2)
    return corners.reshape(*shape, 4)


def make_example(seed=0, pictures=3, regions=4, sentences=6, tokens=7, phrases=25):
    rng = np.random.default_rng(seed)
    region_boxes = random_boxes(rng, pictures, regions)
    image_index = rng.integers(0, pictures, sentences)
    chosen = rng.integers(0, regions, [sentences, tokens])
    chosen[:, -2:] = -1
    similarities = rng.normal(size=chosen.shape)
    sentence = rng.integers(0, sentences, phrases)
    first = rng.integers(0, tokens, phrases)
    boxes = random_boxes(rng, phrases)
    right = rng.integers(0, regions, phrases)  # half of them close to some region
    close = region_boxes[image_index[sentence], right] + rng.normal(scale=0.02, size=[phrases, 4])
    boxes[::2] = close[::2]
    return {
        "regions": chosen,
        "region_boxes": region_boxes,
        "image_index": image_index,
        "phrases": PhraseBoxes(sentence, first, first + rng.integers(0, 4, phrases), boxes),
        "similarities": similarities,
    }


def iou_by_hand(a, b):
    height = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    width = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    area = sum(max(0, c[2] - c[0]) * max(0, c[3] - c[1]) for c in (a, b))
    return height * width / (area - height * width)


def accuracy_by_loops(regions, region_boxes, image_index, phrases, similarities):
    words, overlaps, points = [], [], []
    for sentence, first, last, box in zip(
        phrases.sentence_index, phrases.first, phrases.last, phrases.boxes, strict=True
    ):
        boxes = region_boxes[image_index[sentence]]
        votes, support = collections.Counter(), collections.Counter()
        for token in range(first, last + 1):
            region = regions[sentence, token] if token < regions.shape[1] else -1
            words.append(region >= 0 and iou_by_hand(boxes[region], box) >= 0.5)
            if region >= 0:
                votes[region] += 1
                support[region] += similarities[sentence, token]
        if not votes:
            overlaps.append(False)
            points.append(False)
            continue
        winner = boxes[max(votes, key=lambda region: (votes[region], support[region]))]
        overlaps.append(iou_by_hand(winner, box) >= 0.5)
        y, x = (winner[0] + winner[2]) / 2, (winner[1] + winner[3]) / 2
        points.append(box[0] <= y <= box[2] and box[1] <= x <= box[3])
    return [100 * np.mean(hits) for hits in (words, overlaps, points)]


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_loops(seed):
    example = make_example(seed)
    figures = alignment_accuracy(**example)
    got = [figures[name] for name in ("word_accuracy", "phrase_iou50", "pointing")]
    np.testing.assert_allclose(got, accuracy_by_loops(**example))
    assert figures["phrases"] == 25
    assert figures["words"] == np.sum(example["phrases"].last - example["phrases"].first + 1)


def test_chance_is_the_mean_over_random_choices():
    """Of all choices that two words of two phrases can make; ties are broken at random."""
    example = make_example(3, pictures=1, regions=3, sentences=1, tokens=3, phrases=4)
    example["phrases"].first[:] = 0
    example["phrases"].last[:] = 1
    totals = np.zeros(3)
    rng = np.random.default_rng(0)
    choices = list(itertools.product(range(3), repeat=2)) * 300
    for choice in choices:
        example["regions"] = np.array([[*choice, -1]])
        example["similarities"] = rng.uniform(size=[1, 3])  # breaks ties
        figures = alignment_accuracy(**example)
        totals += [figures[name] for name in ("word_accuracy", "phrase_iou50", "pointing")]
    chance = figures["chance"]
    expected = [chance[name] for name in ("word_accuracy", "phrase_iou50", "pointing")]
    assert min(expected) > 0
    np.testing.assert_allclose(totals / len(choices), expected, atol=1.5)


def test_padded_regions_are_no_choice_of_chance():
    example = make_example()
    plain = alignment_accuracy(**example)
    padding = np.repeat(example["region_boxes"][:, :1], 5, axis=1)
    example["region_boxes"] = np.concatenate([example["region_boxes"], padding], axis=1)
    mask = np.arange(9) < 4
    assert alignment_accuracy(**example, region_mask=np.tile(mask, [3, 1])) == plain


def test_the_whole_frame_wins_the_pointing_game_and_nothing_else():
    phrases = PhraseBoxes(*[np.zeros(1, int)] * 3, np.array([[0.4, 0.4, 0.6, 0.6]]))
    frame = np.array([[[0.0, 0.0, 1.0, 1.0]]])
    figures = alignment_accuracy(np.zeros([1, 1], int), frame, np.zeros(1, int), phrases)
    assert (figures["pointing"], figures["phrase_iou50"]) == (100, 0)


def test_equal_votes_go_to_the_larger_similarity():
    boxes = np.array([[[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]]])
    phrases = PhraseBoxes(np.array([0, 0]), np.array([0, 0]), np.array([1, 1]), boxes[0])
    figures = alignment_accuracy(
        np.array([[0, 1]]), boxes, np.zeros(1, int), phrases, similarities=np.array([[-2.0, -1.0]])
    )
    assert figures["phrase_iou50"] == 50  # the second region, for both
    phrases = PhraseBoxes(phrases.sentence_index, phrases.first, phrases.last, boxes[0, [1, 1]])
    again = alignment_accuracy(
        np.array([[0, 1]]), boxes, np.zeros(1, int), phrases, similarities=np.array([[-2.0, -1.0]])
    )
    assert again["phrase_iou50"] == 100


def test_without_phrases_there_are_no_figures():
    example = make_example(phrases=0)
    figures = alignment_accuracy(**example)
    assert figures["word_accuracy"] is None
    assert figures["chance"]["pointing"] is None
    assert figures["phrases"] == 0


def test_iou():
    rng = np.random.default_rng(0)
    boxes, others = random_boxes(rng, 20), random_boxes(rng, 20)
    expected = [iou_by_hand(a, b) for a, b in zip(boxes, others, strict=True)]
    np.testing.assert_allclose(box_iou(boxes, others), expected)
    np.testing.assert_array_equal(box_iou(np.zeros(4), np.zeros(4)), 0)
    inverted = np.array([0.9, 0.9, 0.1, 0.1])
    np.testing.assert_array_equal(box_iou(inverted, np.array([0, 0, 1, 1])), 0)
