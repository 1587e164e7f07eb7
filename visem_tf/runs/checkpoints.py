"""Vocabulary and models of a run: built for training, and read from its checkpoints."""

from visem_tf.config import Config
from visem_tf.errors import UserError
from visem_tf.models import saving
from visem_tf.models.alignment_model import SENTENCE_ENCODERS, AlignmentModel
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.runs.context import Context
from visem_tf.runs.starting import first_vocabulary
from visem_tf.text import SPECIAL_WORDS, Vocabulary


def read_or_build_vocabulary(context: Context) -> Vocabulary:
    """Reads the vocabulary of a run, or builds it from the training split if there is none yet.

    A run that starts from another model keeps all of its words, whose ids stay the same.

    Args:
        context: Context of the run.

    Raises:
        UserError: No word of the training split is frequent enough.
    """
    path = context.run / "vocabulary.txt"
    if not path.exists():
        sentences = context.data.splits["train"].sentences
        vocabulary = Vocabulary.build(sentences, context.config.text.min_count)
        if known := first_vocabulary(context.config):
            vocabulary = known.grown_by(vocabulary.words)
        if len(vocabulary) == len(SPECIAL_WORDS):
            raise UserError(
                f"no word occurs {context.config.text.min_count} times or more in the training "
                "sentences; lower --text.min_count"
            )
        if not context.is_chief:
            return vocabulary
        vocabulary.save(path)
    return Vocabulary.load(path)


def load_alignment_model(context: Context) -> AlignmentModel:
    """Loads the best alignment model of a run.

    Args:
        context: Context of a run whose stage `align` is finished.
    """
    return saving.load_model(context.run.alignment_model, AlignmentModel)


def build_alignment_model(
    config: Config, vocabulary: Vocabulary, cache: FeatureCache, steps_per_epoch: int = 1
) -> AlignmentModel:
    """Builds the untrained alignment model, with its weights.

    Args:
        config: Configuration of the run.
        vocabulary: Words of the sentences.
        cache: Region features of the training images.
        steps_per_epoch: Batches of an epoch, by which the warm-up of the loss is counted.
    """
    settings = config.align
    model = AlignmentModel(
        RegionEncoder(
            settings.embedding_dim,
            dropout=settings.dropout_regions,
            feature_scale=settings.feature_scale,
            region_context=settings.region_context,
        ),
        SENTENCE_ENCODERS[settings.encoder](
            len(vocabulary),
            settings.embedding_dim,
            settings.hidden_dim,
            word_dim=settings.word_dim,
            dropout=settings.dropout_words,
            dropout_hidden=settings.dropout_hidden,
            train_words=settings.train_words,
        ),
        margin=settings.margin,
        score=settings.score,
        normalise_by_length=settings.normalise_by_length,
        clip_value=settings.clip_value,
        sharpness=settings.sharpness,
        loss=settings.loss,
        temperature=settings.temperature,
        hinge_sum_steps=settings.hinge_warmup_epochs * steps_per_epoch,
        threshold=settings.threshold,
        swap_weight=settings.swap_weight,
    )
    model.build(
        {
            "region_features": (None, cache.num_regions, cache.feature_dim),
            "token_ids": (None, None),
        }
    )
    if settings.centre_features:
        model.region_encoder.scaling.adapt(cache.sample_features())
    return model
