"""Writes a run as TFLite files: a numbered version in a folder, one file for each variant.

    DIR/1/captions-float32.tflite, captions-float16.tflite, …, vocabulary.txt, export.json

Every file has all functions of `visem_tf.export.tflite.functions` as named signatures, made of
builtin operators alone, and contains the vocabulary and export.json. The variants:

    float32        the same numbers as in Python
    float16        weights in 16 bits: half the size
    dynamic_range  weights in 8 bits, activations in 8 bits where that is known to work
    int8           the CNN wholly in 8 bits, with ranges measured on sample images; the rest as in
                   dynamic_range
"""

import io
import json
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from visem_tf.errors import UserError
from visem_tf.export.description import Export, check_exportable, describe_export, variables_of
from visem_tf.export.parity import Texts, count_identical, extract_one_by_one, texts_in_python
from visem_tf.export.tflite.functions import TfliteFunctions, of_one_image
from visem_tf.export.tflite.graphs import join_models, operators
from visem_tf.export.tflite.model import TfliteModel
from visem_tf.export.versions import new_version
from visem_tf.images.prepare import prepare_image
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.runtime.files import atomic_path, temporary_folder, write_atomically
from visem_tf.runtime.full_disk import report_full_disk
from visem_tf.runtime.json_files import write_json
from visem_tf.runtime.startup import without_noise

VARIANTS = ("float32", "float16", "dynamic_range", "int8")
CALIBRATION_IMAGES = 64
"""Images on which the ranges of int8 are measured."""
CALIBRATION_REGIONS = 16
"""Of them, the images whose regions are measured too, which takes 20 times the work."""
CNN = ("encode_frame", "encode_image")
"""Functions that run wholly in 8 bits in the variant int8. It leaves out those for one image, with
which TensorFlow's converter ends in a segmentation fault."""

_TO_DESCRIBE = (
    "prepare",
    "encode_image",
    "beam",
    "attention",
    "describe_regions_beam",
    "fit_texts",
)
# The suppression of retinanet has no builtin operator.
_PROPOSERS = ("windows", "trained", "grid", "none")


def export_tflite(
    run: TrainedRun,
    to: str | os.PathLike[str],
    *,
    variants: Sequence[str] = VARIANTS,
    images: Sequence[bytes] = (),
    calibration: Callable[[int], Sequence[bytes]],
) -> Export:
    """Writes a run as TFLite files.

    Args:
        run: A finished run; its configuration sets the searches.
        to: Folder of all versions; this one gets the number after the highest.
        variants: Names out of `VARIANTS`.
        images: Encoded images on which the texts of every file are compared with those of Python.
        calibration: Returns the given number of encoded images to measure the ranges of int8 on.

    Raises:
        UserError: The run cannot be exported, or TFLite has no builtin operators for it.
    """
    check_convertible(run)
    settings = run.config.regions
    functions = TfliteFunctions(run)
    traced = functions.trace()
    description = {
        **describe_export(run, "tflite", traced, functions.left_out, {}),
        "picture_size": settings.picture_size,
        "max_words": run.config.text.max_words,
    }
    vocabulary = _vocabulary(run)
    expected = texts_in_python(run, extract_one_by_one(run, images)) if images else {}
    files: dict[str, Any] = {}
    with new_version(to) as paths:
        write_atomically(paths[0] / "vocabulary.txt", vocabulary)
        for variant in variants:
            samples, parts = [], traced
            if variant == "int8":
                samples = [
                    prepare_image(tf.constant(image), settings.picture_size).numpy()
                    for image in calibration(CALIBRATION_IMAGES)
                ]
                whole_numbers = TfliteFunctions(run, whole_number_crops=True)
                parts = {n: each for n, each in traced.items() if n not in map(of_one_image, CNN)}
                parts |= whole_numbers.trace(CNN)
            model = convert(parts, variant, samples)
            path = paths[0] / f"captions-{variant}.tflite"
            signatures = {name: description["signatures"][name] for name in parts}
            about = {**description, "signatures": signatures, "variant": variant}
            _write_model(path, model, vocabulary, about)
            files[path.name] = {"bytes": path.stat().st_size, "operators": sorted(operators(model))}
            if images:
                found = texts_of_file(TfliteModel(path), images)
                files[path.name]["parity"] = count_identical(expected, found)
        description["files"] = files
        write_json(paths[0] / "export.json", description)
    return Export(paths[-1], description)


def write_prepared(run: TrainedRun, path: Path) -> None:
    """Writes the functions that describe images, in float32, as one file.

    Args:
        run: A finished run, or a published model, for which `check_convertible` has passed.
        path: File to write, for `visem_tf.prepared_model.PreparedModel`.

    Raises:
        OSError: The file cannot be written.
    """
    functions = TfliteFunctions(run)
    traced = functions.trace(_TO_DESCRIBE)
    description = describe_export(run, "tflite", traced, functions.left_out, {})
    _write_model(path, convert(traced, "float32"), _vocabulary(run), description)


def check_convertible(run: TrainedRun) -> None:
    """Checks that a run can be written as TFLite, before any model is read.

    Raises:
        UserError: The run cannot be exported, or TFLite has no builtin operators for it.
    """
    check_exportable(run)
    settings = run.config.regions
    if settings.proposer not in _PROPOSERS:
        raise UserError(
            f"regions.proposer {settings.proposer} cannot be written as TFLite; train a run with "
            f"one of {', '.join(_PROPOSERS)}"
        )
    if settings.resolution == "own":
        raise UserError(
            "regions.resolution own cannot be written as TFLite, whose builtin operators have no "
            "crops of several shapes; train a run with regions.resolution square"
        )


def convert(functions: dict[str, Any], variant: str, samples: Sequence[np.ndarray] = ()) -> bytes:
    """Converts functions to one TFLite model.

    Args:
        functions: Concrete functions by the names of their signatures.
        variant: Name out of `VARIANTS`.
        samples: For int8, images float32 [P, P, 3] in 0..255 to measure ranges on.

    Raises:
        ValueError: `samples` is empty for int8.
    """
    if variant != "int8":
        return _convert(functions, variant, samples)
    if not samples:
        raise ValueError("int8 needs sample images to measure ranges on")
    cnn = {name: function for name, function in functions.items() if name in CNN}
    rest = {name: function for name, function in functions.items() if name not in CNN}
    # A full-integer conversion leaves the loops of the decoders in float32.
    return join_models(_convert(cnn, "int8", samples), _convert(rest, "dynamic_range", ()))


def texts_of_file(model: TfliteModel, images: Sequence[bytes]) -> Texts:
    """Returns the texts that a file writes for encoded images, one image at a time.

    Args:
        model: The file.
        images: Images as `visem_tf.images.decode.read_image` gives them.
    """
    texts: Texts = {}
    for image in images:
        with Image.open(io.BytesIO(image)) as opened:
            squares = model.squares([np.asarray(opened.convert("RGB"))])
        if "greedy" in model.signatures:
            frames = model.frames(squares)
            for signature in ("greedy", "beam"):
                captions = model.captions(frames, beam=signature == "beam")
                texts.setdefault(signature, []).append(captions)
        if "describe_regions" in model.signatures:
            regions = model("encode_image", image=squares)
            for signature in ("describe_regions", "describe_regions_beam"):
                (captions,) = model.region_captions(regions, beam=signature.endswith("beam"))
                texts.setdefault(signature, []).append(captions)
    return texts


def _vocabulary(run: TrainedRun) -> str:
    return (run.run / "vocabulary.txt").read_text(encoding="utf-8")


def _write_model(path: Path, model: bytes, vocabulary: str, description: dict[str, Any]) -> None:
    """Writes a model file, whole or not at all, with its texts.

    Interpreters ignore what follows the model. As TFLite's metadata do, an archive is appended, so
    that `zipfile` and `unzip` open the file.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(model)
        with zipfile.ZipFile(temporary, "a", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("vocabulary.txt", vocabulary)
            packed.writestr("export.json", json.dumps(description))


def _convert(functions: dict[str, Any], variant: str, samples: Sequence[np.ndarray]) -> bytes:
    def representative() -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        for number, sample in enumerate(samples):
            for name in functions:
                if name != "encode_image" or number < CALIBRATION_REGIONS:
                    yield name, {"image": sample[np.newaxis]}

    with temporary_folder() as temporary, without_noise(), warnings.catch_warnings():
        # TensorFlow's own interpreter, which measures the ranges, warns of its successor.
        warnings.simplefilter("ignore", UserWarning)
        root = tf.Module()
        root.weights = variables_of(functions)
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        folder = str(temporary)
        with report_full_disk(folder):
            tf.saved_model.save(root, folder, signatures=functions, options=options)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(functions))
        builtins = tf.lite.OpsSet.TFLITE_BUILTINS
        converter.target_spec.supported_ops = [builtins]
        if variant != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if variant == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if variant == "int8":
            converter.representative_dataset = representative
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, builtins]
        return converter.convert()
