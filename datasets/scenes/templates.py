"""The forms of sentences, and what each of them needs to be true.

A template takes a `Speaker` and returns the pieces of a sentence (words and noun phrases), or None
where the scene gives it nothing to say. A None among the pieces is a noun phrase that could not be
made, and spoils the sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .relations import pair_relations, places
from .visibility import View
from .wording import (
    BACKGROUND_WORDS,
    PLACE_WORDS,
    RELATION_WORDS,
    WITH_WORDS,
    NounPhrase,
    describe_everything,
    describe_groups,
    describe_object,
    is_distinct,
)
from .world import Scene

Pieces = list[str | NounPhrase | None]


class Speaker:
    """What may be said of one scene, and the choices of how."""

    def __init__(self, scene: Scene, view: View, rng: np.random.Generator) -> None:
        self.scene, self.rng = scene, rng
        self.relations = pair_relations(view)
        self.places = places(scene, view)
        self.numbers = self._speakable()

    def _speakable(self) -> list[int]:
        """Numbers of the objects to speak of: at times all but one."""
        numbers = list(range(len(self.scene.objects)))
        if len(numbers) > 2 and self.chance(0.4):
            silent = self.choose(numbers)
            others = [number for number in numbers if number != silent]
            if sum(is_distinct(self.scene, number) for number in others) >= 2:
                return others
        return numbers

    def choose(self, options: Sequence[Any], weights: Sequence[float] | None = None) -> Any:
        """Chooses one of the options."""
        return options[int(self.rng.choice(len(options), p=weights))]

    def chance(self, probability: float) -> bool:
        """Is true with a probability."""
        return bool(self.rng.random() < probability)

    def some_objects(self, count: int) -> list[int] | None:
        """Draws different objects to speak of; None if there are too few."""
        if len(self.numbers) < count:
            return None
        return [self.numbers[int(i)] for i in self.rng.permutation(len(self.numbers))[:count]]

    def one_object(self) -> int:
        """Draws an object to speak of."""
        return self.numbers[int(self.rng.permutation(len(self.numbers))[0])]

    def name(self, number: int, **options: Any) -> NounPhrase | None:
        """Describes an object; the options are those of `describe_object`."""
        return describe_object(self.scene, number, self.rng, **options)

    def group(self) -> NounPhrase | None:
        """Describes one of the groups, if there are any."""
        for name_shape in (True, False) if self.chance(0.8) else (False,):
            groups = describe_groups(self.scene, self.rng, name_shape=name_shape)
            groups = [group for group in groups if {*group.objects} <= {*self.numbers}]
            if groups:
                return self.choose(groups)
        return None

    def background(self) -> str:
        """Words for the background."""
        return self.choose(BACKGROUND_WORDS[self.scene.background])

    def place(self, names: set[str]) -> str | None:
        """Words for one of the places; the most telling one mostly."""
        if not names:
            return None
        ordered = sorted(names, key=lambda n: (" " in n or n in ("middle", "cut_off"), n))
        return self.choose(PLACE_WORDS[ordered[-1] if self.chance(0.7) else self.choose(ordered)])

    def related(self, words: dict[str, tuple[str, ...]]) -> tuple[int, str, int] | None:
        """A true relation between two objects that may be spoken of: (a, words, b)."""
        facts = {
            name: [
                (a, b) for a, b in np.argwhere(self.relations[name]) if {a, b} <= {*self.numbers}
            ]
            for name in words
        }
        facts = {name: pairs for name, pairs in facts.items() if pairs}
        if not facts:
            return None
        weight = np.array([3.0 if "_front" in n or n == "behind" else 1.0 for n in facts])
        name = self.choose([*facts], weight / weight.sum())
        a, b = self.choose(facts[name])
        return int(a), self.choose(words[name]), int(b)


def _alone(speaker: Speaker) -> Pieces | None:
    return [speaker.name(speaker.one_object()), speaker.background()]


def _placed(speaker: Speaker) -> Pieces | None:
    number = speaker.one_object()
    place = speaker.place(speaker.places[number])
    if place is None:
        return None
    if speaker.chance(0.5):
        return ["there is", speaker.name(number, article="a"), place]
    return [speaker.name(number), place]


def _two_placed(speaker: Speaker) -> Pieces | None:
    numbers = speaker.some_objects(2)
    if numbers is None:
        return None
    spots = [speaker.place(speaker.places[number] - {"cut_off"}) for number in numbers]
    if None in spots or spots[0] == spots[1]:
        return None
    first, second = (speaker.name(number) for number in numbers)
    return [first, spots[0], "and", second, spots[1]]


def _listed(speaker: Speaker) -> Pieces | None:
    numbers = speaker.some_objects(speaker.choose([2, 3]))
    if numbers is None:
        return None
    *front, last = (speaker.name(number) for number in numbers)
    pieces: Pieces = [front[0]] if len(front) == 1 else [front[0], ",", front[1]]
    tail = [speaker.background()] if len(front) == 1 or speaker.chance(0.5) else []
    return [*pieces, "and", last, *tail]


def _related(speaker: Speaker) -> Pieces | None:
    fact = speaker.related(RELATION_WORDS)
    if fact is None:
        return None
    a, words, b = fact
    verb = speaker.choose([[], ["is"], ["sits"], ["lies"]], [0.4, 0.3, 0.15, 0.15])
    if words == "partly covering" and verb:
        verb = ["is"]
    tail = [speaker.background()] if not verb and speaker.chance(0.3) else []
    return [speaker.name(a), *verb, words, speaker.name(b), *tail]


def _with(speaker: Speaker) -> Pieces | None:
    fact = speaker.related(WITH_WORDS)
    if fact is None:
        return None
    a, words, b = fact
    return [speaker.name(a), "with", speaker.name(b), words]


def _related_and(speaker: Speaker) -> Pieces | None:
    numbers = speaker.some_objects(3)
    fact = speaker.related(RELATION_WORDS)
    if fact is None or numbers is None:
        return None
    a, words, b = fact
    others = [number for number in speaker.numbers if number not in (a, b)]
    third = speaker.choose(others)
    place = speaker.place(speaker.places[third])
    if place is None:
        return None
    return [speaker.name(a), words, speaker.name(b), "and", speaker.name(third), place]


def _between(speaker: Speaker) -> Pieces | None:
    found = []
    for name in ("left_of", "above"):
        before = speaker.relations[name]
        for middle in speaker.numbers:
            for a in speaker.numbers:
                found += [
                    (a, middle, b)
                    for b in speaker.numbers
                    if before[a, middle] and before[middle, b]
                ]
    if not found:
        return None
    a, middle, b = speaker.choose(found)
    verb = speaker.choose([[], ["is"]])
    return [speaker.name(middle), *verb, "between", speaker.name(a), "and", speaker.name(b)]


def _same_colour(speaker: Speaker) -> Pieces | None:
    objects = speaker.scene.objects
    pairs = [
        (a, b)
        for a in speaker.numbers
        for b in speaker.numbers
        if a != b
        and objects[a].colour == objects[b].colour
        and objects[a].shape != objects[b].shape
    ]
    if not pairs:
        return None
    first, second = (speaker.name(n, without=("colour",)) for n in speaker.choose(pairs))
    return [first, "and", second, "of the same colour"]


def _compared(speaker: Speaker) -> Pieces | None:
    numbers = speaker.some_objects(2)
    if numbers is None:
        return None
    sizes = [speaker.scene.objects[number].size for number in numbers]
    if sizes[0] == sizes[1]:
        return None
    words = {"big": ("bigger than", "larger than"), "small": ("smaller than",)}[sizes[0]]
    first, second = (speaker.name(number, without=("size",)) for number in numbers)
    return [first, "is", speaker.choose(words), second]


def _grouped(speaker: Speaker) -> Pieces | None:
    group = speaker.group()
    if group is None:
        return None
    common = set.intersection(*(speaker.places[number] for number in group.objects)) - {"middle"}
    others = [number for number in speaker.numbers if number not in group.objects]
    ways = (
        ["background"] + ["place"] * bool(common - {"cut_off"}) + ["and", "relation"] * bool(others)
    )
    way = speaker.choose(ways)
    if way == "background":
        return [*speaker.choose([[], ["there are"]]), group, speaker.background()]
    if way == "place":
        return [group, speaker.place(common - {"cut_off"})]
    other = speaker.choose(others)
    if way == "and":
        return [group, "and", speaker.name(other), *([speaker.background()] * speaker.chance(0.5))]
    true_of_all = [
        name
        for name in RELATION_WORDS
        if all(speaker.relations[name][n, other] for n in group.objects)
    ]
    if not true_of_all:
        return None
    words = speaker.choose(RELATION_WORDS[speaker.choose(true_of_all)])
    return [group, *speaker.choose([[], ["are"]]), words, speaker.name(other)]


def _counted(speaker: Speaker) -> Pieces | None:
    if len(speaker.numbers) < len(speaker.scene.objects):
        return None
    everything = describe_everything(speaker.scene, speaker.rng)
    one = speaker.name(speaker.one_object())
    start = speaker.choose([[], ["there are"], ["a picture of"]])
    return [*start, everything, speaker.background(), ",", "one of them is", one]


TEMPLATES: tuple[tuple[Callable[[Speaker], Pieces | None], float], ...] = (
    (_related, 0.22),
    (_with, 0.1),
    (_listed, 0.12),
    (_grouped, 0.14),
    (_placed, 0.08),
    (_two_placed, 0.1),
    (_related_and, 0.07),
    (_between, 0.05),
    (_same_colour, 0.03),
    (_compared, 0.04),
    (_counted, 0.02),
    (_alone, 0.03),
)
