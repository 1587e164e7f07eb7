"""Names, types and shapes of the signatures of the SavedModel of an untrained run."""

from collections.abc import Callable

import numpy as np

IMAGES = {"image_bytes": ("string", [None])}
SENTENCES = {"sentences": ("string", [None])}
DESCRIBED = {
    "boxes": ("float32", [None, 4, 4]),
    "captions": ("string", [None, 4]),
    "log_probs": ("float32", [None, 4]),
    "region_scores": ("float32", [None, 4]),
}
GREEDY = {"captions": ("string", [None]), "log_probs": ("float32", [None])}
CONTRACT = {
    "serving_default": (IMAGES, GREEDY),
    "greedy": (IMAGES, GREEDY),
    "beam": (IMAGES, {"captions": ("string", [None, 3]), "log_probs": ("float32", [None, 3])}),
    "describe_regions": (IMAGES, DESCRIBED),
    "describe_regions_beam": (IMAGES, DESCRIBED),
    "embed_image": (
        IMAGES,
        {"embeddings": ("float32", [None, 4, 8]), "boxes": ("float32", [None, 4, 4])},
    ),
    "embed_text": (
        SENTENCES,
        {
            "embeddings": ("float32", [None, None, 8]),
            "mask": ("bool", [None, None]),
            "tokens": ("string", [None, None]),
        },
    ),
    "score": ({**IMAGES, **SENTENCES}, {"scores": ("float32", [None, None])}),
    "align": (
        {**IMAGES, **SENTENCES},
        {
            "regions": ("int32", [None, None]),
            "boxes": ("float32", [None, None, 4]),
            "tokens": ("string", [None, None]),
        },
    ),
}
GROUND = (
    {
        **IMAGES,
        **SENTENCES,
        "image": ("int32", [None]),
        "first": ("int32", [None]),
        "last": ("int32", [None]),
    },
    {
        "boxes": ("float32", [None, 4]),
        "points": ("float32", [None, 2]),
        "scores": ("float32", [None]),
    },
)
PIXELS = {"image": ("float32", [None, None, None, 3])}
FEATURES = {"region_features": ("float32", [None, None, 1280])}
PICTURE_QUESTIONS = [n for n in CONTRACT if n not in ("serving_default", "embed_text")]


def of_other_input(name: str, given: dict, *, boxes: bool) -> tuple[dict, dict]:
    inputs, outputs = CONTRACT[name]
    inputs = {**given, **{n: spec for n, spec in inputs.items() if n == "sentences"}}
    if boxes:
        return inputs, outputs
    free = {
        n: (dtype, [None if s == 4 else s for s in shape]) for n, (dtype, shape) in outputs.items()
    }
    return inputs, {n: spec for n, spec in free.items() if n not in ("boxes", "region_scores")}


FURTHER = {
    f"{name}{end}": of_other_input(name, given, boxes=boxes)
    for name in PICTURE_QUESTIONS
    for end, given, boxes in (("_from_pixels", PIXELS, True), ("_from_features", FEATURES, False))
}
Ask = Callable[..., dict[str, np.ndarray]]
TEXTS = ["A red dog runs!", "", "nothing known here", "a naïve ball", b"\xff\xfe dog", "ﬁve " * 9]


def inputs_of(signature: str, pictures: list[bytes], texts: list) -> dict[str, list]:
    everything = {"image_bytes": pictures, "sentences": texts}
    return {name: everything[name] for name in CONTRACT[signature][0]}
