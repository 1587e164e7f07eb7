"""Where a run directory or a published model has the files of its trained models, for reading."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from visem_tf.config import Config
from visem_tf.errors import UserError
from visem_tf.regions.extractor import RegionWeights
from visem_tf.runs.run_state import check_unchanged
from visem_tf.runtime.json_files import read_json
from visem_tf.runtime.model_places import find_model
from visem_tf.runtime.published import check_files, is_published, read_card
from visem_tf.runtime.storage import read_regular, reason_of
from visem_tf.runtime.working_copy import working_copy

EVALUATE_AGAIN = "delete it, and run python -m visem_tf.evaluate"
"""Advice for a damaged file of results."""


class ModelFiles:
    """The files of a run directory, which need not be writable.

    Args:
        path: Folder on the disk.
        address: Folder as the user gave it, on any storage.
    """

    CNN = "checkpoints/finetune/cnn.npz"
    PROPOSER = "checkpoints/propose/proposer.npz"
    BANK = "checkpoints/align/bank.npz"

    def __init__(self, path: Path, address: str) -> None:
        self.path = path
        self.address = address

    def __truediv__(self, name: str) -> Path:
        """Returns the path of a file in the folder."""
        return self.path / name

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.path.name

    @property
    def tuned_cnn(self) -> Path | None:
        """File of the CNN that this run has fine-tuned; None if it has not."""
        return _existing(self.path / self.CNN)

    @property
    def region_weights(self) -> RegionWeights:
        """Weights of the CNN and of the proposer that this run has trained."""
        return RegionWeights(self.tuned_cnn, _existing(self.path / self.PROPOSER))

    @property
    def alignment_model(self) -> Path:
        """File of the best alignment model, which need not exist."""
        refined = self.path / "checkpoints" / "self_training" / "best.keras"
        return refined if refined.exists() else self.ranking_model

    @property
    def ranking_model(self) -> Path:
        """File of the best alignment model before self-training, which need not exist."""
        tuned = self.path / "checkpoints" / "finetune" / "best.keras"
        if self.tuned_cnn and tuned.exists():  # no training of this run if the CNN is of another
            return tuned
        return self.path / "checkpoints" / "align" / "best.keras"

    @property
    def bank(self) -> Path:
        """File of the bank for hubness, see `visem_tf.alignment.hubness`; need not exist."""
        return self.path / self.BANK

    def generator(self, name: str) -> Path:
        """Returns the file of the best model of a generator, which need not exist.

        Args:
            name: "regions", or one of `visem_tf.runs.generators.member_names`.
        """
        folder = self.path / "checkpoints" / "generate"
        tuned = folder / cider_folder(name) / "best.keras"
        return tuned if tuned.exists() else folder / name / "best.keras"

    def missing(self, path: Path, stage: str) -> UserError:
        """Returns an error that says that a file is missing and how to make it.

        Args:
            path: The file.
            stage: Stage of `visem_tf.fit` that writes it.
        """
        return UserError(
            f"{self.path} has no {path.relative_to(self.path)}; run python -m visem_tf.fit "
            f"--run-dir {self.path} --stages {stage} first"
        )

    def config(self) -> Config | None:
        """Reads the configuration that the run was started with; None if it was not started.

        Raises:
            UserError: `config.json` cannot be read, is not a configuration of this version, or was
                changed after the run was started.
        """
        file = self.path / "config.json"
        if not file.exists():
            return None
        try:
            config = Config.from_json(read_regular(file).decode())
        except (OSError, UnicodeDecodeError, UserError) as error:
            raise UserError(f"{file} cannot be used ({error}); give another --run-dir") from error
        check_unchanged(self.path, config)
        return config

    def recorded_config(self) -> Config:
        """Reads the configuration of a run that was started.

        Raises:
            UserError: There is no `config.json`, or it cannot be used.
        """
        config = self.config()
        if config is None:
            raise UserError(f"{self.path} is not a run directory (it has no config.json)")
        return config

    def recorded_versions(self) -> dict[str, Any]:
        """Returns the versions of the packages that the run was started with."""
        file, advice = self.path / "config.json", "give another --run-dir"
        return dict(read_json(file, dict[str, Any], advice).get("versions", {}))

    def metrics(self) -> dict[str, Any]:
        """Returns the content of `metrics.json`; empty if the run was not evaluated.

        Raises:
            UserError: The file cannot be read.
        """
        path = self.path / "metrics.json"
        return dict(read_json(path, dict[str, Any], EVALUATE_AGAIN)) if path.exists() else {}

    @property
    def card(self) -> dict[str, Any]:
        """Description of the model, in JSON's types."""
        return {
            "name": self.name,
            "dataset": self.recorded_config().dataset,
            "versions": self.recorded_versions(),
            "metrics": self.metrics(),
        }


class PublishedFiles(ModelFiles):
    """The files of a published model, see `visem_tf.runtime.published`.

    Args:
        path: Folder on the disk.
        address: Folder as the user gave it, on any storage.
    """

    CNN = "cnn.npz"
    PROPOSER = "proposer.npz"
    BANK = "bank.npz"

    @property
    def card(self) -> dict[str, Any]:
        """Card of the model, see `visem_tf.report.card.make_card`."""
        return read_card(self.path)

    @property
    def name(self) -> str:
        """Name of the model."""
        return str(self.card.get("name", self.path.name))

    @property
    def alignment_model(self) -> Path:
        """File of the alignment model, which need not exist."""
        return self.path / "alignment.npz"

    def generator(self, name: str) -> Path:
        """Returns the file of a generator, which need not exist; see `ModelFiles.generator`."""
        return self.path / f"{name}.npz"

    def missing(self, path: Path, stage: str) -> UserError:
        """Returns an error that says that the model has no such file."""
        return UserError(f"the model {self.name} was published without {path.name}; use another")

    def metrics(self) -> dict[str, Any]:
        """Returns the figures on the card."""
        return dict(self.card.get("metrics", {}))


def open_model_files(model: str | os.PathLike[str]) -> ModelFiles:
    """Opens a run directory or a published model, which need not be writable.

    Args:
        model: Path, address or name, see `visem_tf.runtime.model_places.find_model`.

    Raises:
        UserError: There is no such model, or a published model is damaged or of a newer format.
    """
    folder = find_model(model)
    try:
        path = working_copy(folder, read_only=True)
    except OSError as error:
        raise UserError(f"cannot read {model}: {reason_of(error)}") from error
    if not is_published(path):
        return ModelFiles(path, str(model))
    check_files(path)
    return PublishedFiles(path, str(model))


def cider_folder(name: str) -> str:
    """Returns the checkpoint folder of a full-frame generator that was fine-tuned on CIDEr."""
    return f"{name}_cider"


def _existing(path: Path) -> Path | None:
    return path if path.exists() else None
