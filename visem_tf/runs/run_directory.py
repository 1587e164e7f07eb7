"""The folder of a run: its configuration, its finished stages and how long they took."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from typing import Any

from visem_tf.config import Config, differences
from visem_tf.config.recorded import SELF_TRAINING, affects_training, raised_fields
from visem_tf.errors import UserError
from visem_tf.runs.model_files import ModelFiles
from visem_tf.runs.run_state import deciding_fields, read_state
from visem_tf.runtime.files import write_atomically
from visem_tf.runtime.storage import as_path, reason_of
from visem_tf.runtime.version import __version__
from visem_tf.runtime.working_copy import working_copy

_PACKAGES = (
    "tensorflow",
    "tensorflow-text",
    "tensorflow-datasets",
    "keras",
    "keras-cv",
    "numpy",
)

DEPENDENT = {
    "propose": ("features",),
    "align": ("infer", "evaluate", "report", "export"),
    "generate": ("evaluate", "report", "export"),
}
"""Stages that are run again after a training has gone on. Generators are not among them: they keep
what they have learnt from the first alignment, unless they go on themselves."""

_RESULTS = {
    "vocabulary.txt",
    "checkpoints",
    "alignments.jsonl",
    "metrics.json",
    "report.html",
    "saved_model",
    "state.json",
}


class RunDirectory(ModelFiles):
    """A run directory, which is created if it does not exist.

    Two files record a run, both written atomically: `config.json`, the configuration it was started
    with, and `state.json`, its data and its finished stages.

    Args:
        path: Folder, on any storage. The attribute `address` is this path as text, and
            `path` is the folder on the disk that has the files.

    Raises:
        UserError: `path` is not a folder, cannot be written, or contains results without a
            configuration.

    Example:
        >>> import tempfile
        >>> run = RunDirectory(tempfile.mkdtemp())
        >>> run.claim(Config())
        >>> run.mark_done("align", 2.5, {"loss": 0.1})
        >>> run.is_done("align"), run.timing()
        (True, {'align_s': 2.5})
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        given = as_path(path)
        try:
            if given.exists() and not given.is_dir():
                raise UserError(f"run directory {given} is a file; give a folder")
            super().__init__(working_copy(path), str(given))
            self.path.mkdir(parents=True, exist_ok=True)
            names = {entry.name for entry in self.path.iterdir()}
        except OSError as error:
            raise UserError(
                f"run directory {given} cannot be made: {reason_of(error)}; choose another"
            ) from error
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise UserError(f"run directory {self.path} cannot be written; choose another")
        foreign = sorted(names & _RESULTS) if "config.json" not in names else []
        if foreign:
            raise UserError(
                f"{self.path} has {foreign[0]} but no config.json, so this run cannot "
                "be resumed; give an empty or new folder"
            )

    def claim(self, config: Config) -> None:
        """Records the configuration of a new run, or compares it with the recorded one.

        `config.json` contains the whole resolved configuration and the versions of the packages. It
        changes only if a training is to go on, see `GROWING_FIELDS`: its stage is then no longer
        finished, and neither are the stages whose results depend on it.

        Args:
            config: Configuration of this call.

        Raises:
            UserError: The run was started with another configuration, or the training cannot go
                on; the message names the fields.
        """
        recorded = self.config()
        if recorded is None:
            write_atomically(self.path / "config.json", config.to_json(versions=versions()))
            self._write({**read_state(self.path), "config": deciding_fields(config)})
            return
        raised = [
            name
            for name in raised_fields(recorded, config)
            if name.partition(".")[0] in config.stages
        ]
        changed = [
            name
            for name in differences(recorded, config)
            if affects_training(name) and name not in raised
        ]
        if changed:
            before, now = dict(recorded.flat()), dict(config.flat())
            shown = ", ".join(f"{n} ({before[n]!r}, now {now[n]!r})" for n in changed)
            raise UserError(
                f"run directory {self.path} was started with another configuration: {shown}; "
                "give another --run-dir, or the same values"
            )
        if raised:
            grown = recorded.updated({name: dict(config.flat())[name] for name in raised})
            self._reopen(raised, grown)
            text = grown.to_json(versions=self.recorded_versions())
            write_atomically(self.path / "config.json", text)

    def _reopen(self, raised: list[str], config: Config) -> None:
        """Marks the stages whose trainings go on as unfinished, and those of `DEPENDENT`."""
        stages = list(dict.fromkeys(name.partition(".")[0] for name in raised))
        names = ", ".join(raised)
        if "propose" in stages and (self.path / "checkpoints" / "align").exists():
            raise UserError(
                f"{names} cannot be raised, because the alignment was trained on the regions of "
                "this proposer; give another --run-dir"
            )
        tuned = config.align.finetune_epochs or (
            config.joint.train and config.generate.cider_epochs
        )
        later = [self.path / "checkpoints" / name for name in ("finetune", "self_training")]
        has_begun = any((folder / "progress.json").exists() for folder in later)
        first = any(n.startswith("align.") and not n.startswith(SELF_TRAINING) for n in raised)
        if first and (has_begun or (tuned and self.is_done("align"))):
            raise UserError(
                f"{names} cannot be raised, because the alignment, the CNN or the generators were "
                "trained further after this training; give another --run-dir"
            )
        for stage in stages:
            folders = (self.path / "checkpoints" / stage).glob("**/progress.json")
            if self.is_done(stage) and not any(folders):
                raise UserError(
                    f"{names} cannot be raised, because {self.path} has the trained models only, "
                    "without the state of their optimizers; start another run with --init-from "
                    f"{self.path}"
                )
        dependent = {name for stage in stages for name in DEPENDENT[stage]}
        state = read_state(self.path)
        entries = {name: dict(entry) for name, entry in state.get("stages", {}).items()}
        for name, entry in entries.items():
            if name in stages:
                entry["done"] = False
            elif name in dependent:
                entry.update(done=False, seconds=0.0)
        self._write({**state, "config": deciding_fields(config), "stages": entries})

    def claim_data(self, fingerprint: str) -> None:
        """Records the data of a new run, or compares them with the recorded ones.

        Args:
            fingerprint: `CaptionDataset.fingerprint`.

        Raises:
            UserError: The run was made from other data.
        """
        state = read_state(self.path)
        if state.get("data") is None:
            self._write({**state, "data": fingerprint})
        elif state["data"] != fingerprint:
            raise UserError(
                f"run directory {self.path} was made from other data (the files of the data set "
                "differ, or an earlier version of visem_tf read them differently); give another "
                "--run-dir, or the same data"
            )

    def has_data(self) -> bool:
        """Returns whether the run has been opened with its data; it is then set up."""
        return read_state(self.path).get("data") is not None

    def is_done(self, stage: str) -> bool:
        """Returns whether a stage is finished."""
        return bool(self._stage(stage).get("done"))

    def mark_done(self, stage: str, seconds: float, summary: dict[str, Any]) -> None:
        """Records that a stage is finished.

        Args:
            stage: Name of the stage.
            seconds: Duration of this call; the time that `add_time` has recorded is added.
            summary: Results to keep, in JSON's types.
        """
        self._update(stage, done=True, seconds=seconds, summary=summary)

    def add_time(self, stage: str, seconds: float) -> None:
        """Records the duration of an interrupted stage."""
        self._update(stage, done=False, seconds=seconds)

    def summary(self, stage: str) -> dict[str, Any]:
        """Returns the results kept of a finished stage; empty if it is not finished."""
        return dict(self._stage(stage).get("summary", {}))

    def timing(self) -> dict[str, float]:
        """Returns the duration of every finished stage in seconds, as `{"align_s": …}`."""
        stages = read_state(self.path).get("stages", {})
        return {f"{name}_s": s["seconds"] for name, s in stages.items() if s.get("done")}

    def _stage(self, stage: str) -> dict[str, Any]:
        return dict(read_state(self.path).get("stages", {}).get(stage, {}))

    def _update(self, stage: str, *, seconds: float, **entries: Any) -> None:
        state, before = read_state(self.path), self._stage(stage)
        spent = 0.0 if before.get("done") else before.get("seconds", 0.0)
        entry = {**before, **entries, "seconds": round(spent + seconds, 3)}
        self._write({**state, "stages": {**state.get("stages", {}), stage: entry}})

    def _write(self, state: Mapping[str, Any]) -> None:
        write_atomically(self.path / "state.json", json.dumps(state, indent=2) + "\n")


def versions() -> dict[str, str | None]:
    """Returns the versions of Python and of the packages on which results depend."""
    found: dict[str, str | None] = {"python": platform.python_version(), "visem_tf": __version__}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found
