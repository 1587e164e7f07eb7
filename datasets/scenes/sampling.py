"""Samples scenes from a seed: objects, their attributes and their layout.

Images come in groups of four. In a *family* the four images have the same background and the same
multisets of shapes, colours, sizes and surfaces, assigned to objects and laid out differently. A
bag of words cannot distinguish them: only which colour belongs to which shape, and where, does. The
other groups are four unrelated images.

Every image has its own random streams, given by (seed, split, group, member): image 7 does not
depend on whether image 6 was made, and the test split of a small configuration is the start of the
test split of a larger one.
"""

import itertools

import numpy as np

from .shapes import full_box
from .visibility import find_visible
from .world import (
    BACKGROUND_COLOURS,
    BACKGROUNDS,
    COLOURS,
    ROTATIONS,
    SHAPES,
    SURFACES,
    Scene,
    SceneObject,
)

GROUP_SIZE = 4
"""Number of images in a group, and of members in a family."""

SPLITS = ("train", "val", "test")

_MIN_VISIBLE_SHARE = 0.55
_MIN_VISIBLE_SIDE = 0.14
_Attributes = tuple[str, str, str, tuple[str, str]]  # shape, colour, size, surface


def _pick(rng: np.random.Generator, options, weights=None):
    return options[int(rng.choice(len(options), p=weights))]


def _sample(rng: np.random.Generator, options, count: int) -> list:
    """Samples `count` different options."""
    return [options[int(i)] for i in rng.permutation(len(options))[:count]]


def _sample_sizes(rng: np.random.Generator, count: int) -> list[str]:
    most = 2 if count <= 3 else 1  # several big objects hide each other
    big = min(int(rng.binomial(count, 0.5)), most)
    sizes = ["big"] * big + ["small"] * (count - big)
    return [sizes[int(i)] for i in rng.permutation(count)]


def _allowed_colours(background: str) -> list[str]:
    return [colour for colour in COLOURS if colour not in BACKGROUND_COLOURS[background]]


def _sample_surface(rng: np.random.Generator) -> tuple[str, str]:
    return _pick(rng, SURFACES, [0.3, 0.12, 0.14, 0.12, 0.06, 0.08, 0.06, 0.12])


def _sample_single(rng: np.random.Generator, background: str) -> list[_Attributes]:
    """Samples attributes of an unrelated image, in which objects often share a shape."""
    count = _pick(rng, (2, 3, 4, 5), [0.2, 0.35, 0.27, 0.18])
    colours = _allowed_colours(background)
    shapes = _sample(rng, SHAPES, count)
    painted = [_pick(rng, colours) for _ in range(count)]
    surfaces = [_sample_surface(rng) for _ in range(count)]
    if count > 2 and rng.random() < 0.65:
        alike = int(rng.integers(2, count))
        shapes[:alike] = [shapes[0]] * alike
        if rng.random() < 0.6:
            painted[:alike] = [painted[0]] * alike
        if rng.random() < 0.5:
            surfaces[:alike] = [surfaces[0]] * alike
    return list(zip(shapes, painted, _sample_sizes(rng, count), surfaces, strict=True))


def _sample_family(rng: np.random.Generator, background: str, member: int) -> list[_Attributes]:
    """Samples attributes of a member of a family, with `rng` in the same state for all members."""
    count = _pick(rng, (3, 4, 5), [0.5, 0.32, 0.18])
    shapes = _sample(rng, SHAPES, count)
    colours = _sample(rng, _allowed_colours(background), count)
    sizes = _sample_sizes(rng, count)
    surfaces = [_sample_surface(rng) for _ in range(count)]
    orders = list(itertools.permutations(range(count)))
    # The members differ in the order of colours; the other orders are random.
    order = _sample(rng, orders, GROUP_SIZE)[member]
    others = rng.integers(0, len(orders), (GROUP_SIZE, 2))[member]
    size_order, surface_order = (orders[int(i)] for i in others)
    return [
        (shapes[i], colours[order[i]], sizes[size_order[i]], surfaces[surface_order[i]])
        for i in range(count)
    ]


def _sample_side(rng: np.random.Generator, size: str, count: int) -> float:
    if size == "small":
        return rng.uniform(0.19, 0.27)
    return rng.uniform(0.36, 0.5) if count <= 3 else rng.uniform(0.36, 0.43)


def _sample_centre(rng: np.random.Generator, side: float, outside: bool) -> np.ndarray:
    """Samples a centre (y, x) inside of the image, or so that the object crosses one edge."""
    centre = rng.uniform(side / 2 + 0.01, 0.99 - side / 2, 2)
    if outside:
        overhang = rng.uniform(0.1, 0.32) * side
        axis, far = int(rng.integers(2)), bool(rng.integers(2))
        centre[axis] = 1 + overhang - side / 2 if far else side / 2 - overhang
    return centre


def _place(
    rng: np.random.Generator, attributes: list[_Attributes], gap: float
) -> list[SceneObject] | None:
    """Lays objects out with centres at least `gap` mean sides apart; None if this fails."""
    placed: list[SceneObject] = []
    for shape, colour, size, (texture, material) in attributes:
        side = _sample_side(rng, size, len(attributes))
        angle = rng.uniform(-ROTATIONS[shape], ROTATIONS[shape])
        outside = rng.random() < 0.12
        for _ in range(25):
            centre = _sample_centre(rng, side, outside)
            if all(
                np.hypot(centre[0] - other.centre_y, centre[1] - other.centre_x)
                >= gap * (side + other.side) / 2
                for other in placed
            ):
                break
        else:
            return None
        y, x = map(float, centre)
        placed.append(
            SceneObject(shape, colour, size, texture, material, float(side), y, x, float(angle))
        )
    return [placed[int(i)] for i in rng.permutation(len(placed))]  # random order of depth


def _sample_layout(
    rng: np.random.Generator, background: str, attributes: list[_Attributes]
) -> Scene:
    overlapping = rng.random() < 0.5
    paint_seed = int(rng.integers(2**32))
    for attempt in range(400):
        gap = rng.uniform(0.45, 0.7) if overlapping or attempt > 100 else 1.08
        placed = _place(rng, attributes, gap)
        if placed is None:
            continue
        scene = Scene(background, tuple(placed), paint_seed)
        view = find_visible(scene)
        sides = view.boxes[:, 2:] - view.boxes[:, :2]
        thin = np.array([np.min(np.ptp(full_box(o).reshape(2, 2), axis=0)) for o in placed])
        enough = np.minimum(_MIN_VISIBLE_SIDE, thin * 0.9)
        if view.visible_share.min() >= _MIN_VISIBLE_SHARE and np.all(sides.min(axis=1) >= enough):
            return scene
    raise RuntimeError(f"no layout found for {attributes}")


def sample_scene(seed: int, split: str, index: int, family_share: float = 0.5) -> Scene:
    """Samples the scene of an image.

    Args:
        seed: Seed of the dataset.
        split: Name out of `SPLITS`.
        index: Index of the image in its split.
        family_share: Share of the groups of four that are families, in [0, 1].

    Returns:
        The scene, a function of the arguments alone.

    Raises:
        ValueError: `split` is unknown or `index` is negative.

    Example:
        >>> scene = sample_scene(seed=0, split="train", index=3)
        >>> scene == sample_scene(seed=0, split="train", index=3)
        True
    """
    group, member = divmod(index, GROUP_SIZE)
    shared = image_rng(seed, split, group * GROUP_SIZE, "group")
    own = image_rng(seed, split, index, "layout")
    if shared.random() < family_share:
        background = _pick(shared, BACKGROUNDS)
        attributes = _sample_family(shared, background, member)
    else:
        background = _pick(own, BACKGROUNDS)
        attributes = _sample_single(own, background)
    return _sample_layout(own, background, attributes)


_STREAMS = ("group", "layout", "text")


def image_rng(seed: int, split: str, index: int, stream: str) -> np.random.Generator:
    """Returns the random numbers of an image for one purpose.

    Args:
        seed: Seed of the dataset.
        split: Name out of `SPLITS`.
        index: Index of the image in its split.
        stream: "group" for what a family shares, "layout" or "text".

    Raises:
        ValueError: `split` is unknown or `index` is negative.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
    if index < 0:
        raise ValueError(f"index must not be negative; got {index}")
    key = (SPLITS.index(split), index, _STREAMS.index(stream))
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
