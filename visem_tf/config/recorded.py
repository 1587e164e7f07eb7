"""Configurations that runs recorded: how they are read, and what may differ from them later."""

import json
from collections.abc import Mapping
from typing import Any

from visem_tf.config.inference import PAPER_SNIPPETS
from visem_tf.config.models import AlignConfig
from visem_tf.config.settings import Settings
from visem_tf.errors import UserError

RETIRED_FIELDS: dict[str, Any] = {
    "align.bucket_batches": 0,
    "generate.sampled_words": 0,
    "generate.scheduled_sampling": 0.0,
}
"""Fields that earlier versions had, with their defaults. A recorded configuration may still have
them, with these values only."""

ADDED_FIELDS: dict[str, Any] = {
    **{f"infer.{name}": value for name, value in PAPER_SNIPPETS.items()},
    "infer.readout": "mrf",
    "infer.unit_phrases": False,
    "infer.overlap_penalty": 0.0,
    "infer.two_regions": False,
    "infer.heat_map": "flat",
    "propose.head_blocks": 2,
    "generate.cider_patience": 100_000,
    "generate.cider_temperature": 1.0,
}
"""Fields that earlier versions did not have and whose defaults change results, with the values that
mean what those versions did. A recorded configuration without them has these values."""

_SECTIONS_OF_MODELS = (
    "preset",
    "text",
    "regions",
    "propose",
    "align",
    "infer",
    "generate",
    "joint",
)

UNRELATED_FIELDS = frozenset(
    {
        "run_dir",  # where files are, not what they contain
        "cache_dir",
        "data_dir",  # other data are detected by their fingerprint
        "preset",  # its fields count, not its name
        "stages",
        "strict",  # an unreadable image ends the command, so no result depends on it
        "compute.threads",
        "compute.save_seconds",
        "regions.batch_size",  # speed and memory only
    }
)
"""Fields that change no result."""

GROWING_FIELDS = (
    *(
        f"{section}.{name}"
        for section in ("propose", "align", "generate")
        for name in ("epochs", "patience")
    ),
    "align.self_training_epochs",
    "generate.cider_epochs",
    "generate.cider_patience",
)
"""Fields that may be raised: a finished training then goes on to its new end."""

SELF_TRAINING = "align.self_training_"
_FURTHER_TRAININGS = (SELF_TRAINING, "generate.cider_")
"""Trainings that continue another one: beginnings of the names of their fields, which change
nothing in a run that has no epochs of them."""

LOCAL_FIELDS: dict[str, Any] = {
    "run_dir": "",
    "cache_dir": "~/.cache/visem_tf",
    "data_dir": "",
    "data.pictures": "",
    "data.captions": "",
    "init_from": "",
    "freeze": (),
    "align.word_vectors": "",
    "regions.proposer_file": "",
    "generate.ensemble": (),
}
"""Fields that are about files of the machine on which a run was made, with their defaults. A
published model contains what the last two of them name."""

SEARCH_FIELDS = (
    "generate.beam_size",
    "generate.max_length",
    "generate.length_normalisation",
    "generate.alignment_weight",
    "generate.allow_unknown",
    "generate.block_ngrams",
    "generate.block_content_words",
    "generate.ensemble",
)
"""Fields that change how trained generators are searched for sentences, but no trained model."""

READOUT_FIELDS = (
    "infer.readout",
    "infer.box_scale",
    "infer.proposer_weight",
    "infer.frame_penalty",
    "infer.overlap_penalty",
    "infer.point_scale",
    "infer.heat_map",
    "infer.unit_phrases",
    "infer.two_regions",
    "infer.hubness_scale",
)
"""Fields that change how the boxes of phrases and the scores of sentences are found, but no trained
model, apart from self-training, which finds its targets with their values at that time."""

UNTRAINED_SECTIONS = ("evaluate", "report", "distribute")
"""Sections that change no trained model: how it is evaluated and shown, and on how many devices it
was trained."""

EXPORT_FIELDS = (*SEARCH_FIELDS, *READOUT_FIELDS, "infer.beta", "regions.num_regions")
"""Fields that an export may set differently from the training. The last two affect training, but
trained models work with other values."""


def affects_training(name: str) -> bool:
    """Returns whether a dotted field can change the trained models, so that a run must keep it.

    Example:
        >>> affects_training("align.epochs"), affects_training("evaluate.beam_size")
        (True, False)
    """
    section = name.partition(".")[0]
    unrelated = {*UNRELATED_FIELDS, *SEARCH_FIELDS, *READOUT_FIELDS}
    return name not in unrelated and section not in UNTRAINED_SECTIONS


def starting_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields with which a run begins that starts from another model.

    These are the sections of the models, because weights fit no others. The new run has its own
    data, and does not repeat the training of the proposer and of the CNN, nor the self-training.
    Several alignment models that were joined are one model of their widths together.

    Args:
        fields: Recorded fields of the model, from `read_fields`.

    Example:
        >>> found = starting_fields({"seed": 7, "align": {"members": 2, "word_dim": 5}})
        >>> "seed" in found, found["propose.epochs"], found["align.members"]
        (False, 0, 1)
        >>> found["align.word_dim"], found["align.hidden_dim"]
        (10, 1024)
    """
    kept = {k: v for k, v in fields.items() if k.partition(".")[0] in _SECTIONS_OF_MODELS}
    kept |= {"propose.epochs": 0, "align.finetune_epochs": 0, "align.self_training_epochs": 0}
    kept |= {"align.word_vectors": "", "generate.ensemble": ()}
    align = kept.get("align", {})
    if (members := align.get("members", 1)) > 1:
        kept["align.members"] = 1
        for name in ("embedding_dim", "hidden_dim", "word_dim"):
            kept[f"align.{name}"] = members * align.get(name, getattr(AlignConfig, name))
    return kept


def raised_fields(recorded: Settings, config: Settings) -> list[str]:
    """Returns the fields of trainings that are to go on further than they were recorded.

    These are the fields of `GROWING_FIELDS` that are larger than recorded, and not recorded as 0. A
    run without self-training or training on CIDEr may begin it, with any settings.

    Args:
        recorded: Configuration that a run was started with.
        config: Configuration to go on with.

    Example:
        >>> from visem_tf.config.run_config import Config
        >>> raised_fields(Config(), Config().updated({"generate.cider_epochs": 2}))
        ['generate.cider_epochs']
    """
    before, now = dict(recorded.flat()), dict(config.flat())
    raised = [name for name in GROWING_FIELDS if 0 < before[name] < now[name]]
    for training in _FURTHER_TRAININGS:
        if not before[f"{training}epochs"]:
            raised = [name for name in raised if not name.startswith(training)]
            if now[f"{training}epochs"]:
                fields = (name for name in now if name.startswith(training))
                raised += [name for name in fields if now[name] != before[name]]
    return raised


def changes_of_trained(recorded: Settings, config: Settings) -> list[str]:
    """Returns the fields that must be as they were trained, for an export or a published model.

    Args:
        recorded: Configuration of the training.
        config: Configuration to export or publish with.
    """
    return [
        name
        for name in differences(recorded, config)
        if affects_training(name) and name not in EXPORT_FIELDS
    ]


def changes_of_models(recorded: Settings, config: Settings) -> list[str]:
    """Returns the fields that must be as they were trained, for models that only answer.

    These are the fields of `changes_of_trained` that decide on words, regions and models. How
    sentences are aligned (the section infer) may change, and so may the places of files.

    Args:
        recorded: Configuration of the training.
        config: Configuration to use the models with.

    Example:
        >>> from visem_tf.config.run_config import Config
        >>> other = Config().updated({"seed": 3, "regions.num_regions": 5, "generate.cell": "gru"})
        >>> changes_of_models(Config(), other)
        ['generate.cell']
    """
    sections = {*_SECTIONS_OF_MODELS} - {"infer"}
    changed = changes_of_trained(recorded, config)
    return [n for n in changed if n.partition(".")[0] in sections and n not in LOCAL_FIELDS]


def differences(a: Settings, b: Settings) -> list[str]:
    """Returns the dotted names of the fields in which two configurations differ."""
    other = dict(b.flat())
    return [name for name, value in a.flat() if value != other[name]]


def read_fields(text: str) -> dict[str, Any]:
    """Returns the fields that a JSON text sets, without checking their values.

    Args:
        text: JSON object, e.g. the content of a run's config.json, which is recognised by its entry
            "versions" and has the values of `ADDED_FIELDS` if it is of an earlier version.

    Raises:
        UserError: The text is not a JSON object, or sets a retired field.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"a configuration must be valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"a configuration must be a JSON object, not {type(values).__name__}")
    fields = current_fields(values)
    return {**ADDED_FIELDS, **fields} if "versions" in values else fields


def current_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns recorded fields without those of `RETIRED_FIELDS` and the entry "versions".

    Raises:
        UserError: A retired field has another value than its default.

    Example:
        >>> current_fields({"seed": 1, "align": {"bucket_batches": 0, "epochs": 2}, "versions": {}})
        {'seed': 1, 'align': {'epochs': 2}}
    """
    kept: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and name != "versions":
            dotted = current_fields({f"{name}.{inner}": v for inner, v in value.items()})
            kept[name] = {inner.removeprefix(f"{name}."): v for inner, v in dotted.items()}
        elif name in RETIRED_FIELDS:
            if value != RETIRED_FIELDS[name]:
                raise UserError(
                    f"{name} is {value!r}, but this version no longer has this field; only "
                    f"{RETIRED_FIELDS[name]!r} can be read"
                )
        elif name != "versions":
            kept[name] = value
    return kept
