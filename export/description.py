"""Options that an export may change of its run, and the content of its `export.json`."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from visem_tf.config.recorded import EXPORT_FIELDS, changes_of_trained
from visem_tf.config.registry import PROPOSERS
from visem_tf.errors import UserError
from visem_tf.runs.run_directory import versions
from visem_tf.runs.trained_run import TrainedRun

MODELS = {
    "align": "alignment_model",
    "generate/full_frame": "full_frame_generator",
    "generate/regions": "region_generator",
}
"""The models of a run, and the attributes of `TrainedRun` that read them."""


REQUIRED_MODELS = {
    **dict.fromkeys(("greedy", "beam", "encode_frame", "attention"), "generate/full_frame"),
    **dict.fromkeys(("describe_regions", "describe_regions_beam"), "generate/regions"),
    **dict.fromkeys(
        ("embed_image", "embed_text", "score", "align", "ground", "fit_texts"), "align"
    ),
}
"""The model that each signature needs."""


@dataclass(frozen=True)
class Export:
    """A version that was written.

    Attributes:
        path: Folder of the version.
        description: Content of its export.json.
    """

    path: Path
    description: dict[str, Any]

    def table(self, address: str | None = None) -> str:
        """Returns a table of the signatures, and of the files with sizes and identical texts.

        Args:
            address: Folder of the versions as the user knows it; None for that of `path`.
        """
        rows = [
            f"{name}: {_listed(signature['inputs'])} -> {_listed(signature['outputs'])}"
            for name, signature in self.description["signatures"].items()
        ]
        left_out = {**self.description["left_out"], **self.description.get("notes", {})}
        rows += [f"{name}: left out, {reason}" for name, reason in left_out.items()]
        files = sorted(path for path in self.path.rglob("*") if path.is_file())
        for path in files:
            about = self.description.get("files", {}).get(path.name, {})
            size = f"{path.stat().st_size / 1e6:8.3f} MB"
            rows.append(f"{path.relative_to(self.path)!s:<44} {size}  {_identical(about)}".rstrip())
        if "parity" in self.description:
            rows.append(f"texts as in Python: {_identical(self.description)}")
        total = sum(path.stat().st_size for path in files) / 1e6
        shown = f"{address}/{self.path.name}" if address else self.path
        return "\n  ".join([f"{shown} ({total:.1f} MB)", *rows])


def check_exportable(run: TrainedRun) -> None:
    """Checks that a run can be exported, before any model is read.

    Raises:
        UserError: The proposer is not made of TensorFlow operations, or the configuration changes
            what was trained.
    """
    recorded = run.run.config()
    assert recorded is not None
    if changed := changes_of_trained(recorded, run.config):
        raise UserError(
            f"an export uses the models as they were trained, so {', '.join(changed)} cannot "
            f"change; only {', '.join(EXPORT_FIELDS)} can"
        )
    proposer = run.config.regions.proposer
    if not _runs_in_graph(proposer):
        others = ", ".join(filter(_runs_in_graph, PROPOSERS))
        raise UserError(
            f"regions.proposer {proposer} runs outside the graph and cannot be exported; train a "
            f"run with one of {others}"
        )


def read_models(run: TrainedRun) -> None:
    """Reads the models before functions are traced: a graph would keep the initial weights.

    Raises:
        UserError: The run has no model, or lacks the bank that its scores need.
    """
    if not any(map(run.has, MODELS)):
        raise UserError(
            f"{run.run.path} has no trained model to export; run "
            f"python -m visem_tf.fit --run-dir {run.run.path} first"
        )
    for model, attribute in MODELS.items():
        if run.has(model):
            getattr(run, attribute)
    if run.has("align"):
        _ = run.hubness


def describe_export(
    run: TrainedRun,
    export_format: str,
    functions: dict[str, Any],
    left_out: dict[str, str],
    options: dict[str, Any],
) -> dict[str, Any]:
    """Returns what every export.json has.

    Args:
        run: The run that is exported.
        export_format: "saved_model" or "tflite".
        functions: Concrete functions by the names of their signatures.
        left_out: Signatures that are not offered, and the reasons.
        options: Options of this format besides `EXPORT_FIELDS`.
    """
    fields = dict(run.config.flat())
    chosen = {name.rpartition(".")[2]: fields[name] for name in EXPORT_FIELDS}
    return {
        "format": export_format,
        "options": {**chosen, "ensemble": list(chosen["ensemble"]), **options},
        "signatures": {name: _describe_signature(each) for name, each in functions.items()},
        "left_out": left_out,
        "config": run.config.to_dict(),
        "versions": versions(),
    }


def inputs_of(function: Any) -> list[tf.TensorSpec]:
    """Returns the named inputs of a concrete function."""
    specs = tf.nest.flatten(function.structured_input_signature)
    return [spec for spec in specs if isinstance(spec, tf.TensorSpec)]


def variables_of(functions: dict[str, Any]) -> list[tf.Variable]:
    """Returns the variables that concrete functions read, each once.

    A graph also lists variables in whose place it reads constants, such as those of the CNN.
    """
    found: dict[int, tf.Variable] = {}
    for function in functions.values():
        read = {id(tensor) for tensor in function.captured_inputs}
        found |= {id(v): v for v in function.graph.variables if id(v.handle) in read}
    return sorted(found.values(), key=lambda variable: variable.name)


def _describe_signature(function: Any) -> dict[str, dict[str, Any]]:
    """Returns names, types and shapes of inputs and outputs; free axes are None."""
    inputs = {spec.name: spec for spec in inputs_of(function)}
    return {
        side: {n: {"dtype": s.dtype.name, "shape": s.shape.as_list()} for n, s in tensors.items()}
        for side, tensors in (("inputs", inputs), ("outputs", function.structured_outputs))
    }


def _listed(tensors: dict[str, Any]) -> str:
    """Returns names, types and shapes as in "captions string [?, 7]"."""
    shown = []
    for name, tensor in tensors.items():
        shape = ", ".join("?" if size is None else str(size) for size in tensor["shape"])
        shown.append(f"{name} {tensor['dtype']} [{shape}]")
    return ", ".join(shown)


def _identical(description: dict[str, Any]) -> str:
    """Returns counts of identical texts as in "greedy 4/4  beam 4/4"."""
    counts = description.get("parity", {}).items()
    return "  ".join(f"{name} {count['identical']}/{count['texts']}" for name, count in counts)


def _runs_in_graph(proposer: str) -> bool:
    module = importlib.import_module(f"visem_tf.regions.proposers.{proposer}")
    return any(getattr(value, "in_graph", False) is True for value in vars(module).values())
