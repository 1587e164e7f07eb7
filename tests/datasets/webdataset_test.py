"""Images and their texts in tar files, the shards of WebDataset."""

import io
import json
import os
import tarfile

import pytest

import dummy_data
from dummy_data.webdataset import write_tar
from visem_tf.config import Config
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.recognising import recognise
from visem_tf.datasets.validation import check_dataset
from visem_tf.datasets.webdataset.webdataset_dataset_builder import Builder
from visem_tf.errors import UserError

PICTURES = dummy_data.draw_images(train=4, val=2, test=2)
JPEG = PICTURES[0].jpeg
THREE = {f"{number}.jpg": JPEG for number in range(3)} | {
    f"{number}.txt": b"a dog" for number in range(3)
}


def sentences(found):
    """The sentences of all images, whatever their split."""
    return {name: texts for part in found.values() for name, texts in part.items()}


def test_images_are_read_from_their_places_in_the_tar_files(folder, write):
    write("webdataset", folder)
    with tarfile.open(folder / "train-000001.tar") as tar:
        names = tar.getnames()
    assert names == ["1002.jpg", "1002.txt", "1003.jpg", "1003.json"]
    assert recognise(folder) == ("webdataset", "test-000000.tar")
    records = Builder.read_all(folder, None, Problems())
    expected = {p.name: p for p in PICTURES}
    assert len(records) == 8
    for record in records:
        shard, name = record.file_name.split("/")
        assert shard.startswith(record.split)
        assert record.read() == expected[name].jpeg
        assert list(record.sentences) == expected[name].sentences


@pytest.mark.parametrize(
    "pattern", ["{0}/{1}.tar", "data/{0}/{1}.TAR", "mine-{0}-{1}-of-9.tar", "{0}2014_{1}.tar"]
)
def test_splits_are_those_of_folders_and_names(folder, read, pattern):
    for split, spelling in [("train", "train"), ("val", "validation"), ("test", "test")]:
        for number in range(2):
            path = folder / pattern.format(spelling, number)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_tar(path, {"./a.jpg": JPEG, "./a.txt": f"a dog in {split} {number}".encode()})
    found, problems = read(Builder, folder)
    texts = {split: [text for [text] in part.values()] for split, part in found.items()}
    assert texts == {split: [f"a dog in {split} {n}" for n in range(2)] for split in texts}
    assert problems.lines() == []


def test_json_names_captions_split_and_phrases(folder, read):
    folder.mkdir()
    phrase = {"text": "dog", "box": [0, 0, 0.5, 0.5]}
    fields = {
        "0": {"caption": "a dog", "split": "val", "phrases": [phrase], "image": "x", "key": 3},
        "1": {"captions": ["a dog", "a cat"], "split": "test"},
        "2": {"split": "train", "width": 4},  # captions in the text
    }
    members = {f"a/{stem}.json": json.dumps(each).encode() for stem, each in fields.items()}
    members |= {f"a/{stem}.Seg.jpg": b"no part of it" for stem in fields}
    members |= {f"a/{stem}.JPG": JPEG for stem in fields}
    members |= {f"a/{stem}.txt": b"\xef\xbb\xbfone text\n\n two texts\r\n" for stem in fields}
    write_tar(folder / "train-0.tar", members)
    found, problems = read(Builder, folder)
    assert found == {
        "train": {"train-0.tar/a/2.JPG": ["one text", "two texts"]},
        "val": {"train-0.tar/a/0.JPG": ["a dog"]},
        "test": {"train-0.tar/a/1.JPG": ["a dog", "a cat"]},
    }
    assert problems.lines() == []
    [record] = [each for each in Builder.read_all(folder, None, problems) if each.phrases]
    assert record.phrases[0].box == (0, 0, 0.5, 0.5)


def test_one_split_is_split_at_random(folder, read):
    folder.mkdir()
    write_tar(folder / "train-0.tar", THREE)
    found, problems = read(Builder, folder)
    assert {name: len(part) for name, part in found.items()} == {"train": 1, "val": 1, "test": 1}
    assert problems.decisions[0] == "all images are in one split, train"


def test_a_bad_member_costs_its_image_only(folder, read):
    folder.mkdir()
    members = {
        "bad.jpg": JPEG,
        "bad.json": b"{",
        "deep.jpg": JPEG,
        "deep.json": b"[" * 200_000,
        "kept.jpg": JPEG,
        "kept.json": b"[]",
        "kept.txt": b"a dog d\xe9j\xe0 vu",
        "two.jpg": JPEG,
        "two.png": JPEG,
        "two.json": b'{"caption": "a", "text": "b"}',
        "long.jpg": JPEG,
        "long.txt": b"a dog " * (1 << 18),
        "alone.txt": b"a dog",
        "../out.jpg": JPEG,
        "../out.txt": b"a dog",
        "._0.jpg": b"x",
        "__MACOSX/0.jpg": b"x",
    }
    with tarfile.open(folder / "x.tar", "w") as tar:
        for name, content in {**THREE, **members}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for kind in (tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo("link.jpg")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    os.mkfifo(folder / "pipe.tar")
    (folder / "lost.tar").symlink_to("nowhere")
    found, problems = read(Builder, folder)
    names = {f"x.tar/{n}.jpg": ["a dog"] for n in range(3)}
    assert sentences(found) == {**names, "x.tar/kept.jpg": ["a dog déjà vu"]}
    assert sorted(problems.skipped) == [
        "lost.tar: cannot be read (No such file or directory)",
        "pipe.tar: cannot be read (not a regular file)",
        "x.tar/../out.jpg: leads out of the folder of images",
        "x.tar/bad.jpg: no sentences",
        "x.tar/deep.jpg: no sentences",
        "x.tar/long.jpg: no sentences",
        "x.tar/two.jpg: no sentences",
    ]
    assert problems.notes == [
        "x.tar: images beside another of the same name: two.png",
        "x.tar: texts of more than 1,048,576 bytes: long.txt",
        "x.tar: texts without an image: alone",
        "x.tar: 2 texts that are not JSON: x.tar/bad.jpg, x.tar/deep.jpg",
        "x.tar: 1 texts that are not UTF-8 were read as Latin-1: x.tar/kept.jpg",
        "x.tar: 1 texts that are not objects: x.tar/kept.jpg",
        "x.tar: 1 texts without exactly one of sentences, captions, sentence, caption, text: "
        "x.tar/two.jpg",
    ]


def test_damage_of_a_tar_file_costs_what_follows(folder, tmp_path):
    folder.mkdir()
    whole = folder / "a.tar"
    write_tar(whole, {**THREE, "9.txt": b"a dog", "9.jpg": JPEG})
    data = whole.read_bytes()
    end = data.rindex(JPEG) + len(JPEG)
    whole.write_bytes(data[: end - 1])  # the last image lacks a byte
    (folder / "b.tar").write_bytes(b"\x1f\x8b" + bytes(600))
    (folder / "c.tar").write_bytes(data[: 512 * 7])
    (folder / "d.tar").write_bytes(b"")
    endless = tarfile.TarInfo("0.jpg")
    endless.size = -512  # so that the next header is this one again
    (folder / "e.tar").write_bytes(endless.tobuf(tarfile.GNU_FORMAT) * 3)
    report = check_dataset(Config(dataset="webdataset", data_dir=str(folder)))
    assert sum(split.pictures for split in report.splits.values()) == 3
    text = "\n".join(report.problems)
    assert "a.tar: what follows image 4 is damaged (unexpected end of data)" in text
    assert "a.tar/9.jpg: cannot be read (the file ends early)" in text
    assert "b.tar: what follows image 0 is damaged" in text
    assert "e.tar: what follows image 0 is damaged (a header has a wrong size)" in text


def test_a_folder_without_tar_files_is_an_error(folder):
    folder.mkdir()
    with pytest.raises(UserError, match=r"has no tar files; webdataset needs a folder of tar file"):
        Builder.read_all(folder, None, None)
