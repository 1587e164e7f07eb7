"""Writes random features, with the sentences of drawn pictures, in the forms that are read."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visem_tf.datasets.dummy_data import DummyPicture
from visem_tf.datasets.karpathy_json.dummy_data import dataset_json
from visem_tf.datasets.precomputed.precomp import SPLITS

NUM_REGIONS, FEATURE_DIM = 4, 12


def write(folder: Path, pictures: Sequence[DummyPicture]) -> None:
    """Writes bottom-up features, the form that holds most.

    Args:
        folder: exists.
        pictures: what is described.
    """
    write_bottom_up(folder, pictures)


def write_vgg_feats(folder: Path, pictures: Sequence[DummyPicture]) -> np.ndarray:
    """Writes `vgg_feats.mat` and `dataset.json`; returns the features, a row a picture."""
    import scipy.io

    features = _features(pictures)[:, 0]
    scipy.io.savemat(folder / "vgg_feats.mat", {"feats": features.T.astype(np.float64)})
    _write_captions(folder, pictures)
    return features


def write_precomp(
    folder: Path, pictures: Sequence[DummyPicture], *, regions: bool = True, repeated: bool = False
) -> np.ndarray:
    """Writes `{train,dev,test}_ims.npy` and `{…}_caps.txt`.

    Args:
        folder: exists.
        pictures: what is described, each with five sentences.
        regions: whether each picture has several vectors.
        repeated: whether each picture's row stands five times.

    Returns:
        The features [N, R, F].
    """
    features = _features(pictures)
    for split, name in SPLITS.items():
        rows = [row for row, picture in enumerate(pictures) if picture.split == split]
        chosen = features[rows] if regions else features[rows, 0]
        np.save(folder / f"{name}_ims.npy", np.repeat(chosen, 5, 0) if repeated else chosen)
        lines = [sentence for row in rows for sentence in pictures[row].sentences]
        (folder / f"{name}_caps.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return features


def write_bottom_up(folder: Path, pictures: Sequence[DummyPicture]) -> np.ndarray:
    """Writes `features.tsv` and `dataset.json`; one picture has a region less.

    Returns:
        The features [N, R, F].
    """
    features = _features(pictures)
    lines = []
    for row, picture in enumerate(pictures):
        width, height = picture.size
        own = features[row, : NUM_REGIONS - (row == 0)]
        boxes = np.array(
            [[n, 2 * n, width - n, height - 2 * n] for n in range(len(own))], np.float32
        )
        fields = [str(picture.number), str(width), str(height), str(len(own))]
        fields += [base64.b64encode(part.tobytes()).decode() for part in (boxes, own)]
        lines.append("\t".join(fields) + "\n")
    # Not in the order of the captions.
    (folder / "features.tsv").write_text("".join(reversed(lines)), encoding="utf-8")
    _write_captions(folder, pictures)
    return features


def _features(pictures: Sequence[DummyPicture]) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.random((len(pictures), NUM_REGIONS, FEATURE_DIM)).astype(np.float32)


def _write_captions(folder: Path, pictures: Sequence[DummyPicture]) -> None:
    text = json.dumps(dataset_json(pictures, "dummy"), ensure_ascii=False)
    (folder / "dataset.json").write_text(text, encoding="utf-8")
