import dataclasses
import json
import re
import typing

import docstring_parser
import pytest

from visem_tf.config import STAGES, AlignConfig, Config, DistributeConfig, differences
from visem_tf.config.presets import PRESETS, preset
from visem_tf.config.recorded import (
    ADDED_FIELDS,
    EXPORT_FIELDS,
    RETIRED_FIELDS,
    SEARCH_FIELDS,
    UNRELATED_FIELDS,
    UNTRAINED_SECTIONS,
)
from visem_tf.config.settings import Settings, expectation, field_types
from visem_tf.errors import UserError


def sections() -> list[type[Settings]]:
    types = field_types(Config).values()
    return [Config, *(t for t in types if isinstance(t, type) and issubclass(t, Settings))]


@pytest.mark.parametrize("cls", sections(), ids=lambda cls: cls.__name__)
def test_every_field_is_explained(cls: type[Settings]):
    classes = [base for base in cls.__mro__ if base is not object]
    documented = {
        p.arg_name for base in classes for p in docstring_parser.parse_from_object(base).params
    }
    plain = {
        name
        for name, hint in field_types(cls).items()
        if not (isinstance(hint, type) and issubclass(hint, Settings))
    }
    assert plain <= documented


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_survive_json(name: str):
    config = preset(name)
    assert config.preset == name
    assert Config.from_json(config.to_json()) == config
    assert Config.from_json(config.to_json(versions={"keras": "3"})) == config


def test_the_preset_default_has_the_regions_of_best_and_an_alignment_by_cosines():
    before, default = dict(Config().flat()), dict(preset("default").flat())
    changed = {name for name in before if default[name] != before[name]}
    assert default["regions.features"] == "one_pass"
    assert preset("best").regions == preset("default").regions.updated(
        {"backbone": "efficientnet_lite2", "proposer_backbone": "efficientnet_lite0"}
    )
    assert {name for name in changed if not name.startswith(("generate.", "regions."))} == {
        *("align.score", "align.loss", "align.temperature", "align.epochs"),
        # of cosines:
        *("infer.beta", "infer.box_scale", "infer.point_scale", "infer.hubness_scale"),
    }
    assert default["generate.model"] == "attention"


def test_the_preset_paper_is_the_papers():
    config = preset("paper")
    assert (config.align.embedding_dim, config.align.hidden_dim) == (1000, 1000)
    assert (config.align.optimizer, config.align.momentum) == ("sgd", 0.9)
    assert (config.align.batch_size, config.align.margin, config.align.clip_value) == (100, 1, 5)
    assert (config.generate.hidden_dim, config.generate.optimizer) == (512, "rmsprop")
    assert (config.align.encoder, config.align.score) == ("brnn", "best_region")
    assert (config.align.loss, config.align.hinge_warmup_epochs) == ("hinge_sum", 0)
    assert (config.generate.model, config.generate.cell) == ("mrnn", "rnn")
    assert config.generate.word_dropout == config.generate.label_smoothing == 0
    assert config.generate.block_ngrams == config.generate.cider_epochs == 0
    assert (config.text.min_count, config.regions.num_regions) == (5, 20)


def test_configurations_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"align": {"batchsize": 3}},
            "unknown field align.batchsize; did you mean align.batch_size?",
        ),
        ({"algin.batch_size": 3}, "unknown field algin.batch_size; did you mean align.batch_size?"),
        ({"sead": 3}, "unknown field sead; did you mean seed?"),
        ({"seed.x": 3}, "unknown field seed.x"),
        ({"zzzzqqqq": 3}, "unknown field zzzzqqqq"),
        (
            {"generate": {"sampled_words": 8}},
            "this version no longer has this field; only 0 can be",
        ),
        ({"align.bucket_batches": 2}, "align.bucket_batches is 2, but this version no longer has"),
        ({"align": 3}, "align must be an object of fields, not 3"),
        (
            {"align.batch_size": 1},
            "align.batch_size must be an integer, at least 2 and at most 1000000, not 1",
        ),
        (
            {"align.batch_size": 2.5},
            "align.batch_size must be an integer, at least 2 and at most 1000000, not 2.5",
        ),
        (
            {"align.batch_size": True},
            "align.batch_size must be an integer, at least 2 and at most 1000000, not True",
        ),
        ({"align.train_words": 1}, "align.train_words must be true or false, not 1"),
        ({"align.margin": 0}, "align.margin must be a number, above 0 and at most 1000000, not 0"),
        (
            {"align.margin": float("nan")},
            "align.margin must be a number, above 0 and at most 1000000, not nan",
        ),
        (
            {"align.dropout_words": 1},
            "dropout_words must be a number, at least 0 and below 1, not 1",
        ),
        (
            {"align.optimizer": "adm"},
            "one of adam, adamw, rmsprop, sgd, not 'adm'; did you mean adam?",
        ),
        ({"data_dir": 3}, "data_dir must be a string, not 3"),
        ({"seed": 10**400}, "seed must be an integer, at least 0"),
        ({"align.margin": 10**400}, "align.margin must be a number, above 0"),
        ({"align.score": ["best_region"]}, "align.score must be one of"),
        ({"data_dir": ["x" * 1000]}, f"not ['{'x' * 198}…"),
        ({"stages": "align"}, "stages must be a list of names, not 'align'"),
        ({"stages": ["algin"]}, "not 'algin'; did you mean align?"),
        ({"stages": []}, "stages must name at least one of propose, features, align"),
        ({"stages": ["propose"]}, "the stage propose needs --propose.epochs, which is 0; set it"),
        (
            {"propose.epochs": 1},
            "regions.proposer windows would not use it; choose regions.proposer trained",
        ),
        (
            {"propose.epochs": 1, "regions": {"proposer": "trained", "proposer_file": "a.npz"}},
            "regions.proposer_file names a trained one; leave one of them out",
        ),
        (
            {"regions.proposer_file": "a.npz"},
            "regions.proposer windows would not use it; choose regions.proposer trained",
        ),
        (
            {"regions": {"features": "one_pass", "scales": 2}},
            "regions.scales 2 applies to crops, and regions.features one_pass has one pass",
        ),
        ({"seed": 2**32}, "seed must be an integer, at least 0 and at most 4294967295"),
        ({"align.score": "cosin"}, ", not 'cosin'; did you mean cosine?"),
        ({"align.loss": "hinge_mx"}, ", not 'hinge_mx'; did you mean hinge_max?"),
        (
            {"align": {"score": "cosine", "normalise_by_length": True, "margin": 0.2}},
            "align.score cosine is no sum; leave it false",
        ),
        (
            {"align": {"score": "attention", "margin": 2}},
            "can never be reached, because align.score attention lies between -1 and 1",
        ),
        (
            {"align": {"score": "attention", "threshold": 0.2}},
            "align.threshold 0.2 applies to align.score negative_aware, not attention",
        ),
        ({"align.hinge_warmup_epochs": 1}, "precedes align.loss hinge_max, not hinge_sum"),
        ({"generate.cell": "lstmm"}, ", not 'lstmm'; did you mean lstm?"),
        ({"generate.model": "atention"}, "not 'atention'; did you mean attention?"),
        (
            {"generate.attend_to": "embeddings"},
            "'embeddings' applies to attention over regions, which generate.model mrnn does not "
            "have; choose generate.model attention",
        ),
        ({"generate.doubly_stochastic": 1}, "generate.doubly_stochastic 1.0 applies to attention"),
        ({"generate.deep_output": True}, "generate.deep_output True applies to attention"),
        ({"generate": {"members": 2, "full_frame": False}}, "generate.full_frame false leaves out"),
        ({"distribute": {"strategy": "none", "replicas": 2}}, "choose auto or mirrored"),
    ],
)
def test_a_bad_value_is_named_with_its_field(values: dict, message: str):
    with pytest.raises(UserError) as raised:
        Config.from_json(json.dumps(values))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_what_is_no_json_object_is_refused(text: str):
    with pytest.raises(UserError, match="must be (valid JSON|a JSON object)"):
        Config.from_json(text)


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(UserError, match=r"not 'papr'; did you mean paper\?"):
        preset("papr")


def test_numbers_and_lists_are_normalised():
    config = Config().updated({"align": {"margin": 2}, "stages": ["align", "infer"]})
    assert isinstance(config.align.margin, float)
    assert config.stages == ("align", "infer")
    assert Config().stages == STAGES


def test_the_constructor_checks_too():
    with pytest.raises(UserError, match=r"align\.epochs"):
        AlignConfig(epochs=0)
    assert DistributeConfig(strategy="none", replicas=1).replicas == 1


def test_differences_are_dotted():
    changed = Config().updated({"seed": 1, "align.margin": 2.0, "generate.epochs": 1})
    assert differences(Config(), changed) == ["seed", "align.margin", "generate.epochs"]
    assert differences(changed, changed) == []


def test_configurations_of_earlier_versions_are_read():
    recorded = Config().to_dict()
    for name, default in RETIRED_FIELDS.items():
        section, _, field = name.partition(".")
        recorded[section][field] = default
    assert Config.from_json(json.dumps(recorded)) == Config()
    assert not set(RETIRED_FIELDS) & {name for name, _ in Config().flat()}


def test_fields_that_earlier_versions_did_not_have_keep_their_meaning():
    recorded = Config().to_dict()
    for name in ADDED_FIELDS:
        section, _, field = name.partition(".")
        del recorded[section][field]
    assert Config.from_json(json.dumps(recorded)) == Config()  # a file of the user
    earlier = Config.from_json(json.dumps({**recorded, "versions": {"visem_tf": "0.2.0"}}))
    assert earlier == Config().updated(ADDED_FIELDS)
    assert earlier.infer.function_word_weight == 1
    of_now = Config().to_json(versions={"visem_tf": "0.3.0"})
    assert Config.from_json(of_now) == Config()
    of_phrases = {
        **{"unit_phrases": True, "overlap_penalty": 1.0},
        **{"two_regions": True, "heat_map": "peaked"},
    }
    assert preset("paper").infer == earlier.infer.updated({"beta": 0.5, **of_phrases})
    assert preset("best").infer == Config().infer.updated({"hubness_scale": 0.5})


def test_fields_of_all_lists_exist():
    names = {name for name, _ in Config().flat()}
    assert {*UNRELATED_FIELDS, *EXPORT_FIELDS} <= names
    assert set(UNTRAINED_SECTIONS) <= {name.partition(".")[0] for name in names}
    assert set(SEARCH_FIELDS) < set(EXPORT_FIELDS)


def test_presets_are_choices():
    assert typing.get_args(field_types(Config)["preset"]) == tuple(PRESETS)


def test_every_number_has_an_upper_bound():
    for cls in sections():
        for name, kind in field_types(cls).items():
            if kind in (int, float):
                assert re.search("at most|below", expectation(cls, name)), (cls, name)
