"""Templates of sentences, each with the facts that it needs.

A template takes a `SceneContext` and returns the pieces of a sentence, words and noun phrases, or
None if the scene has no such fact. A None among the pieces is a noun phrase that does not exist, so
that the sentence is dropped.
"""

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


class SceneContext:
    """The facts of a scene, and random choices among them and among words."""

    def __init__(self, scene: Scene, view: View, rng: np.random.Generator) -> None:
        self.scene, self.rng = scene, rng
        self.relations = pair_relations(view)
        self.places = places(scene, view)
        self.numbers = self._mentioned()

    def _mentioned(self) -> list[int]:
        """Returns the numbers of the objects to mention: all, or sometimes all but one."""
        numbers = list(range(len(self.scene.objects)))
        if len(numbers) > 2 and self.chance(0.4):
            unmentioned = self.choose(numbers)
            others = [number for number in numbers if number != unmentioned]
            if sum(is_distinct(self.scene, number) for number in others) >= 2:
                return others
        return numbers

    def choose(self, options: Sequence[Any], weights: Sequence[float] | None = None) -> Any:
        """Returns a random option."""
        return options[int(self.rng.choice(len(options), p=weights))]

    def chance(self, probability: float) -> bool:
        """Returns True with a probability."""
        return bool(self.rng.random() < probability)

    def some_objects(self, count: int) -> list[int] | None:
        """Returns different random objects, or None if there are too few."""
        if len(self.numbers) < count:
            return None
        return [self.numbers[int(i)] for i in self.rng.permutation(len(self.numbers))[:count]]

    def one_object(self) -> int:
        """Returns a random object."""
        return self.numbers[int(self.rng.permutation(len(self.numbers))[0])]

    def name(self, number: int, **options: Any) -> NounPhrase | None:
        """Describes an object with the options of `describe_object`."""
        return describe_object(self.scene, number, self.rng, **options)

    def group(self) -> NounPhrase | None:
        """Describes a random group, or returns None if there is none."""
        for name_shape in (True, False) if self.chance(0.8) else (False,):
            groups = describe_groups(self.scene, self.rng, name_shape=name_shape)
            groups = [group for group in groups if {*group.objects} <= {*self.numbers}]
            if groups:
                return self.choose(groups)
        return None

    def background(self) -> str:
        """Returns words for the background."""
        return self.choose(BACKGROUND_WORDS[self.scene.background])

    def place(self, names: set[str]) -> str | None:
        """Returns words for one of the places, mostly for the most specific one."""
        if not names:
            return None
        ordered = sorted(names, key=lambda n: (" " in n or n in ("middle", "cut_off"), n))
        return self.choose(PLACE_WORDS[ordered[-1] if self.chance(0.7) else self.choose(ordered)])

    def related(self, words: dict[str, tuple[str, ...]]) -> tuple[int, str, int] | None:
        """Returns a random true relation (a, words, b) between two objects, or None."""
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


def _alone(context: SceneContext) -> Pieces | None:
    return [context.name(context.one_object()), context.background()]


def _placed(context: SceneContext) -> Pieces | None:
    number = context.one_object()
    place = context.place(context.places[number])
    if place is None:
        return None
    if context.chance(0.5):
        return ["there is", context.name(number, article="a"), place]
    return [context.name(number), place]


def _two_placed(context: SceneContext) -> Pieces | None:
    numbers = context.some_objects(2)
    if numbers is None:
        return None
    words = [context.place(context.places[number] - {"cut_off"}) for number in numbers]
    if None in words or words[0] == words[1]:
        return None
    first, second = (context.name(number) for number in numbers)
    return [first, words[0], "and", second, words[1]]


def _listed(context: SceneContext) -> Pieces | None:
    numbers = context.some_objects(context.choose([2, 3]))
    if numbers is None:
        return None
    *front, last = (context.name(number) for number in numbers)
    pieces: Pieces = [front[0]] if len(front) == 1 else [front[0], ",", front[1]]
    tail = [context.background()] if len(front) == 1 or context.chance(0.5) else []
    return [*pieces, "and", last, *tail]


def _related(context: SceneContext) -> Pieces | None:
    fact = context.related(RELATION_WORDS)
    if fact is None:
        return None
    a, words, b = fact
    verb = context.choose([[], ["is"], ["sits"], ["lies"]], [0.4, 0.3, 0.15, 0.15])
    if words == "partly covering" and verb:
        verb = ["is"]
    tail = [context.background()] if not verb and context.chance(0.3) else []
    return [context.name(a), *verb, words, context.name(b), *tail]


def _with(context: SceneContext) -> Pieces | None:
    fact = context.related(WITH_WORDS)
    if fact is None:
        return None
    a, words, b = fact
    return [context.name(a), "with", context.name(b), words]


def _related_and(context: SceneContext) -> Pieces | None:
    numbers = context.some_objects(3)
    fact = context.related(RELATION_WORDS)
    if fact is None or numbers is None:
        return None
    a, words, b = fact
    others = [number for number in context.numbers if number not in (a, b)]
    third = context.choose(others)
    place = context.place(context.places[third])
    if place is None:
        return None
    return [context.name(a), words, context.name(b), "and", context.name(third), place]


def _between(context: SceneContext) -> Pieces | None:
    found = []
    for name in ("left_of", "above"):
        before = context.relations[name]
        for middle in context.numbers:
            for a in context.numbers:
                found += [
                    (a, middle, b)
                    for b in context.numbers
                    if before[a, middle] and before[middle, b]
                ]
    if not found:
        return None
    a, middle, b = context.choose(found)
    verb = context.choose([[], ["is"]])
    return [context.name(middle), *verb, "between", context.name(a), "and", context.name(b)]


def _same_colour(context: SceneContext) -> Pieces | None:
    objects = context.scene.objects
    pairs = [
        (a, b)
        for a in context.numbers
        for b in context.numbers
        if a != b
        and objects[a].colour == objects[b].colour
        and objects[a].shape != objects[b].shape
    ]
    if not pairs:
        return None
    first, second = (context.name(n, without=("colour",)) for n in context.choose(pairs))
    return [first, "and", second, "of the same colour"]


def _compared(context: SceneContext) -> Pieces | None:
    numbers = context.some_objects(2)
    if numbers is None:
        return None
    sizes = [context.scene.objects[number].size for number in numbers]
    if sizes[0] == sizes[1]:
        return None
    words = {"big": ("bigger than", "larger than"), "small": ("smaller than",)}[sizes[0]]
    first, second = (context.name(number, without=("size",)) for number in numbers)
    return [first, "is", context.choose(words), second]


def _grouped(context: SceneContext) -> Pieces | None:
    group = context.group()
    if group is None:
        return None
    common = set.intersection(*(context.places[number] for number in group.objects)) - {"middle"}
    others = [number for number in context.numbers if number not in group.objects]
    ways = (
        ["background"] + ["place"] * bool(common - {"cut_off"}) + ["and", "relation"] * bool(others)
    )
    way = context.choose(ways)
    if way == "background":
        return [*context.choose([[], ["there are"]]), group, context.background()]
    if way == "place":
        return [group, context.place(common - {"cut_off"})]
    other = context.choose(others)
    if way == "and":
        return [group, "and", context.name(other), *([context.background()] * context.chance(0.5))]
    true_of_all = [
        name
        for name in RELATION_WORDS
        if all(context.relations[name][n, other] for n in group.objects)
    ]
    if not true_of_all:
        return None
    words = context.choose(RELATION_WORDS[context.choose(true_of_all)])
    return [group, *context.choose([[], ["are"]]), words, context.name(other)]


def _counted(context: SceneContext) -> Pieces | None:
    if len(context.numbers) < len(context.scene.objects):
        return None
    everything = describe_everything(context.scene, context.rng)
    one = context.name(context.one_object())
    start = context.choose([[], ["there are"], ["a picture of"]])
    return [*start, everything, context.background(), ",", "one of them is", one]


TEMPLATES: tuple[tuple[Callable[[SceneContext], Pieces | None], float], ...] = (
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
