"""COCO from local folders of 2014 and 2017, and on top of TensorFlow Datasets' coco_captions."""

import json
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import dummy_data
from visem_tf.config import Config, DataConfig
from visem_tf.datasets.coco.coco_dataset_builder import Builder
from visem_tf.datasets.loading import load_dataset
from visem_tf.datasets.phrases import phrases_of_objects
from visem_tf.datasets.preparing import check_folder
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.recognising import recognise
from visem_tf.errors import UserError

PICTURES = dummy_data.draw_images(train=6, val=2, test=2)


@pytest.fixture
def folder(tmp_path):
    dummy_data.write("coco", tmp_path / "data", PICTURES)
    return tmp_path / "data"


def read(folder, **options):
    problems = Problems()
    return Builder.read_records(folder, DataConfig(**options), problems), problems


def ids(records):
    return {split: sorted(record.image_id for record in part) for split, part in records.items()}


EXPECTED = {
    split: sorted(str(picture.number) for picture in PICTURES if picture.split == split)
    for split in ("train", "val", "test")
}


def test_karpathys_splits_with_restval_as_train(folder, tmp_path):
    dataset = load_dataset("coco", cache_dir=tmp_path / "cache", data_dir=folder)
    assert dataset.problems == []
    assert {s: sorted(part.image_ids) for s, part in dataset.splits.items()} == EXPECTED
    train = dataset.splits["train"]
    last = [p for p in PICTURES if p.split == "train"][-1]
    row = train.image_ids.index(str(last.number))
    assert train.file_names[row] == f"val2014/COCO_val2014_{last.number:012d}.jpg"
    assert train.references()[str(last.number)] == last.sentences


def test_words_of_objects_that_are_the_only_ones_have_boxes(folder):
    records, _ = read(folder)
    phrases = [phrase for part in records.values() for record in part for phrase in record.phrases]
    assert phrases
    assert {phrase.text for phrase in phrases} <= {"circle", "circles", "heart", "hearts"}


@pytest.mark.parametrize("splits", ["auto", "random"])
def test_boxes_are_the_same_shares_of_resized_images(folder, tmp_path, splits):
    def boxes(cache):
        dataset = load_dataset(
            "coco",
            cache_dir=tmp_path / cache,
            data_dir=folder,
            options=DataConfig(splits=splits),
        )
        return np.concatenate([s.phrases.boxes for s in dataset.splits.values() if s.phrases])

    expected = boxes("whole")
    for path in folder.glob("*2014/*.jpg"):
        with Image.open(path) as image:
            half = image.resize((image.width // 2, image.height // 2))
        half.save(path)
    np.testing.assert_allclose(boxes("half"), expected, atol=1e-6)


def test_two_objects_of_a_kind_are_ambiguous():
    sentences = [[b"a", b"dog", b"and", b"traffic", b"lights"], [b"dogs"]]
    box = (0.0, 1.0, 2.0, 3.0)
    found = phrases_of_objects(sentences, [("dog", box), ("traffic light", box)])
    assert [(p.sentence, p.first, p.last, p.text, p.object) for p in found] == [
        (0, 1, 1, "dog", 0),
        (1, 0, 0, "dogs", 0),
        (0, 3, 4, "traffic lights", 1),
    ]
    assert phrases_of_objects(sentences, [("dog", box), ("dog", box)]) == []


def test_random_splits_take_the_captions_of_both_parts(folder):
    (folder / "dataset_coco.json").unlink()
    with pytest.raises(UserError, match=r"no dataset_coco\.json.*--data\.splits random"):
        read(folder)
    records, problems = read(folder, splits="random")
    assert {split: len(part) for split, part in records.items()} == {
        "train": 8,
        "val": 1,
        "test": 1,
    }
    assert problems.decisions[-1].startswith("splits were made at random")
    by_id = {record.image_id: record for part in records.values() for record in part}
    assert all(list(by_id[str(p.number)].sentences) == p.sentences for p in PICTURES)
    (folder / "annotations" / "captions_val2014.json").unlink()
    with pytest.raises(UserError, match=r"captions_val2014\.json is missing; unpack annotations_"):
        read(folder, splits="random")


def test_karpathys_file_fits_the_pictures_of_2017(folder):
    as_2017(folder)
    records, problems = read(folder)
    assert ids(records) == EXPECTED
    assert problems == Problems()


def test_what_is_missing_or_open_is_said(folder, tmp_path):
    for name in ("train2014", "val2014"):
        (folder / name).rename(tmp_path / name)
    with pytest.raises(UserError, match=r"has no train2014/.*captions_train2014\.json.*coco/tfds"):
        read(folder)


def as_2017(folder, names=("train2014", "val2014")):
    """Renames images of 2014 as those of 2017, with every third of them in val."""
    for path in [path for name in names for path in sorted((folder / name).iterdir())]:
        number = path.stem.split("_")[-1]
        part = "val2017" if int(number) % 3 == 0 else "train2017"
        (folder / part).mkdir(exist_ok=True)
        path.rename(folder / part / f"{number}.jpg")
    for name in names:
        (folder / name).rmdir()


def check_files(records):
    """Checks that every record has the file and the sentences of its picture."""
    by_id = {str(picture.number): picture for picture in PICTURES}
    found = [record for part in records.values() for record in part]
    for record in found:
        assert record.read() == by_id[record.image_id].jpeg
        assert list(record.sentences) == by_id[record.image_id].sentences
    return found


def test_captions_of_one_year_fit_the_images_of_the_other(folder):
    expected = {r.image_id: r.phrases for part in read(folder)[0].values() for r in part}
    as_2017(folder)
    (folder / "dataset_coco.json").unlink()
    records, problems = read(folder, splits="random")
    found = check_files(records)
    assert {record.image_id: record.phrases for record in found} == expected
    assert problems.skipped == [] and len(problems.decisions) == 1


def test_images_of_two_years_are_used_once(folder):
    expected = read(folder)
    (folder / "kept").mkdir()
    for name in ("train2014", "val2014"):
        shutil.copytree(folder / name, folder / "kept" / name)
    as_2017(folder)
    mixed, problems = read(folder)
    for name in ("train2014", "val2014"):
        (folder / "kept" / name).rename(folder / name)
    (folder / "kept").rmdir()
    for part in ("train", "val"):
        for kind in ("captions", "instances"):
            path = folder / "annotations" / f"{kind}_{part}2014.json"
            shutil.copyfile(path, path.with_name(f"{kind}_{part}2017.json"))
    assert read(folder) == expected
    assert len(check_files(read(folder, splits="random")[0])) == len(PICTURES)
    as_2017(folder, ["val2014"])  # train2014 with all of 2017: the rest is found there
    assert len(check_files(read(folder)[0])) == len(PICTURES)
    assert ids(mixed) == EXPECTED and problems == Problems()


def test_one_part_alone_is_used_with_a_line_that_says_so(folder):
    shutil.rmtree(folder / "train2014")
    inner = folder / "images"
    inner.mkdir()
    (folder / "val2014").rename(inner / "Val2014")
    assert recognise(folder) == ("coco", "captions_train2014.json")
    records, problems = read(folder, splits="random")
    assert len(check_files(records)) == 5
    assert problems.skipped == []
    assert problems.decisions[0] == (
        "only Val2014 has images; 5 images of other parts are not used"
    )
    records, problems = read(folder)  # Karpathy's: of train only restval
    assert ids(records) == EXPECTED | {"train": EXPECTED["train"][-1:]}
    (folder / "annotations" / "captions_train2014.json").unlink()
    assert len(check_files(read(folder, splits="random")[0])) == 5
    (folder / "annotations" / "captions_val2014.json").unlink()
    with pytest.raises(UserError, match=r"captions_val2014\.json is missing"):
        read(folder, splits="random")


def test_all_images_may_be_in_one_folder(folder):
    images = folder / "images"
    images.mkdir()
    for name in ("train2014", "val2014"):
        for path in (folder / name).iterdir():
            path.rename(images / path.name)
        (folder / name).rmdir()
    (folder / "dataset_coco.json").unlink()
    assert recognise(folder.parent)[0] == "coco"
    root = check_folder(Builder, Config(data_dir=str(folder.parent)))
    assert root == folder
    records, problems = read(root, splits="random")
    assert len(check_files(records)) == len(PICTURES)
    assert problems.skipped == problems.notes == [] and len(problems.decisions) == 1


def test_file_names_with_folders_and_addresses_are_found(folder, edit):
    (folder / "dataset_coco.json").unlink()

    def change(data):
        for number, image in enumerate(data["images"]):
            name = image.pop("file_name")
            if number % 2:
                image["file_name"] = f"train2014/{name}"
            else:
                image["coco_url"] = f"http://images.cocodataset.org/train2014/{name}"

    edit(folder / "annotations" / "captions_train2014.json", change)
    records, problems = read(folder, splits="random")
    assert len(check_files(records)) == len(PICTURES)
    assert problems.notes == []


@pytest.fixture
def prepared_tfds(folder, tmp_path, monkeypatch):
    """TFDS' own coco_captions, made from the same files; nothing is fetched."""
    empty = {"images": [], "annotations": [], "categories": []}
    for name in ("image_info_test2014", "image_info_test2015"):
        (folder / "annotations" / f"{name}.json").write_text(json.dumps(empty))

    def fetched(self, urls):
        return dict.fromkeys(urls, str(folder))

    monkeypatch.setattr(tfds.download.DownloadManager, "download_and_extract", fetched)
    return tmp_path / "tfds"


@pytest.mark.slow
def test_on_top_of_coco_captions(folder, prepared_tfds, tmp_path):
    dataset = load_dataset(
        "coco", config="tfds", cache_dir=tmp_path / "cache", data_dir=prepared_tfds
    )
    assert (prepared_tfds / "coco_captions").is_dir()
    assert dataset.problems == []
    assert {s: sorted(part.image_ids) for s, part in dataset.splits.items()} == EXPECTED
    local = load_dataset("coco", cache_dir=tmp_path / "cache", data_dir=folder)
    for split in ("train", "val", "test"):
        here, there = dataset.splits[split], local.splits[split]
        assert here.references() == there.references()
        pictures = dict(zip(here.image_ids, here.pictures().as_numpy_iterator(), strict=True))
        assert all(pictures[str(p.number)] == p.jpeg for p in PICTURES if p.split == split)
        if there.phrases is None:
            assert here.phrases is None
            continue

        def rows(part):
            return sorted(
                (
                    part.sentence_ids[sentence],
                    part.phrases.text[row],
                    *np.round(part.phrases.boxes[row], 5).tolist(),
                )
                for row, sentence in enumerate(part.phrases.sentence_index.tolist())
            )

        assert rows(here) == rows(there)


def test_coco_captions_has_its_own_splits(prepared_tfds, tmp_path):
    with pytest.raises(UserError, match=r"has Karpathy's splits; leave --data\.\* out"):
        load_dataset(
            "coco",
            config="tfds",
            cache_dir=tmp_path / "cache",
            data_dir=prepared_tfds,
            options=DataConfig(splits="random"),
        )
