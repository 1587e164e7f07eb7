"""Starts a run from the vocabulary and the weights of another model, which `init_from` names."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import keras

from visem_tf.config import Config
from visem_tf.errors import UserError
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.generator import SentenceGenerator
from visem_tf.models.saving import load_model
from visem_tf.models.transfer import copy_weights, freeze_alignment, freeze_words
from visem_tf.regions.extractor import RegionWeights
from visem_tf.regions.proposers.trained import weights_file
from visem_tf.runs.generators import title_of
from visem_tf.runs.model_files import ModelFiles, open_model_files
from visem_tf.runs.run_directory import RunDirectory
from visem_tf.runtime.files import atomic_path
from visem_tf.text import Vocabulary


def first_vocabulary(config: Config) -> Vocabulary | None:
    """Returns the vocabulary of the model that a run starts from; None if there is no such model.

    Raises:
        UserError: The model is missing or damaged.
    """
    if not config.init_from:
        return None
    return _vocabulary(open_model_files(config.init_from))


def parts_to_copy(config: Config) -> dict[str, Path]:
    """Checks the model that a run starts from, and returns its trained proposer and CNN.

    Args:
        config: Configuration of the run.

    Returns:
        Files of the model by their paths in the run directory; empty without `init_from`.

    Raises:
        UserError: The model is missing or damaged, or the run cannot start from it.
    """
    if not config.init_from:
        return {}
    model = open_model_files(config.init_from)
    if config.joint.train and not model.recorded_config().joint.train:
        raise UserError(
            f"joint.train has one set of word vectors, and the parts of {config.init_from} were "
            "trained one after the other; leave it false"
        )
    if model.tuned_cnn and config.align.finetune_epochs:
        raise UserError(
            f"align.finetune_epochs starts from the CNN in the package, and {config.init_from} has "
            "trained its own; leave it at 0"
        )
    parts = {}
    if config.regions.proposer == "trained" and not config.propose.epochs:
        proposer = weights_file(config.regions, model.region_weights.proposer)
        parts[ModelFiles.PROPOSER] = proposer
    if model.tuned_cnn:
        parts[ModelFiles.CNN] = model.tuned_cnn
    return parts


def weights_to_copy(config: Config) -> RegionWeights:
    """Returns the weights that a new run gets from `parts_to_copy`, where they are now."""
    parts = parts_to_copy(config)
    return RegionWeights(parts.get(ModelFiles.CNN), parts.get(ModelFiles.PROPOSER))


def copy_parts(parts: Mapping[str, Path], run: RunDirectory) -> None:
    """Copies parts of a model into a run directory; files that it has already stay.

    Args:
        parts: Files from `parts_to_copy`.
        run: Run directory.
    """
    for name, source in parts.items():
        target = run / name
        if not target.exists():
            with atomic_path(target) as unfinished:
                shutil.copyfile(source, unfinished)


def start_alignment(config: Config, model: AlignmentModel, vocabulary: Vocabulary) -> None:
    """Starts an alignment model from the weights of `init_from`, if it is set.

    Args:
        config: Configuration of the run.
        model: Built model, before it is compiled.
        vocabulary: Words of the model, which begin with those of `init_from`.

    Raises:
        UserError: The weights do not fit.
    """
    known = _copy(config, model, vocabulary, "align")
    if known:
        freeze_alignment(model, config.freeze, known)


def start_generator(
    config: Config, name: str, model: SentenceGenerator, vocabulary: Vocabulary
) -> None:
    """Starts a generator from the weights of `init_from`, if it is set.

    Args:
        config: Configuration of the run.
        name: "regions", or one of `visem_tf.runs.generators.member_names`.
        model: Built model, before it is compiled.
        vocabulary: Words of the model, which begin with those of `init_from`.

    Raises:
        UserError: The weights do not fit.
    """
    known = _copy(config, model, vocabulary, name)
    if known and "word_vectors" in config.freeze:
        freeze_words(model.word_vectors, known)


def freeze_trained(config: Config, model: keras.Model, name: str) -> None:
    """Freezes the parts that `freeze` names in a model that this run has trained and read again.

    Args:
        config: Configuration of the run.
        model: Alignment model or generator, before it is compiled.
        name: "align", "regions", or one of `visem_tf.runs.generators.member_names`.
    """
    if not config.freeze:
        return
    files = open_model_files(config.init_from)
    if not _model_file(files, name).exists():  # it has started from random weights
        return
    known = len(_vocabulary(files))
    if isinstance(model, AlignmentModel):
        freeze_alignment(model, config.freeze, known)
    elif isinstance(model, SentenceGenerator) and "word_vectors" in config.freeze:
        freeze_words(model.word_vectors, known)


def _model_file(files: ModelFiles, name: str) -> Path:
    return files.alignment_model if name == "align" else files.generator(name)


def _copy(config: Config, model: keras.Model, vocabulary: Vocabulary, name: str) -> int:
    """Copies weights, and returns the number of words of their model; 0 if there are none."""
    if not config.init_from:
        return 0
    files = open_model_files(config.init_from)
    path = _model_file(files, name)
    title = "alignment" if name == "align" else title_of(name)
    if not path.exists():
        print(f"{title}: {config.init_from} has none, so it starts from random weights")
        return 0
    known = _vocabulary(files)
    if vocabulary.words[: len(known)] != known.words:
        raise UserError(
            f"the words of this run do not begin with those of {config.init_from}; give another "
            "--run-dir"
        )
    sizes = len(known), len(vocabulary)
    try:
        copy_weights(load_model(path, type(model)), model, sizes)
    except ValueError as error:
        raise UserError(
            f"{title}: the weights of {config.init_from} do not fit: {error}; leave out --preset, "
            "or give the options of that model"
        ) from error
    print(f"{title}: starts from {config.init_from}; {sizes[1] - sizes[0]} words are new")
    return len(known)


def _vocabulary(files: ModelFiles) -> Vocabulary:
    return Vocabulary.load(files / "vocabulary.txt")
