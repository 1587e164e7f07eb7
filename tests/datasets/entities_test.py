"""Flickr30k Entities: marked sentences, boxes, the archive, and how Flickr8K's files meet them."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from visem_tf.config import Config, DataConfig
from visem_tf.datasets.flickr8k.flickr8k_dataset_builder import Builder
from visem_tf.datasets.formats.entities import (
    Chunk,
    find_entities,
    parse_annotation,
    parse_sentence,
)
from visem_tf.datasets.formats.marked_sentences import match_sentences
from visem_tf.datasets.loading import load_dataset
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.validation import check_dataset
from visem_tf.errors import UserError
from visem_tf.runtime.storage import as_path


def xml(boxes, width=100, height=50):
    """An annotation; `boxes` are (chains, xmin, ymin, xmax, ymax)."""
    objects = "".join(
        "<object>"
        + "".join(f"<name>{chain}</name>" for chain in chains)
        + f"<bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox>"
        "</object>"
        for chains, x0, y0, x1, y1 in boxes
    )
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation>{size}{objects}</annotation>"


@pytest.fixture
def entities(flickr8k):
    """Files of Entities for every image of the tiny Flickr8K, as a dictionary by their names."""
    files = {}
    for name in flickr8k.names:
        stem = name.partition("_")[0]
        # Another order than that of the captions.
        lines = [f"[/EN#1/animals A dog] {k} in [/EN#2/other {name}] ." for k in (3, 1, 0, 2, 4)]
        files[f"Sentences/{stem}.txt"] = "\n".join(lines) + "\n"
        files[f"Annotations/{stem}.xml"] = xml([(["1"], 10, 5, 50, 25)])
        path = flickr8k.pictures / name
        with Image.open(path) as image:
            image.resize((224, 224)).save(path)
    return files


def pack(flickr8k, files):
    folder = flickr8k.root / "Flickr30kEntities"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "annotations.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def unpack(flickr8k, files):
    for name, text in files.items():
        path = flickr8k.root / "Flickr30kEntities" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def read(flickr8k):
    problems = Problems()
    records = Builder.read_records(flickr8k.root, DataConfig(), problems)
    return {record.file_name: record for part in records.values() for record in part}, problems


@pytest.mark.parametrize("form", [pack, unpack])
def test_phrases_of_flickr8k_have_boxes_and_types_packed_and_unpacked(
    flickr8k, entities, tmp_path, form
):
    form(flickr8k, entities)
    dataset = load_dataset("flickr8k", cache_dir=tmp_path / "cache", data_dir=flickr8k.root)
    assert dataset.problems == []
    test = dataset.splits["test"]
    assert test.phrases.text == ["a dog"] * 10
    assert test.phrases.type == ["animals"] * 10
    assert sorted(test.phrases.sentence_index) == list(range(10))
    assert set(test.phrases.first) == {0}
    assert set(test.phrases.last) == {1}
    # Relative to the annotated size: the images are squares.
    np.testing.assert_allclose(test.phrases.boxes, [[0.1, 0.1, 0.5, 0.5]] * 10, atol=1e-6)
    [first, *_] = test.phrases_of_images()[0]
    assert first.type == "animals"


def test_the_archive_is_read_on_another_storage(flickr8k, entities):
    pack(flickr8k, entities)
    root = as_path("memory://entities/flickr8k")
    for path in flickr8k.root.rglob("*"):
        if path.is_file():
            target = root / path.relative_to(flickr8k.root).as_posix()
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    records = Builder.read_records(root, DataConfig(), Problems())
    assert [len(record.phrases) for record in records["test"]] == [5, 5]


def test_new_boxes_prepare_the_data_anew(flickr8k, entities, tmp_path):
    plain = load_dataset("flickr8k", cache_dir=tmp_path / "cache", data_dir=flickr8k.root)
    pack(flickr8k, entities)
    boxed = load_dataset("flickr8k", cache_dir=tmp_path / "cache", data_dir=flickr8k.root)
    assert plain.splits["test"].phrases is None
    assert len(boxed.splits["test"].phrases.text) == 10


def test_images_that_are_neither_whole_nor_squares_lose_their_boxes(flickr8k, entities, tmp_path):
    pack(flickr8k, entities)
    Image.new("RGB", (80, 100)).save(flickr8k.pictures / "300_a.jpg")
    dataset = load_dataset("flickr8k", cache_dir=tmp_path / "cache", data_dir=flickr8k.root)
    [problem] = dataset.problems
    assert problem.startswith("300_a.jpg: the data give 100 x 50 pixels and the image has 80 x 100")
    assert len(dataset.splits["test"].phrases.text) == 5


def test_bad_boxes_are_reported_by_validate(flickr8k, entities, tmp_path):
    entities["Annotations/300.xml"] = xml(
        [
            (["1"], 50, 5, 10, 25),  # swapped
            (["1"], 10, 5, 10, 25),  # empty
            (["1"], 200, 5, 300, 25),  # outside
            (["1"], 60, 5, 300, 25),  # reaches out
        ]
    )
    entities["Annotations/301.xml"] = "<annotation><object>"
    del entities["Annotations/200.xml"]
    entities["Annotations/999.xml"] = xml([])
    entities["Sentences/100.txt"] = "[/EN#1/people A [/EN#2/people man]] .\n[/EN#1/other Cats]\n"
    pack(flickr8k, entities)
    report = check_dataset(Config(dataset="flickr8k", data_dir=str(flickr8k.root)))
    problems = "\n".join(report.problems)
    assert "Flickr30kEntities: 1 images have no sentences or boxes: 200_a.jpg" in problems
    assert "301.xml: broken XML" in problems
    assert "100.txt line 1: a mark that is not [/EN#chain/type words]" in problems
    assert "1 marked sentences are not among those of their image" in problems
    assert "100.txt line 2" in problems
    assert "300_a.jpg: cut boxes that reach out of the image: 5" in problems
    assert "300_a.jpg: dropped boxes that are empty, swapped or outside: 15" in problems
    assert "Flickr30kEntities: 1 annotations of other images are not used: 999" in report.remarks


@pytest.mark.parametrize("content", ["empty folder", "no zip", "no folders", "cut"])
def test_an_unusable_folder_is_an_error(flickr8k, entities, content):
    folder = flickr8k.root / "Flickr30kEntities"
    folder.mkdir()
    archive = folder / "annotations.zip"
    if content == "no zip":
        archive.write_text("no archive")
    elif content == "no folders":
        pack(flickr8k, {"readme.txt": "x"})
    elif content == "cut":
        pack(flickr8k, entities)
        archive.write_bytes(archive.read_bytes()[:200])
    message = {
        "empty folder": r"must contain Sentences/ and Annotations/, or annotations\.zip",
        "no folders": r"annotations\.zip has no folder Sentences; fix or replace it",
    }.get(content, r"cannot read .*annotations\.zip \(.*\); fix or replace it")
    with pytest.raises(UserError, match=message):
        read(flickr8k)


def test_a_damaged_file_in_the_archive_costs_one_image(flickr8k, entities):
    pack(flickr8k, entities)
    path = flickr8k.root / "Flickr30kEntities" / "annotations.zip"
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
        info = archive.getinfo("Annotations/300.xml")
    start = info.header_offset + 30 + len(info.filename)
    data[start : start + info.compress_size] = bytes(255 for _ in range(info.compress_size))
    path.write_bytes(bytes(data))
    records, problems = read(flickr8k)
    assert not records["300_a.jpg"].phrases
    assert records["301_b.jpg"].phrases
    [note] = problems.notes
    assert "300.xml: damaged in annotations.zip" in note


def test_a_device_in_the_place_of_a_file_costs_one_image(flickr8k, entities):
    unpack(flickr8k, entities)
    path = flickr8k.root / "Flickr30kEntities" / "Annotations" / "300.xml"
    path.unlink()
    path.symlink_to("/dev/zero")
    records, problems = read(flickr8k)
    assert not records["300_a.jpg"].phrases
    assert records["301_b.jpg"].phrases
    [note] = problems.notes
    assert "300.xml" in note and "not a regular file" in note


def test_without_the_folder_nothing_changes(flickr8k):
    records, problems = read(flickr8k)
    assert problems == Problems()
    assert not any(record.phrases for record in records.values())
    assert find_entities(flickr8k.root) is None


def test_spellings_and_compounds_are_matched_and_other_sentences_are_not():
    sentences = [
        b"a grey dog sits near by a large wooden fence".split(),
        b"a man in a red shirt runs".split(),
        b"a man in a red shirt runs".split(),
    ]
    marked = [
        b"a man in a red shirt runs".split(),
        b"a gray dog sits nearby a large wooden fence".split(),
        b"a man in a blue coat walks".split(),
        b"a man in a red shirt runs".split(),
    ]
    one, near, other, two = match_sentences(marked, sentences)
    assert {one.sentence, two.sentence} == {1, 2}
    assert other is None
    assert near.sentence == 0
    assert near.span(0, 2) == (0, 2)
    assert near.span(4, 4) == (4, 5)
    assert near.span(5, 8) == (6, 9)


def test_types_survive_the_package_s_own_formats(flickr8k, entities, tmp_path):
    from visem_tf.datasets.writing import write_coco

    pack(flickr8k, entities)
    cache = tmp_path / "cache"
    dataset = load_dataset("flickr8k", cache_dir=cache, data_dir=flickr8k.root)
    write_coco(dataset, tmp_path / "coco")
    assert json.loads((tmp_path / "coco" / "regions.json").read_text())["annotations"][0]["type"]
    again = load_dataset("coco_json", cache_dir=cache, data_dir=tmp_path / "coco")
    assert set(again.splits["test"].phrases.type) == {"animals"}


def test_a_chain_with_several_boxes_and_an_object_in_several_chains():
    def box(x):
        return f"<bndbox><xmin>{x}</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>"

    xml = (
        "<annotation><size><width>20</width><height>10</height><depth>3</depth></size>"
        f"<object><name>5</name>{box(1)}</object><object><name>5</name><name>6</name>{box(3)}"
        "</object><object><name>7</name><scene>0</scene><nobndbox>1</nobndbox></object>"
        "</annotation>"
    )
    found = parse_annotation(xml.encode())
    assert found.size == (20, 10)
    assert found.by_chain == {
        "5": [(2.0, 1.0, 8.0, 9.0), (2.0, 3.0, 8.0, 9.0)],
        "6": [(2.0, 3.0, 8.0, 9.0)],
    }


@pytest.mark.parametrize(
    ("line", "chunks"),
    [
        ("No phrase here .", [("No phrase here .",)]),
        ("[/EN#0/notvisual It] rains", [("It", "0", "notvisual"), ("rains",)]),
        (
            "[/EN#12/people/clothing A man in red] , [/EN#3/other two] .",
            [("A man in red", "12", "people/clothing"), (",",), ("two", "3", "other"), (".",)],
        ),
    ],
)
def test_marked_sentences_are_parsed(line, chunks):
    assert parse_sentence(line) == [Chunk(*chunk) for chunk in chunks]
