"""Writes the SavedModel of a run: a numbered version in a folder, as TensorFlow Serving polls it.

    DIR/1/saved_model.pb, variables/, assets/vocabulary.txt, export.json

The next export into the same folder is version 2, and so on.
"""

import importlib
import inspect
import json
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from visem_tf.export.signatures import Signatures

from visem_tf.config import differences, proposer_names
from visem_tf.errors import UserError
from visem_tf.files import write_atomically
from visem_tf.regions import proposers
from visem_tf.stages.run_directory import matters, versions
from visem_tf.trained import TrainedRun

CHANGEABLE = (
    "generate.beam_size",
    "generate.max_length",
    "generate.length_normalisation",
    "generate.allow_unknown",
    "infer.beta",
    "regions.batch_size",
)
"""Fields that an export may change; the others belong to the trained models."""


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
      path: The folder of the version.
      description: The content of its export.json.
    """

    path: Path
    description: dict[str, Any]

    def table(self) -> str:
        """The signatures and the files with their sizes, to print."""
        rows = [
            (name, _listed(signature["inputs"]), _listed(signature["outputs"]))
            for name, signature in self.description["signatures"].items()
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(2)]
        lines = [f"  {a:<{widths[0]}}  {b:<{widths[1]}}  ->  {c}" for a, b, c in rows]
        lines += [
            f"  {name}: left out, {why}" for name, why in self.description["left_out"].items()
        ]
        files = sorted(path for path in self.path.rglob("*") if path.is_file())
        sizes = [(path.relative_to(self.path).as_posix(), path.stat().st_size) for path in files]
        width = max(len(name) for name, _ in sizes)
        lines += [f"  {name:<{width}}  {size / 1e6:8.3f} MB" for name, size in sizes]
        total = sum(size for _, size in sizes) / 1e6
        return "\n".join([f"{self.path} ({total:.1f} MB)", *lines])


def export_saved_model(
    run: TrainedRun, to: str | os.PathLike[str], *, version: int | None = None
) -> Export:
    """Writes a run as a SavedModel.

    It is written beside its place and then renamed, so that a server which polls the folder never
    sees half a model.

    Args:
      run: A finished run; its configuration sets the searches of the signatures.
      to: The folder of all versions; it is made if it is missing.
      version: Replaces that version if it exists; None: the number after the highest there is.

    Returns:
      What was written.

    Raises:
      UserError: The run has nothing that can be exported, its regions cannot be found in graph, the
        configuration changes more than an export can, or `to` is no folder.
    """
    check_exportable(run)
    to = Path(to)
    try:
        to.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{to} is a file, or in one; give a folder to export to") from error
    signatures = Signatures(run)
    # Not mkdtemp, whose folders nobody else may read.
    temporary = to / f".{secrets.token_hex(6)}.partial"
    try:
        description = _save(signatures, temporary)
        path = _put_in_place(temporary, to, version)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Export(path, description)


def exportable_proposers() -> tuple[str, ...]:
    """The proposers that consist of TensorFlow operations alone."""
    found = []
    for name in proposer_names():
        module = importlib.import_module(f"{proposers.__name__}.{name}")
        kinds = [kind for _, kind in inspect.getmembers(module, inspect.isclass)]
        if any(getattr(kind, "in_graph", False) is True for kind in kinds):
            found.append(name)
    return tuple(found)


def check_exportable(run: TrainedRun) -> None:
    """Refuses what cannot be exported, before anything is loaded.

    Raises:
      UserError: The proposer needs Python, or the configuration changes what was trained.
    """
    recorded = run.run.config()
    assert recorded is not None
    changed = [
        name
        for name in differences(recorded, run.config)
        if matters(name) and name not in CHANGEABLE
    ]
    if changed:
        raise UserError(
            f"an export takes the models as they were trained, so {', '.join(changed)} cannot "
            f"change; only {', '.join(CHANGEABLE)} can"
        )
    proposer = run.config.regions.proposer
    if proposer not in exportable_proposers():
        raise UserError(
            f"regions.proposer {proposer} runs outside the graph and cannot be exported; train a "
            f"run with one of {', '.join(exportable_proposers())}"
        )


def _save(signatures: Signatures, folder: Path) -> dict[str, Any]:
    """Writes the model and export.json, and returns the content of the latter."""
    traced = signatures.trace()
    root = tf.Module()
    # A flat list: TensorFlow Serving cannot load a SavedModel that tracks a Keras 3 model.
    root.weights = _variables(traced)
    root.vocabulary = signatures.vocabulary
    root.vocabulary_file = tf.saved_model.Asset(str(signatures.run.run / "vocabulary.txt"))
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(root, str(folder), signatures=traced, options=options)
    config = signatures.run.config
    description = {
        "format": "saved_model",
        "signatures": {name: _described(function) for name, function in traced.items()},
        "left_out": signatures.left_out,
        "vocabulary_size": len(signatures.vocabulary),
        "parameters": sum(int(tf.size(variable)) for variable in root.weights),
        "config": config.to_dict(),
        "versions": versions(),
    }
    text = json.dumps(description, indent=1, ensure_ascii=False) + "\n"
    write_atomically(folder / "export.json", text)
    return description


def _variables(functions: dict[str, Any]) -> list[tf.Variable]:
    """All variables that the functions read, each once."""
    found = {id(v): v for function in functions.values() for v in function.graph.variables}
    return sorted(found.values(), key=lambda variable: variable.name)


def _put_in_place(temporary: Path, to: Path, version: int | None) -> Path:
    """Renames a finished folder to its number."""
    if version is not None:
        target, old = to / str(version), temporary.with_suffix(".old")
        if target.exists():
            target.rename(old)
        temporary.rename(target)
        shutil.rmtree(old, ignore_errors=True)
        return target
    while True:
        taken = [int(path.name) for path in to.iterdir() if path.name.isdecimal()]
        target = to / str(max(taken, default=0) + 1)
        try:
            temporary.rename(target)
        except OSError:
            if not target.exists():
                raise
            continue  # another export took the number just now
        return target


def _described(function: Any) -> dict[str, Any]:
    """Names, types and shapes of a signature; free axes are null."""
    inputs, _ = function.structured_input_signature
    specs = {"inputs": {spec.name: spec for spec in inputs}, "outputs": function.structured_outputs}
    return {
        side: {
            name: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}
            for name, spec in tensors.items()
        }
        for side, tensors in specs.items()
    }


def _listed(tensors: dict[str, Any]) -> str:
    """As in "captions string [?, 7]"."""
    shown = []
    for name, tensor in tensors.items():
        shape = ", ".join("?" if size is None else str(size) for size in tensor["shape"])
        shown.append(f"{name} {tensor['dtype']} [{shape}]")
    return ", ".join(shown)
