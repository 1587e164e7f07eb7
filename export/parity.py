"""Compares the answers of exported models with those that the run gives in Python."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.util import deprecation

from visem_tf.config import Config
from visem_tf.datasets.loading import load_configured
from visem_tf.datasets.scenes.renderer import encode_jpeg, render
from visem_tf.datasets.scenes.sampling import sample_scene
from visem_tf.decoding.captioner import Captioner
from visem_tf.errors import UserError
from visem_tf.export.description import REQUIRED_MODELS
from visem_tf.images.decode import read_image
from visem_tf.images.find import find_images
from visem_tf.images.read import ImageError
from visem_tf.regions.extractor import Regions
from visem_tf.runs.phrase_grounding import PhraseSpans
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.runtime.streams import warn

Texts = dict[str, list[list[str]]]
"""Lists of texts, one for each image, by the names of signatures."""

SIGNATURES = ("greedy", "beam", "describe_regions", "describe_regions_beam")
"""The signatures whose texts are compared."""

_WORDS_OF_SENTENCE = 5
_SAME_PLACE = 1e-3


class SessionModel:
    """A SavedModel in the session loader, which is what TensorFlow Serving uses.

    Args:
        path: Folder of a version.

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
        """Runs a signature on arrays and returns arrays."""
        definition = self.signatures[signature]
        fetches = {name: info.name for name, info in definition.outputs.items()}
        feeds = {definition.inputs[name].name: value for name, value in inputs.items()}
        return self.session.run(fetches, feeds)

    def close(self) -> None:
        """Frees the memory of the model."""
        self.session.close()


def extract_one_by_one(run: TrainedRun, images: Sequence[bytes]) -> Regions:
    """Returns the regions of encoded images, extracted one image at a time as NumPy arrays."""
    each = [run.extractor.extract([image]) for image in images]
    return Regions(*(np.concatenate(parts) for parts in zip(*each, strict=True)))


def texts_in_python(run: TrainedRun, regions: Regions) -> Texts:
    """Returns the texts that a run writes.

    Args:
        run: A finished run. Signatures whose model it lacks are left out.
        regions: Regions of B images as NumPy arrays.
    """
    features, mask = np.asarray(regions.region_features), np.asarray(regions.region_mask)
    batch, num_regions, feature_dim = features.shape
    texts: Texts = {}
    for signature in SIGNATURES:
        if not run.has(REQUIRED_MODELS[signature]):
            continue
        beam_size = run.config.generate.beam_size if signature.endswith("beam") else 1
        of_regions = signature.startswith("describe")
        generator = run.region_generator if of_regions else run.full_frame_generator
        describe = Captioner(generator, run.vocabulary, run.config.generate, beam_size)
        if of_regions:
            found, _ = describe(features.reshape(-1, feature_dim))
            rows = np.array(found, object).reshape(batch, num_regions)
            texts[signature] = [row[real].tolist() for row, real in zip(rows, mask, strict=True)]
        else:
            texts[signature] = [[text] for text in describe.describe_images(features, mask)[0]]
    return texts


def texts_of_export(model: SessionModel, images: Sequence[bytes]) -> Texts:
    """Returns the texts that a SavedModel writes for encoded images, one image at a time."""
    texts: Texts = {}
    for signature in SIGNATURES:
        if signature not in model.signatures:
            continue
        texts[signature] = []
        for image in images:
            found = model(signature, image_bytes=[image])
            captions, log_probs = (np.ravel(found[name]) for name in ("captions", "log_probs"))
            count = 1 if signature in ("greedy", "beam") else len(captions)  # the best of a beam
            real = np.isfinite(log_probs[:count])
            texts[signature].append([text.decode() for text in captions[:count][real]])
    return texts


def count_identical(expected: Texts, found: Texts) -> dict[str, dict[str, int]]:
    """Counts the texts, and those that are identical, for each signature.

    Example:
        >>> count_identical({"greedy": [["a dog"], ["a cat"]]}, {"greedy": [["a dog"], ["a bat"]]})
        {'greedy': {'identical': 1, 'texts': 2}}
    """
    return {
        signature: {
            "identical": sum(
                len(before) == len(after)
                and sum(a == b for a, b in zip(before, after, strict=True))
                for before, after in zip(expected[signature], found[signature], strict=True)
            ),
            "texts": sum(map(len, expected[signature])),
        }
        for signature in expected
        if signature in found
    }


def check_saved_model(
    run: TrainedRun, path: str | os.PathLike[str], images: Sequence[bytes]
) -> dict[str, dict[str, int]]:
    """Compares the texts of a SavedModel with those of its run.

    Args:
        run: The run that was exported.
        path: Folder of the version.
        images: Encoded images.

    Returns:
        The counts of `count_identical`, and those of phrases at the same place as "ground".
    """
    model, regions = SessionModel(path), extract_one_by_one(run, images)
    counts = count_identical(texts_in_python(run, regions), texts_of_export(model, images))
    if "ground" in model.signatures and images:
        counts["ground"] = _compare_phrases(run, model, images, regions)
    model.close()
    return counts


def _compare_phrases(
    run: TrainedRun, model: SessionModel, images: Sequence[bytes], regions: Regions
) -> dict[str, int]:
    """Counts the phrases whose box and point an export finds as Python does.

    The sentence is some words of the vocabulary, and its phrases are its first words.
    """
    query = run.grounder.read(" ".join(run.vocabulary.words[-_WORDS_OF_SENTENCE:]))
    image, last = map(np.ravel, np.indices([len(images), len(query.words)], np.int32))
    zeros = np.zeros_like(last)
    words = tf.RaggedTensor.from_tensor(query.token_ids[np.newaxis])
    embeddings = run.grounder.embed(regions.region_features)
    expected = run.phrase_grounder(
        embeddings, regions, words, PhraseSpans(zeros, image, zeros, last)
    )
    sentences = [query.text] * len(last)
    answers = [
        model(
            "ground",
            image_bytes=[encoded],
            sentences=sentences[: len(query.words)],
            image=zeros[: len(query.words)],
            first=zeros[: len(query.words)],
            last=last[: len(query.words)],
        )
        for encoded in images
    ]
    same = np.ones(len(last), bool)
    for name, values in (("boxes", expected.boxes), ("points", expected.points)):
        found = np.concatenate([answer[name] for answer in answers])
        same &= np.all(np.abs(found - values) < _SAME_PLACE, axis=1)
    return {"identical": int(same.sum()), "texts": len(same)}


def sample_images(
    config: Config, count: int, *, split: str = "test", folder: str = ""
) -> tuple[list[bytes], str]:
    """Returns the first images of a folder, or of the dataset that a run was trained on.

    If the dataset cannot be read, images of `scenes` are drawn instead, with a warning.

    Args:
        config: Configuration of the run.
        count: Largest number of images.
        split: Split of the dataset.
        folder: Folder of images, or empty for the dataset.

    Returns:
        Encoded images as `visem_tf.images.decode.read_image` gives them, and a description of
        their origin.

    Raises:
        UserError: The folder has no readable image.
    """
    if folder:
        return _images_in_folder(folder, count), f"images of {folder}"
    if config.dataset_name != "scenes":
        try:
            data = load_configured(config)
        except UserError as error:
            warn(f"using images of scenes: {error}")
        else:
            images = data.splits[split].pictures().take(count).as_numpy_iterator()
            return list(images), f"{split} images of {data.name}"
    scenes = (sample_scene(seed=0, split=split, index=index) for index in range(count))
    return [encode_jpeg(render(scene)) for scene in scenes], "drawn scenes"


def _images_in_folder(folder: str, count: int) -> list[bytes]:
    images: list[bytes] = []
    for path in find_images([folder]):
        if len(images) == count:
            break
        try:
            images.append(read_image(path))
        except ImageError:
            continue
    if not images and count:
        raise UserError(f"--pictures {folder} has no image that can be read")
    return images
