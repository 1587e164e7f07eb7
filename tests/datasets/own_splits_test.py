"""Own pictures in splits: given, spelled otherwise, or made."""

import json

import pytest

import dummy_data
from visem_tf.datasets.captions_txt.captions_txt_dataset_builder import Builder as CaptionsTxt
from visem_tf.datasets.coco_json.coco_json_dataset_builder import Builder as CocoJson
from visem_tf.datasets.json_lines.json_lines_dataset_builder import Builder as JsonLines
from visem_tf.datasets.karpathy_json.karpathy_json_dataset_builder import Builder as KarpathyJson
from visem_tf.datasets.problems import Problems
from visem_tf.errors import UserError

PICTURES = dummy_data.draw_images(train=4, val=2, test=2)


def test_splits_are_made_where_none_are_given_and_keep_pictures_whole(folder, write, read, edit):
    write("coco_json", folder)
    edit(folder / "captions.json", lambda d: [image.pop("split") for image in d["images"]])
    first, problems = read(CocoJson, folder)
    again, _ = read(CocoJson, folder)
    other, _ = read(CocoJson, folder, split_seed=1)
    assert first == again != other
    assert {split: len(part) for split, part in first.items()} == {"train": 6, "val": 1, "test": 1}
    names = [name for part in first.values() for name in part]
    assert sorted(names) == sorted(p.name for p in PICTURES)
    assert all(len(sentences) == 5 for part in first.values() for sentences in part.values())
    assert problems.notes == []
    assert problems.decisions == [
        "splits were made at random with data.split_seed 0: 6 train, 1 val, 1 test"
    ]
    thirds, _ = read(CocoJson, folder, val_share=0.25, test_share=0.5)
    assert {split: len(part) for split, part in thirds.items()} == {"train": 2, "val": 2, "test": 4}


def test_random_splits_can_be_asked_for_and_given_ones_too(folder, write, read, edit):
    write("coco_json", folder)
    given, _ = read(CocoJson, folder)
    made, problems = read(CocoJson, folder, splits="random")
    assert made != given
    assert problems.decisions[0].startswith("splits were made at random")
    edit(folder / "captions.json", lambda d: [image.pop("split") for image in d["images"]])
    with pytest.raises(UserError, match=r"give no splits; leave --data\.splits given out"):
        read(CocoJson, folder, splits="given")
    with pytest.raises(UserError, match="no lists of Flickr30k Entities"):
        read(CocoJson, folder, splits="entities")


@pytest.mark.parametrize("builder", [CocoJson, KarpathyJson, JsonLines])
def test_splits_of_some_pictures_only_are_an_error(builder, folder, write, read, edit):
    write(builder.name, folder)
    if builder is JsonLines:
        path = folder / "captions.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        del lines[1]["split"]
        path.write_text("\n".join(map(json.dumps, lines)))
    else:
        name = "captions.json" if builder is CocoJson else "dataset.json"
        edit(folder / name, lambda d: d["images"][1].pop("split"))
    with pytest.raises(UserError, match=r"1 of 8 images have no split.*--data\.splits random"):
        read(builder, folder)


def test_other_spellings_of_splits_are_understood(folder, write, read, edit):
    write("karpathy_json", folder)

    def spell(data):
        for image in data["images"]:
            image["split"] = {"train": "restval", "val": "Validation", "test": "test"}[
                image["split"]
            ]
        data["images"][0]["split"] = "extra"

    expected, _ = read(KarpathyJson, folder)
    first = expected["train"].pop(PICTURES[0].name)
    edit(folder / "dataset.json", spell)
    found, problems = read(KarpathyJson, folder)
    assert first
    assert found == expected
    assert problems.decisions == [f"1 images of the split 'extra' are not used: {PICTURES[0].name}"]


def test_a_picture_in_two_splits_is_kept_for_evaluation(folder, write, read):
    write("captions_txt", folder)
    test_name = next(p.name for p in PICTURES if p.split == "test")
    with (folder / "train.txt").open("a") as file:
        file.write(test_name.removesuffix(".jpg") + "\n")
    found, problems = read(CaptionsTxt, folder)
    assert test_name in found["test"]
    assert test_name not in found["train"]
    assert problems.notes == [f"{test_name} is in train and test: kept in test"]


@pytest.mark.parametrize("form", ["ids", "stems", "names"])
def test_an_id_that_is_the_file_name_of_another_picture_moves_none(folder, write, read, edit, form):
    write("coco_json", folder)
    (folder / "regions.json").unlink()
    expected = {
        split: {
            f"{number}.jpg": picture.sentences
            for number, picture in enumerate(PICTURES)
            if picture.split == split
        }
        for split in ("train", "val", "test")
    }
    numbers = {picture.number: number for number, picture in enumerate(PICTURES)}
    for picture in PICTURES:
        images = folder / "images"
        (images / picture.name).rename(images / f"{numbers[picture.number]}.jpg")

    def rename(data):
        for image in data["images"]:
            del image["split"]
            image["file_name"] = f"{numbers[image['id']]}.jpg"
            image["id"] = numbers[image["id"]] + 1
        for caption in data["annotations"]:
            caption["image_id"] = numbers[caption["image_id"]] + 1

    edit(folder / "captions.json", rename)
    name_of = {
        "ids": lambda name: int(name.removesuffix(".jpg")) + 1,
        "stems": lambda name: name.removesuffix(".jpg"),
        "names": str,
    }[form]
    lists = {split: [name_of(name) for name in names] for split, names in expected.items()}
    (folder / "splits.json").write_text(json.dumps(lists))
    found, problems = read(CocoJson, folder)
    assert found == expected
    assert problems == Problems()


def test_a_split_without_pictures_is_an_error(folder, write, read):
    write("captions_txt", folder)
    (folder / "val.txt").write_text("")
    with pytest.raises(UserError, match=r"no image of the val split.*--data\.splits random"):
        read(CaptionsTxt, folder)
    (folder / "val.txt").unlink()
    with pytest.raises(UserError, match=r"has train\.txt, test\.txt but no val\.txt"):
        read(CaptionsTxt, folder)


def test_splits_in_two_places_are_an_error(folder, write, read, edit):
    write("coco_json", folder)
    numbers = {s: [p.number for p in PICTURES if p.split == s] for s in ("train", "val", "test")}
    (folder / "splits.json").write_text(json.dumps(numbers))
    with pytest.raises(UserError, match=r"both splits\.json and .*--data\.splits random"):
        read(CocoJson, folder)
    expected = {
        s: sorted(p.name for p in PICTURES if p.split == s) for s in ("train", "val", "test")
    }
    edit(folder / "captions.json", lambda d: [image.pop("split") for image in d["images"]])
    found, problems = read(CocoJson, folder)
    assert {split: sorted(part) for split, part in found.items()} == expected
    assert problems == Problems()
