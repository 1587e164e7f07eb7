"""Writes random features, with the sentences of drawn images, in the forms that are read."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dummy_data.images import DummyImage
from dummy_data.karpathy_json import dataset_json
from visem_tf.datasets.precomputed.precomp import SPLITS

NUM_REGIONS, FEATURE_DIM = 4, 12


def write(folder: Path, images: Sequence[DummyImage]) -> None:
    """Writes bottom-up features, the form that holds most.

    Args:
        folder: Existing folder to write into.
        images: Images to write.
    """
    write_bottom_up(folder, images)


def write_vgg_feats(folder: Path, images: Sequence[DummyImage]) -> np.ndarray:
    """Writes `vgg_feats.mat` and `dataset.json`; returns the features [N, F]."""
    import scipy.io

    features = _features(images)[:, 0]
    scipy.io.savemat(folder / "vgg_feats.mat", {"feats": features.T.astype(np.float64)})
    _write_captions(folder, images)
    return features


def write_precomp(
    folder: Path, images: Sequence[DummyImage], *, regions: bool = True, repeated: bool = False
) -> np.ndarray:
    """Writes `{train,dev,test}_ims.npy` and `{…}_caps.txt`.

    Args:
        folder: Existing folder to write into.
        images: Images to write, each with five sentences.
        regions: Whether each image has several feature vectors.
        repeated: Whether each row of features is repeated five times.

    Returns:
        Region features [N, R, F].
    """
    features = _features(images)
    for split, name in SPLITS.items():
        rows = [row for row, image in enumerate(images) if image.split == split]
        chosen = features[rows] if regions else features[rows, 0]
        np.save(folder / f"{name}_ims.npy", np.repeat(chosen, 5, 0) if repeated else chosen)
        lines = [sentence for row in rows for sentence in images[row].sentences]
        (folder / f"{name}_caps.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return features


def write_bottom_up(folder: Path, images: Sequence[DummyImage]) -> np.ndarray:
    """Writes `features.tsv` and `dataset.json`; the first image has one region fewer.

    Returns:
        Region features [N, R, F].
    """
    features = _features(images)
    lines = []
    for row, image in enumerate(images):
        width, height = image.size
        own = features[row, : NUM_REGIONS - (row == 0)]
        boxes = np.array(
            [[n, 2 * n, width - n, height - 2 * n] for n in range(len(own))], np.float32
        )
        fields = [str(image.number), str(width), str(height), str(len(own))]
        fields += [base64.b64encode(part.tobytes()).decode() for part in (boxes, own)]
        lines.append("\t".join(fields) + "\n")
    # Not in the order of the captions.
    (folder / "features.tsv").write_text("".join(reversed(lines)), encoding="utf-8")
    _write_captions(folder, images)
    return features


def _features(images: Sequence[DummyImage]) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.random((len(images), NUM_REGIONS, FEATURE_DIM)).astype(np.float32)


def _write_captions(folder: Path, images: Sequence[DummyImage]) -> None:
    text = json.dumps(dataset_json(images, "dummy"), ensure_ascii=False)
    (folder / "dataset.json").write_text(text, encoding="utf-8")
