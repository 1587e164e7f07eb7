"""Runs a TFLite file in Python, as `examples/describe_with_litert.py` does without this package."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from visem_tf.errors import UserError
from visem_tf.runtime.json_files import parse_json
from visem_tf.runtime.startup import without_noise


class TfliteModel:
    """Describes images with the signatures of a TFLite file.

    Args:
        path: File that `visem_tf.export.tflite.writer` wrote.
        threads: Number of threads of the interpreter.

    Attributes:
        words: Vocabulary of the model.
        metadata: Content of the export.json that is packed in the file.
        signatures: Names of the signatures.

    Raises:
        UserError: The interpreter is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int = 1) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise UserError(
                "running a TFLite file needs its interpreter: pip install ai-edge-litert"
            ) from error
        with without_noise():
            self._interpreter = Interpreter(model_path=os.fspath(path), num_threads=threads)
        self._runners: dict[str, Any] = {}
        with zipfile.ZipFile(Path(path)) as packed:
            self.words = packed.read("vocabulary.txt").decode().removesuffix("\n").split("\n")
            self.metadata = parse_json(packed.read("export.json"), dict[str, Any])
        self._end_id = self.words.index("<end>")  # smaller ids are special words
        self.signatures = set(self._interpreter.get_signature_list())

    def __call__(self, signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Runs a signature on arrays and returns arrays."""
        if signature in self._runners:
            return self._runners[signature](**inputs)
        with without_noise():  # the interpreter reports how it prepares a first call
            self._runners[signature] = self._interpreter.get_signature_runner(signature)
            return self._runners[signature](**inputs)

    def squares(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Resizes images, uint8 [H, W, 3] of any size, to squares float32 [B, P, P, 3]."""
        squares = [
            self("prepare", image=image[np.newaxis].astype(np.float32))["image"] for image in images
        ]
        return np.concatenate(squares)

    def frames(self, squares: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the inputs of `captions` for squares: whole frames, or all regions."""
        if "encode_frame" in self.signatures:
            return self("encode_frame", image=squares)
        return self.frames_of(self("encode_image", image=squares))

    def frames_of(self, regions: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the inputs of `captions` out of the outputs of `encode_image`."""
        if "image_features" in self.metadata["signatures"]["beam"]["inputs"]:
            return {"image_features": regions["region_features"][:, 0]}
        return {name: regions[name] for name in ("region_features", "region_mask")}

    def captions(self, frames: dict[str, np.ndarray], *, beam: bool) -> list[str]:
        """Returns the best captions of whole images; see `frames`."""
        token_ids = self("beam" if beam else "greedy", **frames)["token_ids"]
        return self.texts(token_ids[:, 0] if beam else token_ids)

    def region_captions(self, regions: dict[str, np.ndarray], *, beam: bool) -> list[list[str]]:
        """Returns the best caption of every region, given the outputs of `encode_image`."""
        features, mask = regions["region_features"], regions["region_mask"]
        token_ids = self(
            "describe_regions_beam" if beam else "describe_regions",
            region_features=features.reshape(-1, features.shape[2]),
        )["token_ids"]
        texts = np.array(self.texts(token_ids[:, 0] if beam else token_ids), object)
        rows = zip(texts.reshape(mask.shape), mask, strict=True)
        return [row[real].tolist() for row, real in rows]

    def texts(self, token_ids: np.ndarray) -> list[str]:
        """Returns the words of token ids [N, L] before the first END."""
        texts = []
        for row in token_ids.tolist():
            length = row.index(self._end_id) if self._end_id in row else len(row)
            words = (self.words[token] for token in row[:length] if token > self._end_id)
            texts.append(" ".join(words))
        return texts
