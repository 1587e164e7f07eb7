"""The state of a training on disk: what is saved, and what is restored from damaged files."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import numpy as np

from visem_tf.errors import UserError
from visem_tf.runtime.arrays import read_arrays
from visem_tf.runtime.files import atomic_path, write_atomically
from visem_tf.runtime.json_files import parse_json

_PROGRESS = "progress"
_NAME = re.compile(r"last-(\d+)(?:-(\d+))?\.npz")  # version 0.1.0 saved whole epochs only


class Progress(TypedDict):
    """Progress of a training.

    Attributes:
        epochs: Number of whole epochs.
        finished: Whether the training has ended.
        history: Metrics of every whole epoch.
    """

    epochs: int
    finished: bool
    history: list[dict[str, float]]


def save_state(
    folder: Path, step: int, progress: Progress, arrays: Mapping[str, np.ndarray]
) -> None:
    """Writes the state of a training, whole or not at all.

    `last-E-S.npz` has the arrays after E whole epochs and S steps, and the progress; that of the
    last whole epoch before it is kept, too. `progress.json` is for other programs and for reports.

    Args:
        folder: Folder of the training.
        step: Steps after the last whole epoch.
        progress: How far the training has come.
        arrays: All variables of the training by name.

    Raises:
        OSError: The folder cannot be written, or the disk is full.
    """
    checkpoint = folder / f"last-{progress['epochs']}-{step}.npz"
    with atomic_path(checkpoint) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays, **{_PROGRESS: json.dumps(progress)})
    text = json.dumps({**progress, "step": step}, indent=1) + "\n"
    write_atomically(folder / "progress.json", text)
    earlier = [path for path in _checkpoints(folder) if path != checkpoint]
    whole = [path for path in earlier if _position(path)[1] == 0]
    for old in earlier:
        if old not in whole[:1]:
            old.unlink()


def load_state(
    folder: Path, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[Progress, int, dict[str, np.ndarray]] | None:
    """Reads the newest state that is whole; damaged files are named in warnings.

    Args:
        folder: Folder of the training.
        shapes: Shapes of the arrays that a state must have, by name.

    Returns:
        The progress, the steps after the last whole epoch, and the arrays; None if nothing was
        saved yet.

    Raises:
        UserError: Something was saved, and no state is whole.
    """
    checkpoints, file = _checkpoints(folder), folder / "progress.json"
    damage: list[str] = []
    recorded: Progress | None = None
    if file.exists():
        try:
            recorded = parse_json(file.read_bytes(), Progress)
        except (OSError, ValueError) as error:
            damage.append(f"{file} is damaged ({error})")
    for path in checkpoints:
        epochs, step = _position(path)
        try:
            arrays = read_arrays(path)
            progress = recorded
            if _PROGRESS in arrays:
                progress = parse_json(str(arrays.pop(_PROGRESS)), Progress)
            if progress is None or len(progress["history"]) < epochs:
                raise ValueError("it does not fit to progress.json")
            for name, shape in shapes.items():
                if name not in arrays or arrays[name].shape != shape:
                    raise ValueError(
                        f"its array {name} is missing or has another shape; it may be of an "
                        "earlier version"
                    )
        except (OSError, ValueError) as error:
            damage.append(f"{path} is damaged ({error})")
            continue
        for line in damage:
            print(
                f"visem_tf: warning: {line}; the training goes on after epoch {epochs}",
                file=sys.stderr,
            )
        whole = progress["epochs"] == epochs
        history = progress["history"][:epochs]
        finished = progress["finished"] and whole
        return Progress(epochs=epochs, finished=finished, history=history), step, arrays
    if checkpoints or file.exists():
        reason = damage[0] if damage else f"{folder} has no checkpoint last-*.npz"
        raise UserError(f"{reason}; delete {folder} to train this model from the beginning")
    return None


def _position(path: Path) -> tuple[int, int]:
    """The whole epochs and the further steps of a checkpoint."""
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1]), int(match[2] or 0)


def _checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, the newest first."""
    found = [path for path in folder.glob("last-*.npz") if _NAME.fullmatch(path.name)]
    return sorted(found, key=_position, reverse=True)
