import numpy as np
import pytest

from visem_tf.report.gallery import GROUPS, Box, align_image, choose_images

BOXES = np.array([[0, 0, 1, 1], [0, 0, 0.5, 0.5], [0, 0, 0.5, 0.6], [0.5, 0.5, 1, 1]], np.float32)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 24])
def test_a_third_each_none_twice_and_the_worst_are_worse_than_the_best(count: int):
    ranks = np.random.default_rng(0).permutation(20) + 1
    chosen = choose_images(ranks, count, seed=0)
    positions = [position for position, _ in chosen]
    assert len(set(positions)) == len(positions) == min(count, 20)
    of_group = {group: [ranks[p] for p, g in chosen if g == group] for group in GROUPS}
    sizes = [len(found) for found in of_group.values()]
    assert max(sizes) - min(sizes) <= 1
    if count >= 3:
        assert sorted(of_group["best"]) == list(range(1, 1 + sizes[0]))
        assert sorted(of_group["worst"]) == list(range(21 - sizes[2], 21))


def test_the_seed_decides_between_equal_images_and_repeats():
    ranks = np.ones(40, int)
    assert choose_images(ranks, 9, seed=1) == choose_images(ranks, 9, seed=1)
    assert choose_images(ranks, 9, seed=1) != choose_images(ranks, 9, seed=2)


def test_snippets_are_the_runs_and_boxes_count_in_their_order():
    words = [["a", "red", "ball", "on", "grass"], ["grass"]]
    regions = np.array([[3, 3, 3, 0, 0], [0, -1, -1, -1, -1]])
    boxes, sentences = align_image(words, regions, [2, 7], BOXES)
    assert [snippet.text for snippet in sentences[0].snippets] == ["a red ball", "on grass"]
    assert [snippet.box.number for snippet in sentences[0].snippets] == [1, 2]
    assert sentences[1].snippets[0].box is boxes[1]
    assert [box.box for box in boxes] == [(0.5, 0.5, 1, 1), (0, 0, 1, 1)]
    assert [sentence.rank for sentence in sentences] == [2, 7]
    assert [box.description for box in boxes] == [None, None]


def test_the_surest_new_descriptions_are_added_but_never_of_padded_regions():
    boxes, _ = align_image(
        [["a"]],
        np.array([[0]]),
        [1],
        BOXES,
        ["frame", "padded", "a ball", "a ball"],
        np.array([0.0, -np.inf, -2.0, -1.0]),
    )
    assert [box.description for box in boxes] == ["frame", "a ball"]
    assert boxes[1].box == (0.5, 0.5, 1, 1)


def test_a_sentence_without_words_has_no_snippets():
    boxes, sentences = align_image([[]], np.full([1, 2], -1), [1], BOXES)
    assert boxes == []
    assert sentences[0].snippets == []


def test_numbers_of_boxes_with_a_common_corner_stand_apart():
    boxes, _ = align_image([["a", "b"]], np.array([[1, 2]]), [1], BOXES)
    assert boxes[0].corner != boxes[1].corner


@pytest.mark.parametrize(
    ("edges", "place"),
    [
        ((0, 0, 1, 1), "the whole image"),
        ((0.4, 0.4, 0.6, 0.6), "centre, 4 % of the image"),
        ((0.8, 0.8, 1, 1), "bottom right, 4 % of the image"),
        ((0, 0.4, 0.2, 0.6), "top, 4 % of the image"),
    ],
)
def test_places_in_words(edges: tuple[float, float, float, float], place: str):
    assert Box(1, edges, "top-left", None).place == place
