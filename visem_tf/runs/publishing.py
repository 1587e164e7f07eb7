"""Writes the trained models of a run into a folder that `visem_tf.load` reads."""

import shutil
from pathlib import Path

import keras
import numpy as np

from visem_tf.config.recorded import LOCAL_FIELDS, changes_of_trained
from visem_tf.errors import UserError
from visem_tf.models.weight_files import write_arrays, write_weights
from visem_tf.regions.proposers.trained import weights_file
from visem_tf.runs.generators import find_full_frame_generators, member_names, model_of
from visem_tf.runs.model_files import PublishedFiles
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.runtime.files import write_atomically


def write_model(run: TrainedRun, folder: Path) -> dict[str, int]:
    """Writes the configuration, the vocabulary and the weights of a run.

    The members of an ensemble, also those of other runs, become members of the written model.

    Args:
        run: Finished run, or published model.
        folder: Folder on the disk.

    Returns:
        Numbers of weights, by the names of the files of the models; that of a CNN is the number of
        its weights that the run has trained.

    Raises:
        UserError: The run has no trained model, generators of several kinds write together, or the
            configuration changes what was trained.
    """
    config = run.config
    if changed := changes_of_trained(run.run.recorded_config(), config):
        raise UserError(
            f"a model is published as it was trained, so {', '.join(changed)} cannot change"
        )
    layout = PublishedFiles(folder, str(folder))
    models: dict[Path, keras.Model] = {}
    if run.has("align"):
        models[layout.alignment_model] = run.alignment_model
        _ = run.hubness  # raises an error if its bank is missing or damaged
    members = []
    if run.has("generate/full_frame"):
        members = find_full_frame_generators(run.run, config, run.vocabulary)
        kind = model_of(config.generate, "full_frame")
        if any(type(each) is not kind or each.cell != config.generate.cell for each in members):
            raise UserError(
                "generate.ensemble names generators of other kinds (generate.model or "
                "generate.cell), which cannot be published together"
            )
    settings = config.generate.updated({"members": max(1, len(members))})
    models |= {
        layout.generator(name): each
        for name, each in zip(member_names(settings), members, strict=False)
    }
    if run.has("generate/regions"):
        models[layout.generator("regions")] = run.region_generator
    if not models:
        raise UserError(f"{run.run.path} has no trained model to publish; run visem_tf.fit first")
    for path, model in models.items():
        write_weights(model, path)
    counts = {path.stem: model.count_params() for path, model in models.items()}
    counts |= _copy_region_weights(run, folder)
    if run.has("align") and config.infer.hubness_scale:
        shutil.copyfile(run.run.bank, layout.bank)
    shutil.copyfile(run.run / "vocabulary.txt", folder / "vocabulary.txt")
    published = config.updated({**LOCAL_FIELDS, "generate.members": settings.members})
    text = published.to_json(versions=run.run.recorded_versions())
    write_atomically(folder / "config.json", text)
    return counts


def _copy_region_weights(run: TrainedRun, folder: Path) -> dict[str, int]:
    """Writes the weights of the proposer and of the CNN, and counts those of the CNN.

    A CNN from a package is neither written nor counted.
    """
    if run.config.regions.proposer == "trained":
        source = weights_file(run.config.regions, run.run.region_weights.proposer)
        shutil.copyfile(source, folder / "proposer.npz")
    cnn = run.run.tuned_cnn
    if cnn is None:
        return {}
    with np.load(cnn, allow_pickle=False) as arrays:
        weights = dict(arrays)
    write_arrays(folder / "cnn.npz", weights)
    return {"cnn": sum(array.size for array in weights.values())}
