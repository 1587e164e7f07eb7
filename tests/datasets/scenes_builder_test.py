"""The TFDS builder of `scenes`: what comes out of a prepared data set."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow_datasets as tfds

from visem_tf.datasets.scenes.scenes_dataset_builder import Builder, ScenesConfig, make_example
from visem_tf.text import tokenize

SIZES = {"smoke": (160, 40, 40), "default": (1500, 200, 200), "large": (20000, 1000, 1000)}


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    config = ScenesConfig(name="tiny", train=12, val=4, test=4)
    builder = Builder(data_dir=tmp_path_factory.mktemp("scenes"), config=config)
    builder.download_and_prepare()
    return builder


def test_name_and_configurations():
    assert Builder.name == "scenes"
    found = {c.name: (c.train, c.val, c.test) for c in Builder.BUILDER_CONFIGS}
    assert found == SIZES


def test_default_configuration(tmp_path):
    assert Builder(data_dir=tmp_path).builder_config.name == "default"


def test_metadata_is_found(builder):
    assert "five true sentences" in builder.info.description
    assert "karpathy2015deep" in builder.info.citation


def test_splits_have_their_sizes_and_different_pictures(builder):
    ids, pictures = [], []
    for split, size in (("train", 12), ("val", 4), ("test", 4)):
        examples = list(tfds.as_numpy(builder.as_dataset(split=split)))
        assert len(examples) == size
        ids += [example["image_id"].decode() for example in examples]
        pictures += [example["image"].tobytes() for example in examples]
    assert len({*ids}) == len({*pictures}) == 20
    assert not any("#" in image_id for image_id in ids)


def test_examples_hold_the_schema(builder):
    for example in tfds.as_numpy(builder.as_dataset(split="train")):
        assert example["image"].shape == (224, 224, 3)
        assert example["file_name"].endswith(b".jpg")
        assert len(example["sentences"]) == 5
        phrases = example["phrases"]
        assert len(phrases["text"]) >= 5
        assert (phrases["bbox"][:, 2:] > phrases["bbox"][:, :2]).all()
        assert phrases["bbox"].min() >= 0
        assert phrases["bbox"].max() <= 1
        for number, first, last, text in zip(
            phrases["sentence"], phrases["first"], phrases["last"], phrases["text"], strict=True
        ):
            tokens = re.findall(r"[a-z0-9]+", example["sentences"][number].decode().lower())
            assert " ".join(tokens[first : last + 1]) == text.decode()


def test_spans_count_the_tokens_of_the_package(builder):
    for example in tfds.as_numpy(builder.as_dataset(split="test")):
        tokens = tokenize(example["sentences"]).to_list()
        phrases = example["phrases"]
        spans = zip(phrases["sentence"], phrases["first"], phrases["last"], strict=True)
        texts = [b" ".join(tokens[number][first : last + 1]) for number, first, last in spans]
        assert texts == phrases["text"].tolist()


def test_one_number_one_box(builder):
    """The same object or group has the same number, and different ones have different numbers."""
    for example in tfds.as_numpy(builder.as_dataset(split="train")):
        boxes = {}
        for number, box in zip(
            example["phrases"]["object"], example["phrases"]["bbox"], strict=True
        ):
            np.testing.assert_array_equal(boxes.setdefault(number, box), box)
        # A group may happen to have the box of another group, but no two single objects do.
        assert len({tuple(box) for box in boxes.values()}) >= 2


def test_an_example_does_not_depend_on_others_or_on_the_size_of_its_split():
    small, large = (
        next(c for c in Builder.BUILDER_CONFIGS if c.name == n) for n in SIZES if n != "default"
    )
    once = make_example(small, "val", 7)
    make_example(small, "val", 3)
    again = make_example(large, "val", 7)
    assert once["image"] == again["image"]
    assert once["sentences"] == again["sentences"]
    assert once["phrases"] == again["phrases"]


def test_group_numbers_follow_the_objects():
    config = Builder.BUILDER_CONFIGS[0]
    groups = singles = 0
    for index in range(30):
        for row in make_example(config, "train", index)["phrases"]:
            if row["text"].split()[0] in ("two", "three", "four", "five"):
                groups += 1
                assert row["object"] >= 2
            else:
                singles += 1
                assert row["object"] < 5
    assert groups >= 5
    assert singles > groups
