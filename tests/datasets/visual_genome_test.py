"""Visual Genome's region descriptions, in both spellings, with the boxes that it really has."""

import json

import numpy as np
import pytest

import dummy_data
from visem_tf.config import DataConfig
from visem_tf.datasets.loading import load_dataset
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.visual_genome.visual_genome_dataset_builder import Builder
from visem_tf.errors import UserError

PICTURES = dummy_data.draw_images(train=4, val=2, test=2)


@pytest.fixture
def folder(tmp_path):
    dummy_data.write("visual_genome", tmp_path / "data", PICTURES)
    return tmp_path / "data"


def read(folder, **options):
    problems = Problems()
    return Builder.read_records(folder, DataConfig(**options), problems), problems


def edit(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_every_region_is_a_sentence_with_its_box(folder, tmp_path):
    dataset = load_dataset("visual_genome", cache_dir=tmp_path / "cache", data_dir=folder)
    assert dataset.problems == []
    for name, split in dataset.splits.items():
        expected = [p for p in PICTURES if p.split == name]
        assert sorted(split.image_ids) == [str(p.number) for p in expected]
        assert len(split.phrases.text) == len(split.sentences)
        np.testing.assert_array_equal(split.phrases.sentence_index, np.arange(len(split.sentences)))
        np.testing.assert_array_equal(split.phrases.first, 0)
        for picture in expected:
            rows = np.flatnonzero(
                split.image_index == split.image_ids.index(str(picture.number))
            ).tolist()
            assert [split.sentences[row] for row in rows] == [f.text for f in picture.phrases]
            for row, phrase in zip(rows, picture.phrases, strict=True):
                x1, y1, x2, y2 = phrase.box
                width, height = picture.size
                np.testing.assert_allclose(
                    split.phrases.boxes[row],
                    [y1 / height, x1 / width, y2 / height, x2 / width],
                    atol=1e-6,
                )
                assert split.phrases.last[row] == len(phrase.text.split()) - 1


def test_without_lists_splits_are_made(folder):
    (folder / "densecap_splits.json").unlink()
    records, problems = read(folder)
    assert {split: len(part) for split, part in records.items()} == {
        "train": 6,
        "val": 1,
        "test": 1,
    }
    assert problems.decisions[0].startswith("splits were made at random")


def test_boxes_outside_or_empty_are_cut_or_dropped_and_listed(folder, tmp_path):
    width, height = PICTURES[0].size

    def spoil(data):
        regions = data[0]["regions"]
        regions[0].update(x=-10, y=0, width=40, height=height)
        regions[1].update(x=width + 5, y=0, width=4, height=4)
        regions[2].update(width=0)
        regions[3].update(height=float("nan"))

    edit(folder / "region_descriptions.json", spoil)
    dataset = load_dataset("visual_genome", cache_dir=tmp_path / "cache", data_dir=folder)
    name = PICTURES[0].name
    assert dataset.problems == [
        f"{name}: cut boxes that reach out of the image: 1",
        f"{name}: dropped boxes that are empty, swapped or outside: 3",
    ]
    train = dataset.splits["train"]
    image = train.image_ids.index(str(PICTURES[0].number))
    rows = np.flatnonzero(train.image_index[train.phrases.sentence_index] == image)
    assert len(rows) == len(PICTURES[0].phrases) - 3
    np.testing.assert_allclose(train.phrases.boxes[rows[0]], [0, 0, 1, 30 / width], atol=1e-6)


def test_sizes_that_are_not_the_pictures_cost_its_boxes(folder, tmp_path):
    edit(folder / "image_data.json", lambda data: data[0].update(width=1000, height=100))
    dataset = load_dataset("visual_genome", cache_dir=tmp_path / "cache", data_dir=folder)
    [problem] = dataset.problems
    assert problem.startswith(f"{PICTURES[0].name}: the data give 1000 x 100 pixels")
    assert problem.endswith(f"its {len(PICTURES[0].phrases)} boxes are not used")


def test_boxes_refer_to_the_size_that_is_given(folder):
    width, height = PICTURES[0].size
    edit(
        folder / "image_data.json", lambda data: data[0].update(width=width * 2, height=height * 2)
    )
    records, _ = read(folder)
    found = {record.image_id: record for part in records.values() for record in part}
    assert found[str(PICTURES[0].number)].size == (2 * width, 2 * height)


def test_bad_regions_are_left_out_and_listed(folder):
    def spoil(data):
        data[0]["regions"] += ["text", {"region_id": 77, "phrase": "no box"}, {"phrase": 3}]
        data.append({"regions": 5})
        data.append(5)

    edit(folder / "region_descriptions.json", spoil)
    records, problems = read(folder)
    assert sum(len(part) for part in records.values()) == len(PICTURES)
    number = PICTURES[0].number
    assert problems.notes == [
        f"region_descriptions.json: left out 2 images without id or regions: "
        f"{len(PICTURES)}, {len(PICTURES) + 1}",
        f"region_descriptions.json: left out 3 regions without phrase or box: "
        f"{number}: region ?, {number}: region 77, {number}: region ?",
    ]


def test_what_is_missing_is_named(folder, tmp_path):
    (folder / "region_descriptions.json").rename(tmp_path / "kept")
    with pytest.raises(
        UserError, match=r"no region_descriptions\.json.*region_descriptions\.json\.zip"
    ):
        read(folder)
    (folder / "region_descriptions.json").write_text("{}")
    with pytest.raises(UserError, match="must be a list"):
        read(folder)
