"""Caption generators of a run: their names, and how they are built, read and combined."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from visem_tf.config import Config, GenerateConfig
from visem_tf.decoding import CaptioningModel, EnsembleModel, RerankedModel
from visem_tf.errors import UserError
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.attention_generator import AttentionGenerator
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.models.generator import SentenceGenerator
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.saving import load_model
from visem_tf.regions.dataset_cache import file_digest
from visem_tf.regions.proposers.trained import weights_file
from visem_tf.runs.model_files import ModelFiles, open_model_files
from visem_tf.text import Vocabulary

GENERATORS = ("full_frame", "regions")
"""Names of the two generators: fields of the configuration, and folders of checkpoints."""

_SHARED_OPTIONS = (
    "hidden_dim",
    "word_dim",
    "cell",
    "dropout",
    "image_dropout",
    "word_dropout",
    "label_smoothing",
    "feature_scale",
    "clip_value",
)

MODELS: dict[str, type[SentenceGenerator]] = {
    "mrnn": CaptionGenerator,
    "attention": AttentionGenerator,
}
"""Classes of generators by their names in the configuration."""


def member_names(settings: GenerateConfig) -> list[str]:
    """Returns the names of the full-frame generators that write captions together.

    Example:
        >>> member_names(GenerateConfig(members=3))
        ['full_frame', 'full_frame_2', 'full_frame_3']
    """
    return ["full_frame", *(f"full_frame_{n}" for n in range(2, settings.members + 1))]


def alignment_folders(members: int) -> list[str]:
    """Returns the folders of the checkpoints of the alignment models of a run.

    Example:
        >>> alignment_folders(1), alignment_folders(2)
        (['align'], ['align/member-1', 'align/member-2'])
    """
    return [f"align/member-{n}" for n in range(1, members + 1)] if members > 1 else ["align"]


def member_seed(seed: int, number: int) -> int:
    """Returns the seed of a member of an ensemble; the first, number 0, has that of the run."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0]) if number else seed


def title_of(name: str) -> str:
    """Returns the name of a generator in reports and progress bars.

    Example:
        >>> title_of("full_frame"), title_of("full_frame_2"), title_of("regions")
        ('full-frame generator', 'full-frame generator 2', 'region generator')
    """
    if name == "regions":
        return "region generator"
    return f"full-frame generator {name.removeprefix('full_frame').strip('_')}".strip()


def model_of(settings: GenerateConfig, name: str) -> type[SentenceGenerator]:
    """Returns the class of a generator; that of regions is always the paper's."""
    return MODELS["mrnn" if name == "regions" else settings.model]


def build_generator(
    config: Config,
    name: str,
    vocabulary: Vocabulary,
    sample: np.ndarray,
    region_encoder: RegionEncoder | None = None,
    word_vectors: keras.layers.Embedding | None = None,
) -> SentenceGenerator:
    """Builds an untrained generator, with its weights.

    Args:
        config: Configuration of the run.
        name: "regions", or one of `member_names`.
        vocabulary: Vocabulary of the run.
        sample: CNN features of some training images or regions, float [N, F].
        region_encoder: Region encoder of the alignment model, to attend to its embeddings.
        word_vectors: Word vectors of the alignment model, to share them.
    """
    settings = config.generate
    options: dict[str, Any] = {option: getattr(settings, option) for option in _SHARED_OPTIONS}
    options |= {"region_encoder": region_encoder, "word_vectors": word_vectors}
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
    if settings.centre_features and not config.joint.train:  # joint training would move the centre
        model.adapt(sample)
    return model


def read_generator(path: Path, settings: GenerateConfig, name: str) -> SentenceGenerator:
    """Reads a trained generator.

    Args:
        path: The `.keras` or `.npz` file.
        settings: Configuration that the generator must have.
        name: "regions", or one of `member_names`.

    Raises:
        UserError: The file contains a generator of another class or with another cell.
    """
    model = load_model(path, model_of(settings, name))
    if model.cell != settings.cell:
        raise UserError(
            f"{path} was trained with generate.cell {model.cell}, and cannot be used with "
            f"{settings.cell}"
        )
    return model


def find_and_read_generator(
    run: ModelFiles, settings: GenerateConfig, name: str
) -> SentenceGenerator:
    """Reads a trained generator of a run.

    Args:
        run: Files of the run.
        settings: Configuration of the generators of the run.
        name: "regions", or one of `member_names`.

    Raises:
        UserError: The run has no such generator, it does not have this configuration, or the
            vocabulary of the run is not its vocabulary.
    """
    path = run.generator(name)
    if not path.exists():
        if name in GENERATORS and not getattr(settings, name):
            raise UserError(
                f"{run.path} was trained with --generate.{name} false and has no such generator; "
                "use another run"
            )
        raise run.missing(path, "generate")
    generator = read_generator(path, settings, name)
    require_vocabulary(run, generator.vocabulary_size)
    return generator


def require_vocabulary(run: ModelFiles, size: int) -> None:
    """Checks that the file of the vocabulary has as many words as a model of the run.

    Raises:
        UserError: It has another number of words.
    """
    path = run / "vocabulary.txt"
    found = len(Vocabulary.load(path))
    if found != size:
        raise UserError(
            f"{path} has {found:,} words, but the models of the run have {size:,}; restore the file"
        )


def find_full_frame_generators(
    run: ModelFiles, config: Config, vocabulary: Vocabulary
) -> list[SentenceGenerator]:
    """Reads the full-frame generators of a run and of the runs in `generate.ensemble`.

    Args:
        run: Files of the run.
        config: Configuration, which names the other runs.
        vocabulary: Vocabulary of the run.

    Raises:
        UserError: A generator is missing, or another run has another vocabulary or other features.
    """
    members = _members(run, config.generate)
    for folder in config.generate.ensemble:
        label = f"generate.ensemble: {folder}"
        try:
            other = open_model_files(folder)
        except UserError as error:
            raise UserError(f"{label} has no full-frame generator ({error})") from error
        if not other.generator("full_frame").exists():
            raise UserError(f"{label} has no full-frame generator")
        recorded = other.recorded_config()
        if Vocabulary.load(other / "vocabulary.txt").words != vocabulary.words:
            raise UserError(f"{label} has another vocabulary")
        # The first changes no feature, the second may differ, and the third names a file.
        free = ("batch_size", "num_regions", "proposer_file")
        same = {name: getattr(config.regions, name) for name in free}
        if recorded.regions.updated(same) != config.regions:
            raise UserError(
                f"{label} was trained on other image features (the sections regions of the "
                "configurations differ)"
            )
        if _digest(other.tuned_cnn) != _digest(run.tuned_cnn):
            raise UserError(f"{label} has a CNN of its own")
        if _proposer(other, recorded) != _proposer(run, config):
            raise UserError(f"{label} has another trained proposer")
        members += _members(other, recorded.generate)
    return members


def read_full_frame_generators(
    run: ModelFiles,
    config: Config,
    vocabulary: Vocabulary,
    read_alignment: Callable[[], AlignmentModel],
) -> CaptioningModel:
    """Reads the generator of whole images, or the ensemble of several.

    With `generate.alignment_weight`, the alignment model of the run ranks their sentences, if it
    was trained.

    Args:
        run: Files of the run.
        config: Configuration, which names the other runs of the ensemble.
        vocabulary: Vocabulary of the run.
        read_alignment: Returns the alignment model of the run; called if it is needed.

    Raises:
        UserError: See `find_full_frame_generators`.
    """
    members = find_full_frame_generators(run, config, vocabulary)
    weight = config.generate.alignment_weight
    if weight and run.alignment_model.exists():
        return RerankedModel(members, read_alignment(), weight)
    return EnsembleModel(members) if len(members) > 1 else members[0]


def _members(run: ModelFiles, settings: GenerateConfig) -> list[SentenceGenerator]:
    return [find_and_read_generator(run, settings, name) for name in member_names(settings)]


def _proposer(files: ModelFiles, config: Config) -> str:
    """The digest of the trained proposer of a model; empty if its proposer is not a trained one."""
    if config.regions.proposer != "trained":
        return ""
    return file_digest(weights_file(config.regions, files.region_weights.proposer))


def _digest(file: Path | None) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file else ""
