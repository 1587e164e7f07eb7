"""Run directories of published models, so that they can be evaluated like runs."""

import shutil

import keras

from visem_tf.config import Config
from visem_tf.config.recorded import changes_of_trained
from visem_tf.errors import UserError
from visem_tf.models.saving import load_model, save_model
from visem_tf.runs.generators import member_names
from visem_tf.runs.model_files import open_model_files
from visem_tf.runs.run_directory import RunDirectory
from visem_tf.runtime.files import write_atomically
from visem_tf.runtime.published import SUMS
from visem_tf.runtime.storage import PathLike

_SOURCE = "published_model.sha256"
"""Name of the file in a run directory that has the digests of its published model."""

TRAINED = ("propose", "align", "generate")
"""Stages whose results a published model contains."""


def unpack(model: PathLike, config: Config) -> RunDirectory:
    """Writes a published model into a run directory, in which its training is finished.

    Args:
        model: Published model by its path, address or name.
        config: Configuration of the run directory `config.run_dir`, which may exist if it is of
            the same model.

    Returns:
        The run directory.

    Raises:
        UserError: The model is damaged, the folder is of another run or model, or the
            configuration changes what was trained.
    """
    source = open_model_files(model)
    if changed := changes_of_trained(source.recorded_config(), config):
        raise UserError(f"the model is trained, so {', '.join(changed)} cannot change")
    digests, run = (source / SUMS).read_bytes(), RunDirectory(config.run_dir)
    own = run / _SOURCE
    if run.config() is None:
        write_atomically(own, digests)  # before the configuration, with which the run begins
    elif not own.is_file() or own.read_bytes() != digests:
        raise UserError(f"{run.path} is another run; give a new folder to --to")
    run.claim(config)
    if all(run.is_done(stage) for stage in TRAINED):
        return run
    for name, path in zip(("cnn", "proposer"), source.region_weights, strict=True):
        folder = run / "checkpoints" / ("finetune" if name == "cnn" else "propose")
        if path is not None:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / path.name)
    names = [*member_names(config.generate), "regions"]
    if source.bank.exists():
        run.bank.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.bank, run.bank)
    files = {source.alignment_model: run.alignment_model}
    files |= {source.generator(name): run.generator(name) for name in names}
    for path, target in files.items():
        if path.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            save_model(load_model(path, keras.Model), target)
    shutil.copyfile(source / "vocabulary.txt", run / "vocabulary.txt")
    for stage in TRAINED:  # last, because they mark the others as complete
        run.mark_done(stage, 0.0, {})
    return run
