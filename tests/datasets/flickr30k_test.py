"""Flickr30K in its caption files, and the phrases and boxes of Flickr30k Entities."""

import numpy as np
import pytest

import dummy_data
from dummy_data.flickr30k import annotation
from visem_tf.config import DataConfig
from visem_tf.datasets.flickr30k.flickr30k_dataset_builder import Builder
from visem_tf.datasets.loading import load_dataset
from visem_tf.datasets.problems import Problems
from visem_tf.errors import UserError

PICTURES = dummy_data.draw_images(train=4, val=2, test=2)


@pytest.fixture
def folder(tmp_path):
    dummy_data.write("flickr30k", tmp_path / "data", PICTURES)
    return tmp_path / "data"


def read(folder, **options):
    problems = Problems()
    return Builder.read_records(folder, DataConfig(**options), problems), problems


def names(records):
    return {split: sorted(record.file_name for record in part) for split, part in records.items()}


def write_tokens(folder):
    (folder / "dataset_flickr30k.json").unlink()
    lines = [f"{p.name}#{k}\t{s}" for p in PICTURES for k, s in enumerate(p.sentences)]
    (folder / "results_20130124.token").write_text("\n".join(lines))


def test_phrases_have_the_boxes_of_their_chains(folder, tmp_path):
    dataset = load_dataset("flickr30k", cache_dir=tmp_path / "cache", data_dir=folder)
    assert dataset.problems == []
    for split in dataset.splits.values():
        by_name = {p.name: p for p in PICTURES}
        starts = np.searchsorted(split.image_index, np.arange(len(split.image_ids)))
        found = set()
        for row, sentence in enumerate(split.phrases.sentence_index.tolist()):
            image = int(split.image_index[sentence])
            width, height = by_name[split.file_names[image]].size
            box = split.phrases.boxes[row] * [height, width, height, width]
            found.add(
                (
                    split.file_names[image],
                    sentence - int(starts[image]),
                    int(split.phrases.first[row]),
                    int(split.phrases.last[row]),
                    tuple(np.round(box).astype(int).tolist()),
                )
            )
        expected = {
            (p.name, f.sentence, f.first, f.last, (f.box[1], f.box[0], f.box[3], f.box[2]))
            for p in PICTURES
            if p.split == split.name
            for f in p.phrases
        }
        assert found == expected


def test_without_entities_there_are_no_phrases(folder, tmp_path):
    (folder / "Flickr30kEntities").rename(tmp_path / "kept")
    records, problems = read(folder)
    assert problems == Problems()
    assert not any(record.phrases for part in records.values() for record in part)


def test_original_captions_take_entities_splits_or_must_be_told(folder, tmp_path):
    expected, _ = read(folder)
    write_tokens(folder)
    found, problems = read(folder)
    assert names(found) == names(expected)
    assert problems.decisions == ["splits are those of Flickr30k Entities, not Karpathy's"]
    (folder / "Flickr30kEntities").rename(tmp_path / "kept")
    assert "names no splits" in read(folder)[1].decisions[0]
    found, _ = read(folder, splits="random")
    assert {split: len(part) for split, part in found.items()} == {"train": 6, "val": 1, "test": 1}
    with pytest.raises(UserError, match=r"leave --data\.splits entities out"):
        read(folder, splits="entities")


def test_entities_own_splits_must_be_asked_for_beside_karpathys(folder):
    entities = folder / "Flickr30kEntities"
    train, test = (entities / "train.txt").read_text(), (entities / "test.txt").read_text()
    (entities / "train.txt").write_text(test)
    (entities / "test.txt").write_text(train)
    karpathy, _ = read(folder)
    other, problems = read(folder, splits="entities")
    assert names(other)["test"] == names(karpathy)["train"]
    assert problems.decisions == ["splits are those of Flickr30k Entities, not Karpathy's"]


def test_results_csv_is_read(folder):
    expected, _ = read(folder)
    (folder / "dataset_flickr30k.json").unlink()
    lines = ["image_name| comment_number| comment"]
    lines += [f"{p.name}| {k}| {s}" for p in PICTURES for k, s in enumerate(p.sentences)]
    lines.insert(3, "2199200615.jpg| 4   A dog runs")  # a line of the original lacks a bar
    (folder / "results.csv").write_text("\n".join(lines))
    found, problems = read(folder)
    assert names(found) == names(expected)
    assert not any("results.csv" in note for note in problems.notes)
    assert "1 images are in no split and are not used: 2199200615.jpg" in problems.decisions


def test_two_caption_files_are_an_error(folder):
    (folder / "results_20130124.token").write_text("x")
    with pytest.raises(UserError, match=r"--data\.captions"):
        read(folder)


def test_what_does_not_fit_together_is_listed(folder):
    entities = folder / "Flickr30kEntities"
    (entities / "Annotations" / "1000.xml").write_text("<annotation><object>")
    (entities / "Annotations" / "1001.xml").unlink()
    path = entities / "Sentences" / "1002.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(["[/EN#1/people Someone] else .", *lines[1:]]))
    (entities / "Annotations" / "1003.xml").write_text(
        annotation(PICTURES[3]).replace("<width>", "<width>wide")
    )
    records, problems = read(folder)
    by_name = {record.file_name: record for part in records.values() for record in part}
    assert not by_name["1000.jpg"].phrases
    assert not by_name["1001.jpg"].phrases
    assert {p.sentence for p in by_name["1002.jpg"].phrases} == {
        p.sentence for p in PICTURES[2].phrases if p.sentence > 0
    }
    assert problems.notes[0] == ("Flickr30kEntities: 1 images have no sentences or boxes: 1001.jpg")
    assert "1000.xml: broken XML" in problems.notes[1]
    assert "1003.xml: width is 'wide" in problems.notes[1]
    assert problems.notes[2].endswith("their phrases are not used: 1002.txt line 1")
