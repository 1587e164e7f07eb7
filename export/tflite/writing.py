"""Writes a run as TFLite files: a numbered version in a folder, a file a variant.

    DIR/1/captions-float32.tflite, captions-float16.tflite, …, vocabulary.txt, export.json

Every file has all functions of `visem_tf.export.tflite.functions` as named signatures, of builtin
operators alone, and carries the vocabulary and export.json in itself (`visem_tf.export.
tflite_files`). The variants:

    float32        the numbers of Python
    float16        weights in 16 bits: half the size
    dynamic_range  weights in 8 bits, activations in 8 bits where that is known to work
    int8           the CNN wholly in 8 bits, by the ranges that it shows on sample pictures; the
                   rest as in dynamic_range
"""

import io
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from visem_tf.errors import UserError
from visem_tf.export.parity import Texts, identical, texts_in_python
from visem_tf.export.saved_model.writing import Export, check_exportable, chosen, described
from visem_tf.export.tflite.files import joined, operators, pack
from visem_tf.export.tflite.functions import TfliteFunctions
from visem_tf.export.tflite.model import TfliteModel
from visem_tf.export.versions import new_version
from visem_tf.regions.extractor import Regions, prepare_picture
from visem_tf.runs.run_directory import versions
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.runtime.files import atomic_path, write_atomically
from visem_tf.runtime.startup import without_noise

VARIANTS = ("float32", "float16", "dynamic_range", "int8")
"""The variants there are."""

CALIBRATION_PICTURES = 64
"""Pictures on which the ranges of int8 are measured."""

CALIBRATION_REGIONS = 16
"""Of them, how many have all their regions measured too: that is 20 times the work."""

CNN = ("encode_frame", "encode_image")
"""The functions that are wholly in 8 bits."""

_PROPOSERS = ("windows", "grid", "none")  # the detector's own suppression is no builtin operator


class TfliteExport(Export):
    """What was written."""

    def table(self) -> str:
        """The signatures, and every file with its size and how many of its texts are Python's."""
        lines = [f"{self.path}"]
        for name, signature in self.description["signatures"].items():
            sides = (", ".join(signature[side]) for side in ("inputs", "outputs"))
            lines.append(f"  {name}: {' -> '.join(sides)}")
        for name, why in self.description["left_out"].items():
            lines.append(f"  {name}: left out, {why}")
        for file, about in self.description["files"].items():
            parity = "  ".join(
                f"{question} {count['identical']}/{count['texts']}"
                for question, count in about.get("parity", {}).items()
            )
            lines.append(f"  {file:<30} {about['bytes'] / 1e6:7.2f} MB  {parity}".rstrip())
        return "\n".join(lines)


def export_tflite(
    run: TrainedRun,
    to: str | os.PathLike[str],
    *,
    variants: Sequence[str] = VARIANTS,
    pictures: Sequence[bytes] = (),
    calibration: Callable[[int], Sequence[bytes]],
) -> TfliteExport:
    """Writes a run as TFLite files.

    Args:
      run: A finished run; its configuration sets the searches.
      to: The folder of all versions; this one gets the number after the highest there is.
      variants: Of `VARIANTS`.
      pictures: Encoded pictures on which the texts of every file are compared with Python's. It
        needs the extra `tflite`.
      calibration: Gives so many encoded pictures, to measure the ranges of int8 on.

    Returns:
      What was written.

    Raises:
      UserError: The run has nothing that can be exported, or its proposer has no builtin operators.
    """
    check_exportable(run)
    proposer = run.config.regions.proposer
    if proposer not in _PROPOSERS:
        raise UserError(
            f"regions.proposer {proposer} cannot be written as TFLite; train a run with one of "
            f"{', '.join(_PROPOSERS)}"
        )
    if run.config.regions.resolution == "own":
        raise UserError(
            "regions.resolution own cannot be written as TFLite, whose builtin operators have no "
            "crops of several shapes; train a run with regions.resolution square"
        )
    if not any(map(run.has, ("align", "generate/full_frame", "generate/regions"))):
        raise UserError(
            f"{run.run.path} has no trained model to export; run "
            f"python -m visem_tf.fit --run-dir {run.run.path} first"
        )
    functions = TfliteFunctions(run)
    traced = functions.trace()
    vocabulary = (run.run / "vocabulary.txt").read_text(encoding="utf-8")
    description: dict[str, Any] = {
        "format": "tflite",
        "options": chosen(run.config),
        "picture_size": run.config.regions.picture_size,
        "max_words": run.config.text.max_words,
        "signatures": {name: described(function) for name, function in traced.items()},
        "left_out": functions.left_out,
        "config": run.config.to_dict(),
        "versions": versions(),
    }
    with new_version(to) as paths:
        folder = paths[0]
        write_atomically(folder / "vocabulary.txt", vocabulary)
        expected = _expected(run, pictures) if pictures else {}
        files: dict[str, Any] = {}
        for variant in variants:
            samples = calibration(CALIBRATION_PICTURES) if variant == "int8" else ()
            squares = [_square(run, picture) for picture in samples]
            parts = traced
            if variant == "int8":
                parts = traced | TfliteFunctions(run, whole_number_crops=True).trace(CNN)
            model = convert(parts, variant, squares)
            path = folder / f"captions-{variant}.tflite"
            with atomic_path(path) as temporary:
                temporary.write_bytes(model)
                content = {**description, "variant": variant}
                pack(temporary, {"vocabulary.txt": vocabulary, "export.json": json.dumps(content)})
            files[path.name] = {"bytes": path.stat().st_size, "operators": sorted(operators(model))}
            if pictures:
                said = texts_of_file(TfliteModel(path), pictures)
                files[path.name]["parity"] = identical(expected, said)
        description["files"] = files
        text = json.dumps(description, indent=1, ensure_ascii=False) + "\n"
        write_atomically(folder / "export.json", text)
    return TfliteExport(paths[-1], description)


def convert(functions: dict[str, Any], variant: str, squares: Sequence[np.ndarray] = ()) -> bytes:
    """Converts functions to one TFLite model.

    Args:
      functions: Concrete functions by the names of their signatures.
      variant: Of `VARIANTS`.
      squares: For int8: pictures float32 [P, P, 3] in 0..255 to measure ranges on.

    Returns:
      The model.

    Raises:
      ValueError: For int8 there are no pictures.
    """
    if variant != "int8":
        return _converted(functions, variant, squares)
    if not squares:
        raise ValueError("int8 needs pictures to measure ranges on")
    cnn = {name: function for name, function in functions.items() if name in CNN}
    rest = {name: function for name, function in functions.items() if name not in CNN}
    # The loops of the decoders are left in float32 by a full-integer conversion.
    return joined(_converted(cnn, "int8", squares), _converted(rest, "dynamic_range", ()))


def texts_of_file(
    model: TfliteModel, pictures: Sequence[bytes], *, with_regions: bool = True
) -> Texts:
    """What a file says of encoded pictures, one picture at a time.

    Args:
      model: The file.
      pictures: As `visem_tf.images.decode.read_picture` gives them.
      with_regions: Whether their regions are described too.
    """
    said: Texts = {}
    for picture in pictures:
        with Image.open(io.BytesIO(picture)) as opened:
            squares = model.squares([np.asarray(opened.convert("RGB"))])
        if "greedy" in model.signatures:
            frames = model.frames(squares)
            for question in ("greedy", "beam"):
                texts = model.captions(frames, beam=question == "beam")
                said.setdefault(question, []).append(texts)
        if with_regions and "describe_regions" in model.signatures:
            regions = model("encode_image", image=squares)
            for question in ("describe_regions", "describe_regions_beam"):
                texts = model.region_captions(regions, beam=question.endswith("beam"))[0]
                said.setdefault(question, []).append(texts)
    return said


def _expected(run: TrainedRun, pictures: Sequence[bytes]) -> Texts:
    each = [run.extractor.extract([picture]) for picture in pictures]
    return texts_in_python(run, Regions(*(np.concatenate(p) for p in zip(*each, strict=True))))


def _square(run: TrainedRun, picture: bytes) -> np.ndarray:
    return prepare_picture(tf.constant(picture), run.config.regions.picture_size).numpy()


def _converted(functions: dict[str, Any], variant: str, squares: Sequence[np.ndarray]) -> bytes:
    def representative() -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        for number, square in enumerate(squares):
            for name in functions:
                if name != "encode_image" or number < CALIBRATION_REGIONS:
                    yield name, {"image": square[np.newaxis]}

    with (
        tempfile.TemporaryDirectory() as folder,
        without_noise(),
        warnings.catch_warnings(),
    ):
        # Measuring ranges uses an interpreter of TensorFlow's, which advertises its successor.
        warnings.simplefilter("ignore", UserWarning)
        root = tf.Module()
        variables = {id(v): v for function in functions.values() for v in function.graph.variables}
        root.weights = list(variables.values())
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
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
