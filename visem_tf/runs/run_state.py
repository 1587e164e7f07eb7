"""State of a run, which its run directory records in `state.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypedDict

from visem_tf.config import Config
from visem_tf.config.recorded import GROWING_FIELDS, affects_training
from visem_tf.errors import UserError
from visem_tf.runtime.json_files import read_json

FILE = "state.json"


class Stage(TypedDict, total=False):
    """A stage that has been started.

    Attributes:
        done: Whether it is finished.
        seconds: Duration of the stage.
        summary: Results to keep.
    """

    done: bool
    seconds: float
    summary: dict[str, Any]


class State(TypedDict, total=False):
    """Content of `state.json`.

    Attributes:
        config: Fields of the configuration that decide about the trained models, by dotted name, as
            they were when the run was started; missing in runs of earlier versions.
        data: Fingerprint of the data.
        stages: Stages by name.
    """

    config: dict[str, Any]
    data: str | None
    stages: dict[str, Stage]


def read_state(folder: Path) -> State:
    """Reads `state.json`; it is empty if there is none.

    Raises:
        UserError: The file is damaged.
    """
    file = folder / FILE
    if not file.exists():
        return {}
    state: State = read_json(file, State, "delete it to run all stages again")
    return state


def deciding_fields(config: Config) -> dict[str, Any]:
    """Returns the fields that decide about the trained models, in JSON's types.

    The fields of a training that may go on later are not among them.

    Example:
        >>> fields = deciding_fields(Config())
        >>> fields["align.margin"], "align.epochs" in fields, "evaluate.split" in fields
        (1.0, False, False)
    """
    fields = {
        name: value
        for name, value in config.flat()
        if affects_training(name) and name not in GROWING_FIELDS
    }
    return dict(json.loads(json.dumps(fields)))


def check_unchanged(folder: Path, config: Config) -> None:
    """Checks that the configuration of a run has not changed since the run was started.

    Args:
        folder: Run directory.
        config: Configuration in its `config.json`.

    Raises:
        UserError: A field that decides about the trained models differs; the message names it.
    """
    recorded, now = read_state(folder).get("config", {}), deciding_fields(config)
    changed = [name for name in recorded if name in now and now[name] != recorded[name]]
    if changed:
        shown = ", ".join(f"{name} (was {recorded[name]!r}, is {now[name]!r})" for name in changed)
        raise UserError(
            f"{folder / 'config.json'} was changed after the run was started: {shown}; restore "
            "these values, or start another run"
        )
