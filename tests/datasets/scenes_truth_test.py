"""Every sentence of `scenes` is true: parsed and checked here without the grammar that wrote it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from visem_tf.datasets.scenes.grammar import write_sentences
from visem_tf.datasets.scenes.sampling import image_rng, sample_scene
from visem_tf.datasets.scenes.shapes import full_box
from visem_tf.datasets.scenes.visibility import find_visible

NOUNS = {
    "circle": "circle disc ball circles discs balls",
    "square": "square box block squares boxes blocks",
    "triangle": "triangle triangles",
    "star": "star stars",
    "heart": "heart hearts",
    "ring": "ring hoop rings hoops",
    "cross": "cross crosses",
    "hexagon": "hexagon hexagons",
    "crescent": "crescent moon crescents moons",
    "diamond": "diamond diamonds",
    "flower": "flower blossom flowers blossoms",
    "": "shape object thing shapes objects things",
}
ADJECTIVES = {
    "size": {"small": "small little tiny", "big": "big large huge"},
    "texture": {
        "plain": "plain",
        "striped": "striped",
        "spotted": "spotted dotted",
        "checked": "checked chequered",
    },
    "material": {"matt": "matt", "shiny": "shiny glossy", "metal": "metal metallic"},
    "colour": {
        "red": "red crimson",
        "orange": "orange",
        "yellow": "yellow golden",
        "green": "green",
        "blue": "blue azure",
        "purple": "purple violet",
        "pink": "pink",
        "white": "white",
    },
}
COUNTS = {"a": 1, "an": 1, "the": 1, "two": 2, "three": 3, "four": 4, "five": 5}
BACKGROUNDS = {
    "in the sky": "sky",
    "against a cloudy sky": "sky",
    "on the grass": "grass",
    "on the lawn": "grass",
    "on the sand": "sand",
    "on the beach": "sand",
    "at night": "night",
    "in the dark": "night",
    "in front of a brick wall": "brick",
    "on a brick wall": "brick",
    "on the snow": "snow",
    "in the snow": "snow",
    "on the water": "sea",
    "on the sea": "sea",
    "on a wooden floor": "wood",
    "on a wooden table": "wood",
    "on squared paper": "paper",
    "on a sheet of paper": "paper",
}
SHAPE_OF = {word: shape for shape, words in NOUNS.items() for word in words.split()}
VALUE_OF = {
    word: (name, value)
    for name, values in ADJECTIVES.items()
    for value, words in values.items()
    for word in words.split()
}
NOUN_PHRASE = re.compile(
    rf"\b(?:{'|'.join(COUNTS)})(?: (?:{'|'.join(VALUE_OF)}))* (?:{'|'.join(SHAPE_OF)})\b"
)


class Judge:
    """Decides whether statements are true of a scene."""

    def __init__(self, scene):
        self.scene, self.view = scene, find_visible(scene)
        boxes = self.view.boxes
        self.y, self.x = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2

    def referents(self, words):
        """Numbers of the objects that fit a noun phrase; must be as many as it says."""
        count, *adjectives, noun = words.split()
        found = []
        for number, item in enumerate(self.scene.objects):
            fits = SHAPE_OF[noun] in ("", item.shape)
            for name, value in map(VALUE_OF.get, adjectives):
                fits = fits and getattr(item, name) == value
            if fits:
                found.append(number)
        assert len(found) == COUNTS[count], f"{words!r} fits {found}"
        return tuple(found)

    def relation(self, words):
        x, y, objects = self.x, self.y, self.scene.objects

        def hides(a, b):
            both = self.view.visible[a] & self.view.covered[b]
            return a > b and both.sum() > 0.045 * self.view.covered[b].sum()

        def gap(a, b):
            first, second = self.view.boxes[a], self.view.boxes[b]
            apart = np.maximum(first[:2], second[:2]) - np.minimum(first[2:], second[2:])
            return np.hypot(*np.maximum(apart, 0))

        def left(a, b):
            return x[b] - x[a] > 0.14 and x[b] - x[a] > 1.15 * abs(y[b] - y[a])

        def above(a, b):
            return y[b] - y[a] > 0.14 and y[b] - y[a] > 1.15 * abs(x[b] - x[a])

        def beside(a, b):
            overlap = self.view.covered[a] & self.view.covered[b]
            return gap(a, b) < 0.07 and not (overlap & self.view.visible[[a, b]].any(0)).any()

        rules = {
            "(to the )?left of|to its right|on its right": left,
            "(to the )?right of|to its left|on its left": lambda a, b: left(b, a),
            "above|over|below it|under it": above,
            "below|under|beneath|above it|over it": lambda a, b: above(b, a),
            "next to|beside|near|next to it|beside it": beside,
            "far (away )?from": lambda a, b: np.hypot(x[a] - x[b], y[a] - y[b]) > 0.59,
            "in front of|partly covering|behind it": hides,
            "behind|partly hidden by|in front of it": lambda a, b: hides(b, a),
            "bigger than|larger than": lambda a, b: objects[a].side > 1.3 * objects[b].side,
            "smaller than": lambda a, b: objects[b].side > 1.3 * objects[a].side,
        }
        (rule,) = [rule for pattern, rule in rules.items() if re.fullmatch(pattern, words)]
        return rule

    def is_at(self, words, number):
        x, y = self.x[number], self.y[number]
        sides = {"left": x < 0.37, "right": x > 0.63}
        sides |= {"top": y < 0.37, "upper": y < 0.37, "bottom": y > 0.63, "lower": y > 0.63}
        corner = re.fullmatch(r"in the (\w+) (\w+) corner", words)
        side = re.fullmatch(r"(?:on|at) the (left|right|top|bottom)(?: side)?", words)
        if corner:
            return sides[corner[1]] and sides[corner[2]]
        if side:
            return sides[side[1]]
        if words in ("in the middle", "in the centre"):
            return max(abs(x - 0.5), abs(y - 0.5)) < 0.11
        assert words in ("at the edge of the picture", "cut off by the edge")
        whole = full_box(self.scene.objects[number])
        return whole.min() < 0 or whole.max() > 1

    def check(self, sentence):
        """Asserts that a sentence is true; returns its noun phrases and what they speak of."""
        text = sentence.lower().removesuffix(".")
        phrases = NOUN_PHRASE.findall(text)
        objects = [self.referents(words) for words in phrases]
        frame = re.sub(r"^(there (is|are) |a picture of )", "", NOUN_PHRASE.sub("@", text))
        for words, kind in BACKGROUNDS.items():
            shorter = re.sub(f" {words}(?=$|,)", "", frame)
            if shorter != frame:
                assert kind == self.scene.background
                frame = shorter
        place = r"((?:in|at|on) the [a-z ]+|cut off by the edge)"
        if match := re.fullmatch(rf"@ {place}(?: and @ {place})?", frame):
            claims = zip(filter(None, match.groups()), objects, strict=True)
            assert all(self.is_at(words, n) for words, group in claims for n in group)
        elif frame == "@, one of them is @":
            assert len(objects[0]) == len(self.scene.objects)
            assert set(objects[1]) < set(objects[0])
        elif frame == "@ and @ of the same colour":
            assert len({self.scene.objects[n].colour for (n,) in objects}) == 1
        elif re.fullmatch("@ (is )?between @ and @", frame):
            (middle,), (a,), (b,) = objects
            left, above = self.relation("left of"), self.relation("above")
            assert (left(a, middle) and left(middle, b)) or (above(a, middle) and above(middle, b))
        elif match := re.fullmatch("@ with @ ([a-z ]+)", frame):
            assert self.relation(match[1])(objects[0][0], objects[1][0])
        elif match := re.fullmatch(
            rf"@ (?:is |are |sits |lies )?((?!and)[a-z ]+) @(?: and @ {place})?", frame
        ):
            assert all(self.relation(match[1])(a, b) for a in objects[0] for b in objects[1])
            if match[2]:
                assert self.is_at(match[2], objects[2][0])
        else:
            assert frame in ("@", "@ and @", "@, @ and @"), f"cannot parse {frame!r}"
        return phrases, objects


@pytest.fixture(scope="module")
def corpus():
    scenes = [sample_scene(0, "train", i) for i in range(240)]
    return [
        (scene, write_sentences(scene, find_visible(scene), image_rng(0, "train", i, "text")))
        for i, scene in enumerate(scenes)
    ]


def test_every_sentence_is_true_and_its_phrases_fit_no_other_object(corpus):
    for scene, sentences in corpus:
        judge = Judge(scene)
        for sentence in sentences:
            phrases, objects = judge.check(sentence.text)
            assert phrases == [phrase.text for phrase in sentence.phrases], sentence.text
            assert objects == [phrase.objects for phrase in sentence.phrases], sentence.text


@pytest.mark.slow
def test_the_judge_finds_false_sentences():
    """Mutated sentences are found out, or the test above would prove nothing."""
    swaps = [("left", "right"), ("above", "below"), ("bigger", "smaller"), ("red", "blue")]
    swaps += [("behind", "in front of"), ("star", "heart"), ("top", "bottom"), ("two", "three")]
    for one, other in swaps:
        caught = tried = 0
        for i in range(120):
            scene = sample_scene(1, "val", i)
            sentences = write_sentences(scene, find_visible(scene), image_rng(1, "val", i, "text"))
            for text in (s.text for s in sentences if re.search(rf"\b{one}\b", s.text)):
                tried += 1
                try:
                    Judge(scene).check(re.sub(rf"\b{one}\b", other, text))
                except (AssertionError, ValueError):
                    caught += 1
        assert tried >= 1, one
        assert caught >= 0.9 * tried, (one, caught, tried)


def test_phrases_are_spans_of_tokens_and_boxes_are_unions(corpus):
    for scene, sentences in corpus:
        boxes = find_visible(scene).boxes
        for sentence in sentences:
            tokens = re.findall(r"[a-z0-9]+", sentence.text.lower())
            for phrase in sentence.phrases:
                assert " ".join(tokens[phrase.first : phrase.last + 1]) == phrase.text
                own = boxes[list(phrase.objects)]
                np.testing.assert_array_equal(phrase.box[:2], own[:, :2].min(axis=0))
                np.testing.assert_array_equal(phrase.box[2:], own[:, 2:].max(axis=0))


def test_five_different_sentences_with_a_capital_and_a_full_stop(corpus):
    for _, sentences in corpus:
        texts = [sentence.text for sentence in sentences]
        assert len(set(texts)) == len(texts) == 5
        assert all(re.fullmatch(r"[A-Z][a-z ,]+\.", text) for text in texts)
        assert all(sentence.phrases for sentence in sentences)


def test_some_objects_are_left_unmentioned(corpus):
    silent = [
        {*range(len(scene.objects))} - {n for s in sentences for p in s.phrases for n in p.objects}
        for scene, sentences in corpus
    ]
    share = np.mean([bool(numbers) for numbers in silent])
    assert 0.2 < share < 0.6


def test_vocabulary_is_moderate_and_its_words_recur(corpus):
    words = [w for _, sentences in corpus for s in sentences for w in s.text.lower()[:-1].split()]
    vocabulary, counts = np.unique([w.strip(",") for w in words], return_counts=True)
    assert 110 <= len(vocabulary) <= 160
    # The default training split is six times as long, so once here is five times there.
    assert np.mean(counts >= 2) > 0.85
