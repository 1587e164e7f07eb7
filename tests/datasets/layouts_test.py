"""Folders as people have them: renamed, unpacked by Kaggle or a Mac, and with odd files in them."""

import json
import os
import unicodedata

import pytest

import dummy_data
from visem_tf.config import Config, DataConfig
from visem_tf.datasets import builder_class
from visem_tf.datasets.captions_txt.captions_txt_dataset_builder import Builder as CaptionsTxt
from visem_tf.datasets.coco_json.coco_json_dataset_builder import Builder as CocoJson
from visem_tf.datasets.flickr8k.flickr8k_dataset_builder import Builder as Flickr8k
from visem_tf.datasets.flickr30k.flickr30k_dataset_builder import Builder as Flickr30k
from visem_tf.datasets.preparing import check_folder, prepare
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.sidecar_txt.sidecar_txt_dataset_builder import Builder as SidecarTxt
from visem_tf.errors import UserError

PICTURES = dummy_data.draw_images(train=4, val=2, test=2)
FIRST = PICTURES[0].name


@pytest.fixture
def table(folder, write):
    """Writes images with captions in a table, without lists of splits."""
    write("captions_txt", folder)
    for split in ("train", "val", "test"):
        (folder / f"{split}.txt").unlink()
    return folder


def rename_in_captions(folder, name):
    path = folder / "captions.txt"
    path.write_text(path.read_text(encoding="utf-8").replace(FIRST, name), encoding="utf-8")


def sentences(found):
    return {name: texts for part in found.values() for name, texts in part.items()}


def test_kaggles_flickr8k_has_no_lists(table, read):
    (table / "images").rename(table / "Images")
    found, problems = read(Flickr8k, table)
    assert sentences(found) == {p.name: p.sentences for p in PICTURES}
    assert problems.skipped == problems.notes == []
    assert "not comparable with published ones" in problems.decisions[0]
    assert problems.decisions[1].startswith("splits were made at random")
    with pytest.raises(UserError, match="give no splits"):
        read(Flickr8k, table, splits="given")
    (table / "Flickr_8k.trainImages.txt").write_text(f"{FIRST}\n")
    with pytest.raises(UserError, match=r"has no Flickr_8k\.devImages\.txt"):
        read(Flickr8k, table)


def test_kaggles_flickr30k_has_folders_of_one_name(table, tmp_path, read):
    rows = [f"{p.name}| {k}| {s}" for p in PICTURES for k, s in enumerate(p.sentences)]
    outer = tmp_path / "flickr30k_images"
    outer.mkdir()
    (table / "images").rename(outer / "flickr30k_images")
    header = "image_name| comment_number| comment"
    (outer / "results.csv").write_text("\n".join([header, *rows]))
    assert check_folder(Flickr30k, Config(data_dir=str(outer))) == outer
    archive = tmp_path / "archive"
    archive.mkdir()
    outer.rename(archive / "flickr30k_images")
    (archive / "__MACOSX").mkdir()
    root = check_folder(Flickr30k, Config(data_dir=str(archive)))
    assert root == archive / "flickr30k_images"
    found, problems = read(Flickr30k, root)
    assert sentences(found) == {p.name: p.sentences for p in PICTURES}
    assert problems.skipped == problems.notes == []
    assert [line for line in problems.decisions if "not comparable" in line]


@pytest.mark.parametrize("data_dir", [".", "..", "inner/.."])
def test_the_folder_may_be_the_current_one_or_one_above(table, monkeypatch, data_dir):
    for path in (table / "images").iterdir():
        path.rename(table / path.name)
    (table / "images").rmdir()
    (table / "inner").mkdir()
    monkeypatch.chdir(table / "inner" if data_dir == ".." else table)
    root = check_folder(CaptionsTxt, Config(data_dir=data_dir))
    found = CaptionsTxt.read_records(root, DataConfig(), Problems())
    assert sum(map(len, found.values())) == len(PICTURES)


@pytest.mark.parametrize("name", ["IMAGES", "photos"])
def test_folders_and_files_may_be_renamed(table, read, name):
    expected, _ = read(CaptionsTxt, table)
    (table / "images").rename(table / name)
    (table / "captions.txt").rename(table / ("Captions.TXT" if name == "IMAGES" else "mine.csv"))
    found, problems = read(CaptionsTxt, table)
    assert found == expected
    said = ["photos is read as the folder of images", "mine.csv is read as the captions"]
    assert [line.split(";")[0] for line in problems.decisions[:-1]] == (
        said if name == "photos" else []
    )


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("coco_json", ["instances.json", "regions.json", "splits.json"]),
        ("captions_txt", ["train.txt", "val.txt", "test.txt"]),
        (
            "visual_genome",
            ["VG_100K", "region_descriptions.json", "image_data.json", "densecap_splits.json"],
        ),
        ("coco", ["dataset_coco.json", "annotations", "train2014"]),
        ("flickr30k", ["Flickr30kEntities"]),
    ],
)
def test_files_beside_the_captions_may_differ_in_case(folder, write, name, files):
    write(name, folder)
    if name == "coco_json":
        images = json.loads((folder / "captions.json").read_text())["images"]
        lists = {}
        for image in images:
            lists.setdefault(image.pop("split"), []).append(image["id"])
        captions = json.loads((folder / "captions.json").read_text()) | {"images": images}
        (folder / "captions.json").write_text(json.dumps(captions))
        (folder / "splits.json").write_text(json.dumps(lists))
        categories = [{"id": 1, "name": "circle"}]
        instances = [{"image_id": PICTURES[0].number, "category_id": 1, "bbox": [0, 0, 3, 3]}]
        (folder / "instances.json").write_text(
            json.dumps({"annotations": instances, "categories": categories})
        )
    builder = builder_class(name)

    def read():
        problems = Problems()
        records = builder.read_records(folder, DataConfig(), problems)
        found = {
            split: [(r.image_id, list(r.sentences), list(r.phrases), r.size) for r in part]
            for split, part in records.items()
        }
        return found, problems, len(builder.source_files(folder, DataConfig()))

    expected = read()
    for file in files:
        (folder / file).rename(folder / file.swapcase())
    if name == "coco":
        for path in (folder / "ANNOTATIONS").iterdir():
            path.rename(path.with_name(path.name.title()))
    assert read() == expected


def test_images_may_lie_beside_the_captions(table, read):
    expected, _ = read(CaptionsTxt, table)
    for path in (table / "images").iterdir():
        path.rename(table / path.name)
    (table / "images").rmdir()
    found, problems = read(CaptionsTxt, table)
    assert found == expected
    assert problems.decisions[0].startswith("the folder itself is read as the folder of images")


@pytest.mark.parametrize(
    ("in_captions", "on_disk"),
    [
        ("Über 1.jpg", unicodedata.normalize("NFD", "Über 1.jpg")),
        (unicodedata.normalize("NFD", "Über 1.jpg"), "Über 1.jpg"),
        ("A.JPG", "a.jpg"),
        ("a.jpeg", "a.jpg"),
        ("a", "a.jpg"),
        ("images/a.jpg", "a.jpg"),
        ("a.jpg", "part/a.jpg"),
    ],
)
def test_files_are_found_under_a_similar_name(table, read, in_captions, on_disk):
    (table / "images" / "part").mkdir()
    (table / "images" / FIRST).rename(table / "images" / on_disk)
    rename_in_captions(table, in_captions)
    found, problems = read(CaptionsTxt, table)
    assert sentences(found)[in_captions] == PICTURES[0].sentences
    assert problems.skipped == problems.notes == []
    line = "1 images have files of another name, which were found: "
    assert problems.decisions[0] == f"{line}{in_captions} is {on_disk.split('/')[-1]}"


def test_a_name_that_fits_several_files_or_anothers_file_is_not_guessed(table, read):
    images = table / "images"
    (images / FIRST).rename(images / "a.jpg")
    (images / "a.png").write_bytes((images / "a.jpg").read_bytes())
    rename_in_captions(table, "a.webp")
    found, problems = read(CaptionsTxt, table)
    assert "a.webp" not in sentences(found)
    assert problems.skipped == ["a.webp: may be a.jpg or a.png; name one of them"]
    rename_in_captions(table, "x")
    other = PICTURES[1].name
    text = (table / "captions.txt").read_text().replace("a.webp", other.upper())
    (table / "captions.txt").write_text(text)
    found, problems = read(CaptionsTxt, table)
    assert problems.skipped == [f"{other.upper()}: not in images"]


def test_lists_of_splits_may_spell_names_otherwise(folder, write, read):
    write("captions_txt", folder)
    expected, _ = read(CaptionsTxt, folder)
    path = folder / "train.txt"
    path.write_text(path.read_text().replace(".jpg", ".JPEG"))
    assert read(CaptionsTxt, folder)[0] == expected


def test_files_of_operating_systems_are_ignored(folder, write, read):
    write("sidecar_txt", folder)
    expected = read(SidecarTxt, folder)
    (folder / "__MACOSX" / "train").mkdir(parents=True)
    for name in ("train/._1000.jpg", "__MACOSX/train/a.jpg", ".DS_Store", "Thumbs.db"):
        (folder / name).write_bytes(b"x")
    assert read(SidecarTxt, folder) == expected


@pytest.mark.parametrize("kind", ["surrogate", "long", "null", "digits"])
def test_a_bad_entry_costs_itself_only(folder, write, read, edit, kind):
    write("coco_json", folder)
    (folder / "regions.json").unlink()
    name = {"surrogate": "\ud800.jpg", "long": "a" * 5000 + "/b.jpg", "null": "a\0/b.jpg"}.get(kind)

    def spoil(data):
        data["annotations"][0]["caption"] = "A \udc00 dog"
        if name:
            data["images"][0]["file_name"] = name

    edit(folder / "captions.json", spoil)
    if kind == "digits":
        text = (folder / "captions.json").read_text()
        (folder / "captions.json").write_text(text[:-1] + ', "x": ' + "9" * 5000 + "}")
        with pytest.raises(UserError, match=r"captions\.json cannot be read"):
            read(CocoJson, folder)
        return
    found, problems = read(CocoJson, folder)
    assert len(found["train"]) == 3
    assert len(problems.skipped) == 1


def test_half_a_character_in_a_caption_is_prepared(folder, write, tmp_path, edit):
    write("coco_json", folder)
    (folder / "regions.json").unlink()
    edit(folder / "captions.json", lambda d: d["annotations"][0].update(caption="A \udc00 dog"))
    builder, _ = prepare(CocoJson, Config(cache_dir=str(tmp_path), data_dir=str(folder)))
    texts = [s for e in builder.as_dataset(split="train") for s in e["sentences"].numpy().tolist()]
    assert b"A ? dog" in texts


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes")
def test_what_is_no_regular_file_is_skipped_and_never_waited_for(folder, write, tmp_path):
    write("coco_json", folder)
    images = folder / "images"
    loop, pipe, endless = (images / p.name for p in PICTURES[:3])
    for path in (loop, pipe, endless):
        path.unlink()
    loop.symlink_to(loop)
    os.mkfifo(pipe)
    endless.symlink_to("/dev/zero")
    cache = str(tmp_path / "cache")
    builder, _ = prepare(CocoJson, Config(cache_dir=cache, data_dir=str(folder)))
    skipped = Problems.load(builder.data_dir).skipped
    assert [line.split(": ")[1] for line in skipped] == [p.name for p in PICTURES[:3]]
    assert "not a regular file" in skipped[1] and "not a regular file" in skipped[2]
    (folder / "captions.json").unlink()
    os.mkfifo(folder / "captions.json")
    with pytest.raises(UserError, match=r"cannot read .*captions\.json \(not a regular file\)"):
        CocoJson.read_records(folder, DataConfig(), Problems())
