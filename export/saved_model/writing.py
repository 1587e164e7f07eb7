"""Writes the SavedModel of a run: a numbered version in a folder, as TensorFlow Serving polls it.

    DIR/1/saved_model.pb, variables/, assets/vocabulary.txt, export.json

The next export into the same folder is version 2, and so on.
"""

import importlib
import inspect
import json
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from visem_tf.config import Config, differences
from visem_tf.config.recorded import EXPORT_FIELDS, affects_training
from visem_tf.config.registry import PROPOSERS
from visem_tf.errors import UserError
from visem_tf.export.parity import check_saved_model
from visem_tf.export.saved_model.serving import inputs_of, write_warm_up
from visem_tf.export.saved_model.signatures import Signatures
from visem_tf.export.versions import new_version
from visem_tf.regions import proposers
from visem_tf.runs.run_directory import versions
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.runtime.files import write_atomically


def chosen(config: Config) -> dict[str, Any]:
    """What an export may choose, by the fields' own names, for export.json.

    >>> from visem_tf.config import Config
    >>> chosen(Config())["beam_size"]
    7
    """
    fields = {n: list(v) if isinstance(v, tuple) else v for n, v in config.flat()}
    return {name.rpartition(".")[2]: fields[name] for name in EXPORT_FIELDS}


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
        lines += [f"  {what}: left out, {why}" for what, why in self.description["notes"].items()]
        lines += [
            f"  {name}: {count['identical']} of {count['texts']} texts as in Python"
            for name, count in self.description.get("parity", {}).items()
        ]
        return "\n".join([f"{self.path} ({total:.1f} MB)", *lines])


def export_saved_model(
    run: TrainedRun,
    to: str | os.PathLike[str],
    *,
    version: int | None = None,
    unreadable: str = "empty",
    names: Collection[str] | None = None,
    pictures: Sequence[bytes] = (),
) -> Export:
    """Writes a run as a SavedModel.

    It is written beside its place and then renamed, so that a server which polls the folder never
    sees half a model.

    Args:
      run: A finished run; its configuration sets the searches of the signatures.
      to: The folder of all versions; it is made if it is missing.
      version: Replaces that version if it exists; None: the number after the highest there is.
      unreadable: What a picture that cannot be decoded does: "empty" leaves its own row empty,
        "fail" fails the call.
      names: The signatures to offer; None: all.
      pictures: Encoded pictures on which its texts are compared with those of Python, before it is
        put in its place.

    Returns:
      What was written.

    Raises:
      UserError: The run has nothing that can be exported, its regions cannot be found in graph, the
        configuration changes more than an export can, or `to` is no folder.
    """
    check_exportable(run)
    with new_version(to, version) as paths:
        signatures = Signatures(run, unreadable=unreadable, names=names)
        description = _save(signatures, paths[0])
        if pictures:
            description["parity"] = check_saved_model(run, paths[0], pictures)
        text = json.dumps(description, indent=1, ensure_ascii=False) + "\n"
        write_atomically(paths[0] / "export.json", text)
    return Export(paths[-1], description)


def exportable_proposers() -> tuple[str, ...]:
    """The proposers that consist of TensorFlow operations alone."""
    found = []
    for name in PROPOSERS:
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
        if affects_training(name) and name not in EXPORT_FIELDS
    ]
    if changed:
        raise UserError(
            f"an export takes the models as they were trained, so {', '.join(changed)} cannot "
            f"change; only {', '.join(EXPORT_FIELDS)} can"
        )
    proposer = run.config.regions.proposer
    if proposer not in exportable_proposers():
        raise UserError(
            f"regions.proposer {proposer} runs outside the graph and cannot be exported; train a "
            f"run with one of {', '.join(exportable_proposers())}"
        )


def _save(signatures: Signatures, folder: Path) -> dict[str, Any]:
    """Writes the model and its warm-up requests, and returns the content of export.json."""
    traced = signatures.trace()
    root = tf.Module()
    # A flat list: TensorFlow Serving cannot load a SavedModel that tracks a Keras 3 model.
    root.weights = _variables(traced)
    root.vocabulary = signatures.vocabulary
    root.vocabulary_file = tf.saved_model.Asset(str(signatures.run.run / "vocabulary.txt"))
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(root, str(folder), signatures=traced, options=options)
    no_warm_up = write_warm_up(folder, traced)
    config = signatures.run.config
    return {
        "format": "saved_model",
        "options": {**chosen(config), "unreadable": signatures.unreadable},
        "signatures": {name: described(function) for name, function in traced.items()},
        "left_out": signatures.left_out,
        "warm_up": no_warm_up is None,
        "notes": {} if no_warm_up is None else {"warm_up": no_warm_up},
        "vocabulary_size": len(signatures.vocabulary),
        "parameters": sum(int(tf.size(variable)) for variable in root.weights),
        "config": config.to_dict(),
        "versions": versions(),
    }


def _variables(functions: dict[str, Any]) -> list[tf.Variable]:
    """All variables that the functions read, each once."""
    found = {id(v): v for function in functions.values() for v in function.graph.variables}
    return sorted(found.values(), key=lambda variable: variable.name)


def described(function: Any) -> dict[str, dict[str, Any]]:
    """Names, types and shapes of a signature, for export.json; free axes are null.

    Args:
      function: A concrete function with named inputs and outputs.
    """
    inputs = {spec.name: spec for spec in inputs_of(function)}
    return {
        side: {n: {"dtype": s.dtype.name, "shape": s.shape.as_list()} for n, s in tensors.items()}
        for side, tensors in (("inputs", inputs), ("outputs", function.structured_outputs))
    }


def _listed(tensors: dict[str, Any]) -> str:
    """As in "captions string [?, 7]"."""
    shown = []
    for name, tensor in tensors.items():
        shape = ", ".join("?" if size is None else str(size) for size in tensor["shape"])
        shown.append(f"{name} {tensor['dtype']} [{shape}]")
    return ", ".join(shown)
