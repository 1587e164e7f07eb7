"""Everybody's own pictures in five formats: the same pictures, and everything that may be odd."""

import json

import numpy as np
import pytest

import dummy_data
from visem_tf.config import Config, DataConfig
from visem_tf.datasets.captions_txt.captions_txt_dataset_builder import Builder as CaptionsTxt
from visem_tf.datasets.coco_json.coco_json_dataset_builder import Builder as CocoJson
from visem_tf.datasets.json_lines.json_lines_dataset_builder import Builder as JsonLines
from visem_tf.datasets.karpathy_json.karpathy_json_dataset_builder import Builder as KarpathyJson
from visem_tf.datasets.loading import load_dataset
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.sidecar_txt.sidecar_txt_dataset_builder import Builder as SidecarTxt
from visem_tf.datasets.validation import check_dataset
from visem_tf.datasets.writing import write_coco
from visem_tf.errors import UserError

FORMATS = ["coco_json", "karpathy_json", "captions_txt", "json_lines"]
PICTURES = dummy_data.draw_images(train=4, val=2, test=2)


@pytest.mark.parametrize("name", [*FORMATS, "image_folder", "sidecar_txt", "webdataset"])
def test_every_format_gives_the_same_pictures_and_sentences(name, folder, tmp_path, write):
    write(name, folder)
    dataset = load_dataset(name, cache_dir=tmp_path / "cache", data_dir=folder)
    assert dataset.problems == []
    for split in ("train", "val", "test"):
        expected = {p.name: p for p in PICTURES if p.split == split}
        found = dataset.splits[split]
        assert {file.split("/")[-1] for file in found.file_names} == set(expected)
        for file, picture in zip(
            found.file_names, found.pictures().as_numpy_iterator(), strict=True
        ):
            assert picture == expected[file.split("/")[-1]].jpeg
        references = found.references()
        for image_id, file in zip(found.image_ids, found.file_names, strict=True):
            assert references[image_id] == expected[file.split("/")[-1]].sentences


@pytest.mark.slow
def test_the_order_of_pictures_is_that_of_their_names_in_any_format(tmp_path, write):
    orders = []
    for name in ["flickr8k", *FORMATS]:
        write(name, tmp_path / name)
        dataset = load_dataset(name, cache_dir=tmp_path / "cache", data_dir=tmp_path / name)
        orders.append({split: part.file_names for split, part in dataset.splits.items()})
    assert all(order == orders[0] for order in orders)


@pytest.mark.parametrize("name", ["coco_json", "json_lines"])
def test_boxes_of_phrases_arrive_as_shares_of_the_picture(name, folder, tmp_path, write):
    write(name, folder)
    split = load_dataset(name, cache_dir=tmp_path / "cache", data_dir=folder).splits["train"]
    expected = {}
    for picture in PICTURES:
        width, height = picture.size
        for phrase in picture.phrases:
            x1, y1, x2, y2 = phrase.box
            key = (picture.name, phrase.sentence, phrase.first, phrase.last, phrase.text)
            expected[key] = (y1 / height, x1 / width, y2 / height, x2 / width)
    phrases = split.phrases
    starts = {i: int(np.flatnonzero(split.image_index == i)[0]) for i in split.image_index.tolist()}
    assert len(phrases.text) == sum(len(p.phrases) for p in PICTURES if p.split == "train")
    for row, sentence in enumerate(phrases.sentence_index.tolist()):
        image = int(split.image_index[sentence])
        key = (
            split.file_names[image],
            sentence - starts[image],
            int(phrases.first[row]),
            int(phrases.last[row]),
            phrases.text[row],
        )
        np.testing.assert_allclose(phrases.boxes[row], expected[key], atol=1e-6)


def test_regions_and_instances_are_of_different_objects(folder, write, edit):
    write("coco_json", folder)
    first = PICTURES[0]
    boxes = {"instance": [0, 0, 4, 4], "null": [1, 1, 5, 5], "other null": [2, 2, 6, 6]}

    def add(data):
        data["annotations"] += [
            {"image_id": first.number, "phrase": "dog", "bbox": box, "object_id": None}
            for name, box in boxes.items()
            if name != "instance"
        ]

    edit(folder / "regions.json", add)
    edit(folder / "captions.json", lambda d: d["annotations"][0].update(caption="A cat and a dog"))
    instances = {
        "annotations": [{"image_id": first.number, "bbox": boxes["instance"], "category_id": 1}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (folder / "instances.json").write_text(json.dumps(instances))
    records = CocoJson.read_records(folder, DataConfig(), Problems())
    [record] = [record for record in records["train"] if record.file_name == first.name]
    boxes_of = {}
    for phrase in record.phrases:
        boxes_of.setdefault(phrase.object, set()).add(phrase.box)
    assert {(y, x) for found in boxes_of.values() for y, x, *_ in found} >= {(0, 0), (1, 1), (2, 2)}
    assert all(len(found) == 1 for found in boxes_of.values())


@pytest.mark.parametrize("is_crowd", [0, 1])
def test_one_object_beside_a_crowd_is_not_the_only_one(folder, write, edit, is_crowd):
    write("coco_json", folder)
    first = PICTURES[0]
    edit(folder / "captions.json", lambda d: d["annotations"][0].update(caption="A cat and a dog"))
    annotation = {"image_id": first.number, "bbox": [0, 0, 4, 4]}
    instances = {
        "annotations": [
            {**annotation, "category_id": 1},
            {**annotation, "category_id": 2},
            {**annotation, "category_id": 1 if is_crowd else 3, "iscrowd": is_crowd},
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(("cat", "dog", "bus"), 1)],
    }
    (folder / "instances.json").write_text(json.dumps(instances))
    records = CocoJson.read_records(folder, DataConfig(), Problems())
    [record] = [record for record in records["train"] if record.file_name == first.name]
    at_first = {p.text for p in record.phrases if p.sentence == 0 and p.box[:2] == (0, 0)}
    assert at_first == ({"dog"} if is_crowd else {"cat", "dog"})


def test_words_that_a_sentence_has_twice_are_found_by_their_place(folder, tmp_path, write, edit):
    write("coco_json", folder)
    first = PICTURES[0]

    def say(data):
        data["annotations"].append({"id": 900, "image_id": first.number, "caption": "A dog, a dog"})

    def add(data):
        data["annotations"] += [
            {"image_id": first.number, "caption_id": 900, "bbox": [2, 3, 9, 9], "phrase": "a dog"}
            | ({} if place is None else {"first": place})
            for place in (2, None, 1, "2")
        ]

    edit(folder / "captions.json", say)
    edit(folder / "regions.json", add)
    before = load_dataset("coco_json", cache_dir=tmp_path / "cache", data_dir=folder)
    [problem] = before.problems
    assert problem.startswith("dropped phrases that their sentences contain more than once")
    assert problem.count("'a dog'") == 3
    write_coco(before, tmp_path / "written")
    after = load_dataset("coco_json", cache_dir=tmp_path / "cache", data_dir=tmp_path / "written")
    assert after.problems == []
    one, other = before.splits["train"].phrases, after.splits["train"].phrases
    assert one.text == other.text and one.first.tolist() == other.first.tolist()
    assert one.first[one.text.index("a dog")] == 2


# Two readings.


def test_two_folders_or_files_are_an_error_that_names_the_option(folder, write, read):
    write("karpathy_json", folder)
    (folder / "imgs").mkdir()
    with pytest.raises(UserError, match=r"has images and imgs.*--data\.pictures"):
        read(KarpathyJson, folder)
    found, _ = read(KarpathyJson, folder, pictures="images")
    assert len(found["train"]) == 4
    (folder / "dataset_coco.json").write_text((folder / "dataset.json").read_text())
    with pytest.raises(UserError, match=r"has dataset\.json and dataset_coco\.json.*--data\.capt"):
        read(KarpathyJson, folder, pictures="images")
    assert read(KarpathyJson, folder, pictures="images", captions="dataset_coco.json")[0] == found


@pytest.mark.parametrize("builder", [CocoJson, KarpathyJson, CaptionsTxt, JsonLines])
def test_what_is_missing_is_named_with_the_option(builder, folder, tmp_path, write, read):
    write(builder.name, folder)
    for path in [*folder.glob("captions*"), *folder.glob("dataset*")]:
        path.rename(tmp_path / "kept")
        with pytest.raises(UserError, match=r"has no captions \(.*--data\.captions"):
            read(builder, folder)
        path.write_bytes((tmp_path / "kept").read_bytes())
    with pytest.raises(UserError, match=r"elsewhere does not exist; correct --data\.captions"):
        read(builder, folder, captions="elsewhere")
    (folder / "images").rename(tmp_path / "photos")
    with pytest.raises(UserError, match=r"has no folder of images \(.*--data\.pictures"):
        read(builder, folder)
    found, problems = read(builder, folder, pictures=str(tmp_path / "photos"))
    assert len(found["train"]) == 4
    assert problems == Problems()


def test_a_text_of_two_pictures_is_an_error(folder, write, read):
    write("sidecar_txt", folder)
    path = folder / "train" / PICTURES[0].name
    path.with_suffix(".png").write_bytes(path.read_bytes())
    with pytest.raises(UserError, match=r"two images share one text.*1000\.jpg and 1000\.png"):
        read(SidecarTxt, folder)


def test_an_option_that_a_data_set_does_not_use_is_refused(folder, tmp_path, write):
    write("sidecar_txt", folder)
    with pytest.raises(UserError, match=r"sidecar_txt does not use --data\.captions"):
        load_dataset(
            "sidecar_txt",
            cache_dir=tmp_path / "cache",
            data_dir=folder,
            options=DataConfig(captions="x"),
        )


def test_other_options_are_other_data(folder, tmp_path, write):
    write("coco_json", folder)
    arguments = {"cache_dir": tmp_path / "cache", "data_dir": folder}
    given = load_dataset("coco_json", **arguments)
    made = load_dataset("coco_json", **arguments, options=DataConfig(splits="random"))
    assert given.fingerprint != made.fingerprint


# Bad entries.


def test_bad_entries_of_coco_files_are_left_out_and_listed(folder, write, read, edit):
    write("coco_json", folder)

    def spoil(data):
        data["images"].append({"id": 5})
        data["images"].append("text")
        data["annotations"] += [
            {"id": 900, "image_id": 77, "caption": "A stranger."},
            {"id": 901, "image_id": PICTURES[0].number, "caption": 3},
            {"id": 902, "image_id": PICTURES[0].number},
            {"id": 903, "image_id": str(PICTURES[0].number), "caption": "An id as text."},
            {"id": 904, "image_id": PICTURES[0].number, "caption": " ?! "},
        ]

    edit(folder / "captions.json", spoil)
    found, problems = read(CocoJson, folder)
    assert found["train"][PICTURES[0].name] == [*PICTURES[0].sentences, "An id as text."]
    assert problems.notes == [
        "captions.json: left out 2 images without id and file_name or coco_url: 8, 9",
        "captions.json: left out 2 annotations without a caption: 41, 42",
        "captions.json: left out 1 captions of images that it does not list: 77",
        f"dropped sentences without words: '?!' of {PICTURES[0].name}",
    ]


@pytest.mark.parametrize("prefix", ["images/", "train\\", "C:\\mine\\"])
def test_files_named_with_folders_are_found_without(folder, write, read, edit, prefix):
    write("coco_json", folder)
    expected = read(CocoJson, folder)[0]["test"]

    def rename(data):
        for image in data["images"]:
            image["file_name"] = prefix + image["file_name"]

    edit(folder / "captions.json", rename)
    found, problems = read(CocoJson, folder)
    assert found["test"] == {prefix + name: texts for name, texts in expected.items()}
    assert problems.skipped == []


def test_boxes_of_an_image_without_a_sensible_size_are_dropped(folder, write, edit, tmp_path):
    write("coco_json", folder)
    edit(folder / "captions.json", lambda data: data["images"][0].update(width=10**400))
    report = check_dataset(Config(dataset="coco_json", data_dir=str(folder)))
    assert [problem for problem in report.problems if "boxes are not used" in problem]


def test_sentences_come_in_the_order_of_their_ids(folder, write, read, edit):
    write("coco_json", folder)
    expected = read(CocoJson, folder)
    edit(folder / "captions.json", lambda d: d["annotations"].reverse())
    assert read(CocoJson, folder) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"images": [', r"captions\.json is broken JSON at line 1, column 13"),
        ("[]", "is not a COCO file of captions"),
        ('{"images": [], "annotations": []}', "lists no images"),
        ('{"images": 3, "annotations": []}', "lists no images"),
        ("[" * 100_000, "nested too deeply|broken JSON"),
    ],
)
def test_files_of_another_form_are_errors(folder, content, message, write, read):
    write("coco_json", folder)
    (folder / "captions.json").write_text(content)
    with pytest.raises(UserError, match=message):
        read(CocoJson, folder)


def test_a_coco_file_is_not_taken_for_karpathys_nor_the_other_way(folder, write, read):
    write("coco_json", folder)
    with pytest.raises(UserError, match="use --dataset coco_json"):
        read(KarpathyJson, folder, captions="captions.json")
    write("karpathy_json", folder)
    with pytest.raises(UserError, match="lists no images|is not a COCO file"):
        read(CocoJson, folder, captions="dataset.json")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_json_in_other_encodings_is_read(folder, encoding, write, read, edit):
    write("coco_json", folder)
    (folder / "regions.json").unlink()  # its phrases are not those of the new sentence

    def say(data):
        data["annotations"][0]["caption"] = "Ein Café ."

    edit(folder / "captions.json", say)
    path = folder / "captions.json"
    path.write_bytes(json.dumps(json.loads(path.read_text()), ensure_ascii=False).encode(encoding))
    found, problems = read(CocoJson, folder)
    assert found["train"][PICTURES[0].name][0] == "Ein Café ."
    assert problems.notes == (
        ["captions.json: the file is not UTF-8 and was read as Latin-1"]
        if encoding == "latin-1"
        else []
    )


def test_pictures_that_are_not_there_are_skipped(folder, write, read):
    for builder in (CocoJson, KarpathyJson, CaptionsTxt, JsonLines):
        write(builder.name, folder)
        (folder / "images" / PICTURES[0].name).unlink()
        found, problems = read(builder, folder)
        assert len(found["train"]) == 3
        assert problems.skipped == [f"train: {PICTURES[0].name}: not in images"]


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/secret.jpg", "gs://bucket/secret.jpg"])
def test_names_that_lead_out_of_the_folder_are_not_followed(folder, name, write, read, edit):
    write("coco_json", folder)
    (folder / "secret.jpg").write_bytes(PICTURES[0].jpeg)
    edit(folder / "captions.json", lambda d: d["images"][0].update(file_name=name))
    found, problems = read(CocoJson, folder)
    assert name not in found["train"]
    assert problems.skipped == [f"train: {name}: leads out of the folder of images"]


def test_a_picture_without_sentences_is_skipped(folder, write, read):
    write("sidecar_txt", folder)
    (folder / "train" / "1000.txt").unlink()
    (folder / "train" / "1001.txt").write_text("\n  \n")
    found, problems = read(SidecarTxt, folder)
    assert len(found["train"]) == 2
    assert problems.skipped == [
        "train: train/1000.jpg: no sentences",
        "train: train/1001.jpg: no sentences",
    ]


def test_a_picture_named_twice_is_read_once(folder, write, read, edit):
    write("coco_json", folder)

    def again(data):
        data["images"].append({**data["images"][0], "id": 7777})
        data["annotations"].append({"id": 999, "image_id": 7777, "caption": "Another ."})

    edit(folder / "captions.json", again)
    found, problems = read(CocoJson, folder)
    assert found["train"][PICTURES[0].name] == PICTURES[0].sentences
    assert problems.notes == [f"images named more than once, the first is kept: {PICTURES[0].name}"]


def test_pictures_with_one_id_are_left_out_and_a_repeated_entry_is_not(folder, write, read, edit):
    write("coco_json", folder)
    first, second, third = PICTURES[:3]

    def repeat(data):
        data["images"][1]["id"] = first.number
        data["images"].append(data["images"][2])

    edit(folder / "captions.json", repeat)
    (folder / "regions.json").unlink()
    found, problems = read(CocoJson, folder)
    assert list(found["train"]) == [third.name, PICTURES[3].name]
    assert found["train"][third.name] == third.sentences
    assert problems.notes == [
        f"captions.json: left out 2 images whose id another image has: {first.name} with the id "
        f"{first.number}, {second.name} with the id {first.number}",
        "captions.json: left out 5 captions of images that it does not list: "
        + ", ".join([str(second.number)] * 5),
        f"images named more than once, the first is kept: {third.name}",
    ]


def test_bad_json_lines_are_skipped_and_listed(folder, write, read):
    write("json_lines", folder)
    path = folder / "captions.jsonl"
    good = json.loads(path.read_text().splitlines()[0])
    bad = [
        "{",
        "[]",
        json.dumps({"image": "a.jpg"}),
        json.dumps({"sentences": ["A dog."]}),
        json.dumps({**good, "caption": "two kinds"}),
        json.dumps({**good, "sentences": [3]}),
        json.dumps({**good, "phrases": [{"text": "dog", "sentence": 9, "bbox": [0, 0, 1, 1]}]}),
        json.dumps(
            {**good, "phrases": [{"text": "dog", "bbox": [0, 0, 1, 1], "box": [0, 0, 1, 1]}]}
        ),
        json.dumps({**good, "phrases": [{"text": "dog", "bbox": [0, 0, 1, 1], "object": 2**31}]}),
    ]
    path.write_text(path.read_text() + "\n".join(["", *bad]) + "\n")
    found, problems = read(JsonLines, folder)
    assert found["train"][PICTURES[0].name] == PICTURES[0].sentences
    assert [note.partition(": skipped ")[2] for note in problems.notes] == [
        "1 lines that are not JSON: 10",
        "1 lines that are not objects: 11",
        "2 lines without exactly one of sentences, captions, sentence, caption, text: 12, 14",
        "1 lines without exactly one of image, file_name with a file name: 13",
        "1 lines with sentences that are not text: 15",
        "3 lines with phrases that are not of the documented form: 16, 17, 18",
    ]


def test_a_null_in_json_is_a_missing_value(folder, write, read, edit):
    write("json_lines", folder)
    expected = read(JsonLines, folder)
    path = folder / "captions.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    nulls = {"image_id": None, "caption": None, "file_name": None}
    for line in lines:
        line.update(nulls)
        for phrase in line["phrases"]:
            phrase.update(box=None, type=None)
    path.write_text("\n".join(map(json.dumps, lines)))
    assert read(JsonLines, folder) == expected
    for line in lines:
        line.update(split=None, phrases=None)
    path.write_text("\n".join(map(json.dumps, lines)))
    assert read(JsonLines, folder, splits="random")[1].notes == []
    write("karpathy_json", folder)
    expected = read(KarpathyJson, folder)
    edit(folder / "dataset.json", lambda d: [image.update(cocoid=None) for image in d["images"]])
    assert read(KarpathyJson, folder) == expected


def test_lines_of_one_picture_are_joined(folder, write, read):
    write("json_lines", folder)
    lines = [
        json.dumps({"file_name": p.name, "caption": s, "split": p.split})
        for p in PICTURES
        for s in p.sentences
    ]
    expected, _ = read(JsonLines, folder)
    (folder / "captions.jsonl").write_text("\n".join(lines))
    assert read(JsonLines, folder)[0] == expected


@pytest.mark.parametrize("form", ["token", "tab", "numbered tab"])
def test_captions_txt_has_several_forms(folder, form, write, read):
    write("captions_txt", folder)
    expected = read(CaptionsTxt, folder)
    ends = {"token": "#{}", "tab": "", "numbered tab": "\t{}"}
    lines = [
        f"{p.name}{ends[form].format(number)}\t{sentence}"
        for p in PICTURES
        for number, sentence in enumerate(p.sentences)
    ]
    (folder / "captions.txt").write_text("\n".join(lines))
    assert read(CaptionsTxt, folder) == expected
    (folder / "captions.txt").write_text("just words\n")
    with pytest.raises(
        UserError, match="starts with the line 'just words'.* such as image,caption"
    ):
        read(CaptionsTxt, folder)
