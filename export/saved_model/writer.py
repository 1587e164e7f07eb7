"""Writes the SavedModel of a run: a numbered version in a folder, as TensorFlow Serving polls it.

    DIR/1/saved_model.pb, variables/, assets/vocabulary.txt, export.json

The next export into the same folder is version 2, and so on.
"""

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from visem_tf.export.description import Export, check_exportable, describe_export, variables_of
from visem_tf.export.parity import check_saved_model
from visem_tf.export.saved_model.serving_files import write_warm_up
from visem_tf.export.saved_model.signatures import Signatures
from visem_tf.export.versions import new_version
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.runtime.full_disk import report_full_disk
from visem_tf.runtime.json_files import write_json


def export_saved_model(
    run: TrainedRun,
    to: str | os.PathLike[str],
    *,
    version: int | None = None,
    unreadable: str = "empty",
    names: Collection[str] | None = None,
    images: Sequence[bytes] = (),
) -> Export:
    """Writes a run as a SavedModel.

    The model is written beside its final place and then renamed, so that a server which polls the
    folder sees a whole version or none.

    Args:
        run: A finished run; its configuration sets the searches of the signatures.
        to: Folder of all versions; it is made if it is missing.
        version: Version to write or replace, or None for the number after the highest.
        unreadable: What an image that cannot be decoded causes: "empty" leaves its own row empty,
            "fail" makes the call fail.
        names: Signatures to offer, or None for all.
        images: Encoded images on which the texts are compared with those of Python.

    Raises:
        UserError: The run cannot be exported (see `check_exportable`), it has no model for any of
            the signatures, or `to` is not a folder.
    """
    check_exportable(run)
    with report_full_disk(to), new_version(to, version) as paths:
        signatures = Signatures(run, unreadable=unreadable, names=names)
        description = write_signatures(signatures, paths[0])
        if images:
            description["parity"] = check_saved_model(run, paths[0], images)
        write_json(paths[0] / "export.json", description)
    return Export(paths[-1], description)


def write_signatures(signatures: Signatures, folder: Path) -> dict[str, Any]:
    """Writes the model and its warm-up requests; returns the content of export.json.

    Args:
        signatures: Signatures of the run.
        folder: New folder.
    """
    run = signatures.run
    functions = signatures.trace()
    root = tf.Module()
    # A flat list: TensorFlow Serving cannot load a SavedModel that tracks a Keras 3 model.
    root.weights = variables_of(functions)
    root.vocabulary = run.vocabulary
    root.vocabulary_file = tf.saved_model.Asset(str(run.run / "vocabulary.txt"))
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(root, str(folder), signatures=functions, options=options)
    no_warm_up = write_warm_up(folder, functions)
    unreadable = {"unreadable": signatures.unreadable}
    return {
        **describe_export(run, "saved_model", functions, signatures.left_out, unreadable),
        "warm_up": no_warm_up is None,
        "notes": {} if no_warm_up is None else {"warm_up": no_warm_up},
        "vocabulary_size": len(run.vocabulary),
        "parameters": sum(int(tf.size(variable)) for variable in root.weights),
    }
