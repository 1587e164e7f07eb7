"""Synonyms, and noun phrases that fit exactly one object or group."""

import dataclasses
import itertools

import numpy as np

from .world import Scene, SceneObject

NOUNS = {
    "circle": ("circle", "disc", "ball"),
    "square": ("square", "box", "block"),
    "triangle": ("triangle",),
    "star": ("star",),
    "heart": ("heart",),
    "ring": ("ring", "hoop"),
    "cross": ("cross",),
    "hexagon": ("hexagon",),
    "crescent": ("crescent", "moon"),
    "diamond": ("diamond",),
    "flower": ("flower", "blossom"),
    None: ("shape", "object", "thing"),
}
"""Nouns for each shape, the most frequent first; those under None fit any shape."""

ADJECTIVES = {
    "small": ("small", "little", "tiny"),
    "big": ("big", "large", "huge"),
    "plain": ("plain",),
    "striped": ("striped",),
    "spotted": ("spotted", "dotted"),
    "checked": ("checked", "chequered"),
    "matt": ("matt",),
    "shiny": ("shiny", "glossy"),
    "metal": ("metal", "metallic"),
    "red": ("red", "crimson"),
    "orange": ("orange",),
    "yellow": ("yellow", "golden"),
    "green": ("green",),
    "blue": ("blue", "azure"),
    "purple": ("purple", "violet"),
    "pink": ("pink",),
    "white": ("white",),
}
"""Adjectives for each value of colour, size, texture and material, the most frequent first."""

COUNTS = {2: "two", 3: "three", 4: "four", 5: "five"}

RELATION_WORDS = {  # between two objects, as defined in `relations`
    "left_of": ("left of", "to the left of"),
    "right_of": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under", "beneath"),
    "beside": ("next to", "beside", "near"),
    "far_from": ("far from", "far away from"),
    "in_front_of": ("in front of", "partly covering"),
    "behind": ("behind", "partly hidden by"),
}

WITH_WORDS = {  # "a star with a ring …": place of the second object relative to the first
    "left_of": ("to its right", "on its right"),
    "right_of": ("to its left", "on its left"),
    "above": ("below it", "under it"),
    "below": ("above it", "over it"),
    "in_front_of": ("behind it",),
    "behind": ("in front of it",),
    "beside": ("next to it", "beside it"),
}

PLACE_WORDS = {
    "left": ("on the left", "on the left side"),
    "right": ("on the right", "on the right side"),
    "top": ("at the top",),
    "bottom": ("at the bottom",),
    "top left": ("in the top left corner", "in the upper left corner"),
    "top right": ("in the top right corner", "in the upper right corner"),
    "bottom left": ("in the bottom left corner", "in the lower left corner"),
    "bottom right": ("in the bottom right corner", "in the lower right corner"),
    "middle": ("in the middle", "in the centre"),
    "cut_off": ("at the edge of the picture", "cut off by the edge"),
}

BACKGROUND_WORDS = {
    "sky": ("in the sky", "against a cloudy sky"),
    "grass": ("on the grass", "on the lawn"),
    "sand": ("on the sand", "on the beach"),
    "night": ("at night", "in the dark"),
    "brick": ("in front of a brick wall", "on a brick wall"),
    "snow": ("on the snow", "in the snow"),
    "sea": ("on the water", "on the sea"),
    "wood": ("on a wooden floor", "on a wooden table"),
    "paper": ("on squared paper", "on a sheet of paper"),
}

ATTRIBUTES = ("size", "texture", "colour", "material")


@dataclasses.dataclass(frozen=True)
class NounPhrase:
    """Words that refer to an object, or to several as a group.

    Attributes:
        words: Lower-case words, including the article or count and the adjectives.
        objects: Numbers of the objects in ascending order.
    """

    words: tuple[str, ...]
    objects: tuple[int, ...]


def choose_word(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    """Chooses a synonym, the first one with probability 0.6."""
    if len(words) == 1 or rng.random() < 0.6:
        return words[0]
    return words[1 + int(rng.integers(len(words) - 1))]


def with_article(words: list[str], article: str) -> tuple[str, ...]:
    """Returns the words with an article in front: "the", "a" or "an"."""
    if article == "a" and words[0][0] in "aeiou":
        article = "an"
    return (article, *words)


def plural(noun: str) -> str:
    """Returns the plural of a noun out of `NOUNS`.

    Example:
        >>> plural("box"), plural("star")
        ('boxes', 'stars')
    """
    return noun + ("es" if noun.endswith(("s", "x")) else "s")


def matching(scene: Scene, shape: str | None, values: dict[str, str]) -> tuple[int, ...]:
    """Returns the numbers of the objects with a shape, or None for any, and attribute values."""
    return tuple(
        number
        for number, item in enumerate(scene.objects)
        if shape in (None, item.shape)
        and all(getattr(item, name) == value for name, value in values.items())
    )


def is_distinct(scene: Scene, number: int) -> bool:
    """Returns whether shape and attributes together identify an object."""
    item = scene.objects[number]
    values = {name: getattr(item, name) for name in ATTRIBUTES}
    return matching(scene, item.shape, values) == (number,)


def _words(rng: np.random.Generator, values: dict[str, str], noun: str) -> list[str]:
    if values.get("material") == "metal":  # "a small red metal ring"
        order = ("size", "texture", "colour", "material")
    elif values.get("texture") == "plain" or rng.random() < 0.65:
        order = ("size", "material", "texture", "colour")
    else:
        order = ("size", "material", "colour", "texture")
    return [choose_word(rng, ADJECTIVES[values[name]]) for name in order if name in values] + [noun]


def _mention_chances(item: SceneObject) -> dict[str, float]:
    return {
        "size": 0.35,
        "texture": 0.08 if item.texture == "plain" else 0.5,
        "material": 0.06 if item.material == "matt" else 0.45,
        "colour": 0.85,
    }


def describe_object(
    scene: Scene,
    number: int,
    rng: np.random.Generator,
    *,
    without: tuple[str, ...] = (),
    article: str | None = None,
) -> NounPhrase | None:
    """Describes an object by words that fit no other object of the scene.

    Args:
        scene: Scene of the object.
        number: Number of the object.
        rng: Random numbers for the choices.
        without: Names out of `ATTRIBUTES` that must not be used.
        article: "a" or "the", or None for a random one.

    Returns:
        The phrase, or None if these attributes do not identify the object.
    """
    item = scene.objects[number]
    usable = [name for name in ATTRIBUTES if name not in without]
    chances = _mention_chances(item)
    values = {name: getattr(item, name) for name in usable if rng.random() < chances[name]}
    shape = None if values and rng.random() < 0.08 else item.shape
    rest = [usable[int(i)] for i in rng.permutation(len(usable))]
    # Colour is the most salient attribute, so it is added first.
    rest.sort(key=lambda name: name != "colour")
    for name in [None, *rest]:
        if name is not None:
            values[name] = getattr(item, name)
        if matching(scene, shape, values) == (number,):
            noun = choose_word(rng, NOUNS[shape])
            article = article or ("a" if rng.random() < 0.82 else "the")
            return NounPhrase(with_article(_words(rng, values, noun), article), (number,))
    return None


def describe_groups(
    scene: Scene, rng: np.random.Generator, *, name_shape: bool
) -> list[NounPhrase]:
    """Describes the groups of a scene by their count, such as "two small blue stars".

    The count is exact: no other object of the scene fits the description.

    Args:
        scene: Scene of the objects.
        rng: Random numbers for the choice of words.
        name_shape: Whether the noun names the shape ("two stars") or not ("two red things").

    Returns:
        A phrase for every combination of at most two attributes that fits several objects. Without
        a shape there is at least one attribute.
    """
    phrases = []
    descriptions = {
        (item.shape if name_shape else None, tuple((name, getattr(item, name)) for name in names))
        for item in scene.objects
        for size in range(0 if name_shape else 1, 3)
        for names in itertools.combinations(ATTRIBUTES, size)
    }
    for shape, pairs in sorted(descriptions, key=str):
        values = dict(pairs)
        if values.get("texture") == "plain" or values.get("material") == "matt":
            continue  # true, but unnatural
        found = matching(scene, shape, values)
        if len(found) > 1:
            noun = plural(choose_word(rng, NOUNS[shape]))
            phrases.append(NounPhrase((COUNTS[len(found)], *_words(rng, values, noun)), found))
    return phrases


def describe_everything(scene: Scene, rng: np.random.Generator) -> NounPhrase:
    """Returns a phrase such as "four shapes" for all objects of a scene."""
    count = len(scene.objects)
    return NounPhrase((COUNTS[count], plural(choose_word(rng, NOUNS[None]))), tuple(range(count)))
