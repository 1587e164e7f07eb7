"""Do exported models say what the run says in Python? Texts are compared, one by one."""

import os
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.util import deprecation

from visem_tf.decoding.captioner import Captioner
from visem_tf.regions.extractor import Regions
from visem_tf.runs.trained_run import TrainedRun

Texts = dict[str, list[list[str]]]
"""Texts by what was asked (`QUESTIONS`), then by picture."""

QUESTIONS = {
    "greedy": "generate/full_frame",
    "beam": "generate/full_frame",
    "describe_regions": "generate/regions",
    "describe_regions_beam": "generate/regions",
}
"""The signatures whose texts are compared, and the model that each needs."""


class SessionModel:
    """A SavedModel by way of the session loader, which TensorFlow Serving uses.

    Args:
      path: The folder of a version.

    Attributes:
      signatures: Names to `SignatureDef`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        with self.session.graph.as_default(), deprecation.silence():
            loaded = tf.compat.v1.saved_model.load(self.session, ["serve"], os.fspath(path))
        self.signatures = {
            name: definition
            for name, definition in loaded.signature_def.items()
            if not name.startswith("__")
        }

    def __call__(self, signature: str, **inputs: Any) -> dict[str, np.ndarray]:
        """Runs a signature on arrays, and gives arrays."""
        definition = self.signatures[signature]
        fetches = {name: info.name for name, info in definition.outputs.items()}
        feeds = {definition.inputs[name].name: value for name, value in inputs.items()}
        return self.session.run(fetches, feeds)

    def close(self) -> None:
        """Frees the memory of the model."""
        self.session.close()


def texts_in_python(
    run: TrainedRun, regions: Regions, questions: Collection[str] = tuple(QUESTIONS)
) -> Texts:
    """What a run says of pictures.

    Args:
      run: Questions without a model are left out.
      regions: Of B pictures, NumPy arrays.
      questions: Of `QUESTIONS`.
    """
    features, real = np.asarray(regions.region_features), np.asarray(regions.region_mask)
    batch, num_regions, feature_dim = features.shape
    said: Texts = {}
    for question in questions:
        if not run.has(QUESTIONS[question]):
            continue
        beam_size = run.config.generate.beam_size if question.endswith("beam") else 1
        of_regions = question.startswith("describe")
        generator = run.region_generator if of_regions else run.full_frame_generator
        describe = Captioner(generator, run.vocabulary, run.config.generate, beam_size)
        if of_regions:
            texts, _ = describe(features.reshape(-1, feature_dim))
            said[question] = [
                [texts[row * num_regions + region] for region in np.flatnonzero(real[row])]
                for row in range(batch)
            ]
        else:
            said[question] = [[text] for text in describe.describe_images(features, real)[0]]
    return said


def texts_of_export(
    model: SessionModel,
    pictures: Sequence[bytes],
    questions: Collection[str] = tuple(QUESTIONS),
    *,
    together: int = 1,
) -> Texts:
    """What a SavedModel says of pictures.

    Args:
      model: The SavedModel.
      pictures: Encoded.
      questions: Of `QUESTIONS`; those that it has no signature for are left out.
      together: How many pictures it gets at a time.
    """
    said: Texts = {}
    for question in questions:
        if question not in model.signatures:
            continue
        said[question] = []
        for start in range(0, len(pictures), together):
            found = model(question, image_bytes=list(pictures[start : start + together]))
            captions, log_probs = found["captions"], found["log_probs"]
            if question in ("greedy", "beam"):
                captions = np.reshape(captions, [len(captions), -1])[:, :1]
                log_probs = np.reshape(log_probs, [len(captions), -1])[:, :1]
            for texts, scores in zip(captions, log_probs, strict=True):
                said[question].append([text.decode() for text in texts[np.isfinite(scores)]])
    return said


def identical(expected: Texts, found: Texts) -> dict[str, dict[str, int]]:
    """How many texts are the same, and of how many, by what was asked.

    >>> identical({"greedy": [["a dog"], ["a cat"]]}, {"greedy": [["a dog"], ["a bat"]]})
    {'greedy': {'identical': 1, 'texts': 2}}
    """
    return {
        question: {
            "identical": sum(
                len(before) == len(after)
                and sum(a == b for a, b in zip(before, after, strict=True))
                for before, after in zip(expected[question], found[question], strict=True)
            ),
            "texts": sum(map(len, expected[question])),
        }
        for question in expected
        if question in found
    }


def check_saved_model(
    run: TrainedRun,
    path: str | os.PathLike[str],
    pictures: Sequence[bytes],
    load: Callable[[str | os.PathLike[str]], SessionModel] = SessionModel,
) -> dict[str, dict[str, int]]:
    """Compares the texts of a SavedModel with those of its run.

    Args:
      run: What was exported.
      path: The folder of the version.
      pictures: Encoded.
      load: Opens the SavedModel.
    """
    model = load(path)
    try:
        found = texts_of_export(model, pictures)
    finally:
        model.close()
    each = [run.extractor.extract([picture]) for picture in pictures]
    regions = Regions(*(np.concatenate(parts) for parts in zip(*each, strict=True)))
    return identical(texts_in_python(run, regions), found)
