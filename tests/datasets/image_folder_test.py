"""Images with metadata beside them, as in ImageFolder of Hugging Face."""

import json

import pytest

import dummy_data
from visem_tf.datasets.image_folder.image_folder_dataset_builder import Builder
from visem_tf.datasets.recognising import recognise
from visem_tf.errors import UserError

PICTURES = dummy_data.draw_images(train=4, val=2, test=2)
FOLDERS = {"train": "train", "val": "validation", "test": "test"}


def write_lines(folder, names, **fields):
    """Writes `metadata.jsonl` with a line for each name and sentence, and the images."""
    lines = []
    for picture, name in zip(PICTURES, names, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture.jpeg)
        lines += [{"file_name": name, "text": text, **fields} for text in picture.sentences]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def expected():
    return {
        split: {f"{name}/{p.name}": p.sentences for p in PICTURES if p.split == split}
        for split, name in FOLDERS.items()
    }


def test_every_split_has_its_metadata(folder, write, read):
    write("image_folder", folder)
    found, problems = read(Builder, folder)
    assert found == expected()
    assert problems.lines() == []
    outer = folder.parent / "outer"
    outer.mkdir()
    folder.rename(outer / "data")
    assert recognise(outer) == ("image_folder", "data/test/metadata.csv")
    found, _ = read(Builder, outer)
    assert {f"data/{name}" for name in expected()["val"]} == set(found["val"])


def test_one_file_names_the_images_of_all_splits(folder, read):
    write_lines(folder, [f"{FOLDERS[p.split]}/{p.name}" for p in PICTURES], other="x")
    assert recognise(folder) == ("image_folder", "metadata.jsonl")
    assert read(Builder, folder)[0] == expected()


def test_images_of_one_split_are_split_at_random(folder, read):
    write_lines(folder / "train", [p.name for p in PICTURES])
    found, problems = read(Builder, folder)
    assert {name: len(part) for name, part in found.items()} == {"train": 6, "val": 1, "test": 1}
    assert problems.decisions[0] == "all images are in one split, train"
    with pytest.raises(UserError, match="give no splits"):
        read(Builder, folder, splits="given")


def test_images_of_one_name_are_told_apart_by_their_folders(folder, read):
    write_lines(folder / "train", [f"{n}.jpg" for n in range(8)])
    write_lines(folder / "val", [f"{n}.jpg" for n in range(8)])
    write_lines(folder / "test", [f"{n}.jpg" for n in range(8)], split="dev")
    with pytest.raises(UserError, match="no image of the test split"):
        read(Builder, folder)  # the field is stronger than the folder
    found, problems = read(Builder, folder, splits="random")
    assert sum(map(len, found.values())) == 24
    assert problems.notes == []


def test_names_that_lead_out_are_skipped_and_metadata_must_be_one_file(folder, write, read):
    write("image_folder", folder)
    (folder / "secret.jpg").write_bytes(PICTURES[0].jpeg)
    metadata = folder / "train" / "metadata.csv"
    metadata.write_text(metadata.read_text() + "../secret.jpg,a secret\n")
    _, problems = read(Builder, folder)
    assert problems.skipped == ["train: train/../secret.jpg: leads out of the folder of images"]
    (folder / "train" / "metadata.jsonl").write_text("{}")
    with pytest.raises(UserError, match=r"has metadata\.csv and metadata\.jsonl; remove one"):
        read(Builder, folder)
    with pytest.raises(UserError, match=r"has no metadata\.csv or metadata\.jsonl or"):
        Builder.read_all(folder.parent / "nowhere", None, None)
