"""Generators as the configuration names them: built, read from checkpoints, and put together."""

import hashlib
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from visem_tf.config import Config, GenerateConfig
from visem_tf.decoding import CaptioningModel, EnsembleModel
from visem_tf.errors import UserError
from visem_tf.models.attention_generator import AttentionGenerator
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.models.generator import SentenceGenerator
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.saving import load_model
from visem_tf.runs.run_directory import RunDirectory
from visem_tf.runtime.working_copy import working_copy
from visem_tf.text import Vocabulary

GENERATORS = ("full_frame", "regions")
"""The names of the two generators: fields of the configuration, and folders of checkpoints."""

MODELS: dict[str, type[SentenceGenerator]] = {
    "mrnn": CaptionGenerator,
    "attention": AttentionGenerator,
}
"""The kinds of generators by their name in the configuration."""


def member_names(settings: GenerateConfig) -> list[str]:
    """The folders of checkpoints of the full-frame generators that write together.

    >>> member_names(GenerateConfig(members=3))
    ['full_frame', 'full_frame_2', 'full_frame_3']
    """
    return ["full_frame", *(f"full_frame_{n}" for n in range(2, settings.members + 1))]


def member_seed(seed: int, number: int) -> int:
    """The seed of a generator that writes with others: the run's own for the first, number 0."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0]) if number else seed


def title_of(name: str) -> str:
    """What people call a generator.

    >>> title_of("full_frame"), title_of("full_frame_2"), title_of("regions")
    ('full-frame generator', 'full-frame generator 2', 'region generator')
    """
    if name == "regions":
        return "region generator"
    return f"full-frame generator {name.removeprefix('full_frame').strip('_')}".strip()


def cider_folder(name: str) -> str:
    """The folder of checkpoints of a full-frame generator that went on with CIDEr."""
    return f"{name}_cider"


def model_of(settings: GenerateConfig, name: str) -> type[SentenceGenerator]:
    """The kind of a generator."""
    return MODELS["mrnn" if name == "regions" else settings.model]


def build_generator(
    config: Config,
    name: str,
    vocabulary: Vocabulary,
    sample: np.ndarray,
    region_encoder: RegionEncoder | None = None,
    word_vectors: keras.layers.Embedding | None = None,
) -> SentenceGenerator:
    """An untrained generator, with its weights.

    Args:
      config: Of the run.
      name: One of `GENERATORS` or `member_names`.
      vocabulary: Its words.
      sample: Some CNN features of the training, float [N, F].
      region_encoder: The alignment model's, where its embeddings are attended to.
      word_vectors: The alignment model's, where they are shared.
    """
    settings = config.generate
    options: dict[str, Any] = {
        "hidden_dim": settings.hidden_dim,
        "word_dim": settings.word_dim,
        "cell": settings.cell,
        "dropout": settings.dropout,
        "image_dropout": settings.image_dropout,
        "word_dropout": settings.word_dropout,
        "label_smoothing": settings.label_smoothing,
        "feature_scale": settings.feature_scale,
        "clip_value": settings.clip_value,
        "region_encoder": region_encoder,
        "word_vectors": word_vectors,
    }
    model: SentenceGenerator
    if model_of(settings, name) is AttentionGenerator:
        model = AttentionGenerator(
            len(vocabulary),
            doubly_stochastic=settings.doubly_stochastic,
            deep_output=settings.deep_output,
            **options,
        )
        model.build({"region_features": (None, None, sample.shape[1])})
    else:
        model = CaptionGenerator(len(vocabulary), **options)
        model.build({"image_features": (None, sample.shape[1]), "token_ids": (None, None)})
    if settings.centre_features and not config.joint.train:  # where the centre would move
        model.adapt(sample)
    return model


def checkpoint(run: Path, name: str) -> Path:
    """The .keras file of a generator in a run directory, whether it is there or not."""
    folder = run / "checkpoints" / "generate"
    tuned = folder / cider_folder(name) / "best.keras"
    return tuned if tuned.exists() else folder / name / "best.keras"


def read_generator(path: Path, settings: GenerateConfig, name: str) -> SentenceGenerator:
    """Reads a trained generator.

    Args:
      path: A .keras file.
      settings: What the generator must be.
      name: One of `GENERATORS`.

    Raises:
      UserError: The file holds a generator of another kind or with another cell.
    """
    model = load_model(path, model_of(settings, name))
    if model.cell != settings.cell:
        raise UserError(
            f"{path} was trained with generate.cell {model.cell}, and cannot be used with "
            f"{settings.cell}"
        )
    return model


def _digest(run: RunDirectory) -> str:
    """Tells CNNs that runs have trained apart; empty where it is the pretrained one."""
    cnn = run.tuned_cnn
    return hashlib.sha256(cnn.read_bytes()).hexdigest() if cnn else ""


def with_ensemble(
    generator: SentenceGenerator, config: Config, vocabulary: Vocabulary, run: RunDirectory
) -> CaptioningModel:
    """The full-frame generators of this run and of the runs in `generate.ensemble` together.

    Args:
      generator: This run's first.
      config: Names the others.
      vocabulary: Of this run; the others must have the same.
      run: This one.

    Returns:
      The generator itself where no other is named.

    Raises:
      UserError: A run is missing, untrained, or of other words or other features.
    """
    members = [generator, *_other_members(run.path, config.generate)]
    for folder in config.generate.ensemble:
        path = working_copy(folder)
        file = checkpoint(path, "full_frame")
        if not (path / "config.json").is_file() or not file.exists():
            raise UserError(f"generate.ensemble: {os.fspath(path)} has no full-frame generator")
        recorded = Config.from_json((path / "config.json").read_text(encoding="utf-8"))
        if Vocabulary.load(path / "vocabulary.txt").words != vocabulary.words:
            raise UserError(f"generate.ensemble: {os.fspath(path)} has another vocabulary")
        same = {"batch_size": config.regions.batch_size}
        if recorded.regions.updated(same) != config.regions:
            raise UserError(
                f"generate.ensemble: {os.fspath(path)} was trained on other features of pictures "
                "(the sections regions of the configurations differ)"
            )
        if _digest(RunDirectory(path)) != _digest(run):
            raise UserError(f"generate.ensemble: {os.fspath(path)} has a CNN of its own")
        members.append(read_generator(file, recorded.generate, "full_frame"))
        members += _other_members(path, recorded.generate)
    return EnsembleModel(members) if len(members) > 1 else generator


def _other_members(run: Path, settings: GenerateConfig) -> list[SentenceGenerator]:
    """The full-frame generators of a run but the first."""
    others = []
    for name in member_names(settings)[1:]:
        file = checkpoint(run, name)
        if not file.exists():
            raise UserError(
                f"{run} has no {file.relative_to(run)}, one of its {settings.members} generators "
                f"of whole-picture sentences; run python -m visem_tf.fit --run-dir {run} --stages "
                "generate first"
            )
        others.append(read_generator(file, settings, name))
    return others
