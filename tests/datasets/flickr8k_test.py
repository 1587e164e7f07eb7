"""Flickr8K as distributed, and everything that may be odd about it."""

import codecs
import csv
import io
import shutil

import numpy as np
import pytest
from PIL import Image

from visem_tf.config import DataConfig
from visem_tf.datasets.flickr8k.flickr8k_dataset_builder import SPLIT_FILES, Builder
from visem_tf.datasets.loading import load_dataset
from visem_tf.datasets.problems import Problems
from visem_tf.errors import UserError


def read(flickr8k):
    """Returns the captions of each picture by split, and the problems, without preparing."""
    problems = Problems()
    records = Builder.read_records(flickr8k.root, DataConfig(), problems)
    by_split = {
        split: {record.image_id: list(record.sentences) for record in split_records}
        for split, split_records in records.items()
    }
    return by_split, problems


def test_a_clean_folder_is_read_whole_and_has_no_problems(flickr8k, tmp_path):
    dataset = load_dataset("flickr8k", cache_dir=tmp_path / "cache", data_dir=flickr8k.root)
    assert dataset.problems == []
    assert {name: len(split.image_ids) for name, split in dataset.splits.items()} == {
        "train": 4,
        "val": 2,
        "test": 2,
    }
    test = dataset.splits["test"]
    assert sorted(test.image_ids) == ["300_a.jpg", "301_b.jpg"]
    assert test.file_names == test.image_ids
    assert test.references()["300_a.jpg"] == [f"A dog {k} in 300_a.jpg ." for k in range(5)]
    # The ids are those of the distributed file.
    assert dict(zip(test.sentence_ids, test.sentences, strict=True)) == dict(
        line.split("\t") for line in flickr8k.lines[-10:]
    )
    assert test.phrases is None
    for name, data in zip(test.file_names, test.pictures().as_numpy_iterator(), strict=True):
        assert data == (flickr8k.pictures / name).read_bytes()


@pytest.mark.parametrize("folder", ["Flickr8k_Dataset", "Images"])
def test_other_names_of_the_picture_folder(flickr8k, folder):
    flickr8k.pictures.rename(flickr8k.root / folder)
    by_split, problems = read(flickr8k)
    assert len(by_split["train"]) == 4
    assert problems == Problems()


def test_of_two_picture_folders_the_official_one_is_used_and_said(flickr8k):
    (flickr8k.root / "Images").mkdir()
    by_split, problems = read(flickr8k)
    assert len(by_split["train"]) == 4
    assert problems.decisions == ["Flicker8k_Dataset is read; Images is not used"]


@pytest.mark.parametrize(
    "missing", [*SPLIT_FILES.values(), "Flickr8k.token.txt", "Flicker8k_Dataset"]
)
def test_what_is_missing_is_named(flickr8k, tmp_path, missing):
    (flickr8k.root / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(UserError) as caught:
        load_dataset("flickr8k", cache_dir=tmp_path / "cache", data_dir=flickr8k.root)
    message = str(caught.value)
    assert str(flickr8k.root) in message.split(";")[0]
    assert missing in message.split(";")[0]
    assert "\n" not in message


@pytest.mark.parametrize("data_dir", [None, "nowhere"])
def test_without_a_folder_the_message_says_how_to_get_the_data(tmp_path, data_dir):
    data_dir = data_dir and tmp_path / data_dir
    with pytest.raises(UserError) as caught:
        load_dataset("flickr8k", cache_dir=tmp_path / "cache", data_dir=data_dir)
    message = str(caught.value)
    for needed in ("Flicker8k_Dataset", "Flickr8k.token.txt", *SPLIT_FILES.values(), "https://"):
        assert needed in message
    assert "\n" not in message
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("line_end", "start"),
    [("\r\n", ""), ("\r", ""), ("\n", "\ufeff"), ("\r\n", "\ufeff")],
)
def test_line_ends_and_byte_order_marks_change_nothing(flickr8k, line_end, start):
    expected = read(flickr8k)
    flickr8k.write_tokens(line_end, start)
    for split in SPLIT_FILES:
        path = flickr8k.split_file(split)
        path.write_bytes((start + path.read_text().replace("\n", line_end)).encode("utf-8"))
    assert read(flickr8k) == expected


def test_utf_16_with_a_byte_order_mark_is_read(flickr8k):
    expected = read(flickr8k)
    text = flickr8k.token_file.read_text(encoding="utf-8")
    flickr8k.token_file.write_bytes(codecs.BOM_UTF16_LE + text.encode("utf-16-le"))
    assert read(flickr8k) == expected


def test_latin_1_bytes_are_read_and_listed(flickr8k):
    flickr8k.set_caption("100_a.jpg#0", "A caf\xe9 .")
    flickr8k.set_caption("100_a.jpg#1", "A café too .")
    data = flickr8k.token_file.read_bytes()
    flickr8k.token_file.write_bytes(data.replace("A café .".encode(), b"A caf\xe9 ."))
    by_split, problems = read(flickr8k)
    assert by_split["train"]["100_a.jpg"][:2] == ["A café .", "A café too ."]
    assert problems.notes == [
        "Flickr8k.token.txt: lines that are not UTF-8 were read as Latin-1: 1"
    ]


@pytest.mark.parametrize(
    "caption",
    [
        "A dog \U0001f436 plays .",
        "Ein Hund läuft über die Straße .",
        "一只狗在草地上",
        "كلب يجري",
        "A dog # 1 .",
        'He says "hello, dog" .',
        "line\u2028separator and form\x0cfeed",
        "word " * 10_000 + "end",
        "tab\tinside",
    ],
)
def test_unusual_captions_are_kept_as_they_are(flickr8k, tmp_path, caption):
    flickr8k.set_caption("300_a.jpg#2", caption)
    by_split, problems = read(flickr8k)
    assert by_split["test"]["300_a.jpg"][2] == caption
    assert problems == Problems()


def test_unusual_captions_survive_preparing(flickr8k, tmp_path):
    captions = ["\U0001f436 dog", "一只狗", "word " * 10_000 + "end", "A dog .", "A dog ."]
    for k, caption in enumerate(captions):
        flickr8k.set_caption(f"300_a.jpg#{k}", caption)
    dataset = load_dataset("flickr8k", cache_dir=tmp_path / "cache", data_dir=flickr8k.root)
    assert dataset.splits["test"].references()["300_a.jpg"] == captions
    assert dataset.problems == []


def test_captions_without_words_are_dropped_and_listed(flickr8k):
    for k, caption in enumerate(["", "  ", " . , !", "\U0001f436"]):
        flickr8k.set_caption(f"300_a.jpg#{k}", caption)
    by_split, problems = read(flickr8k)
    assert by_split["test"]["300_a.jpg"] == ["A dog 4 in 300_a.jpg ."]
    [note] = problems.notes
    assert note.startswith("dropped sentences without words: '' of 300_a.jpg, '' of 300_a.jpg, ")
    assert "'. , !' of 300_a.jpg" in note
    assert problems.skipped == []


def test_a_picture_without_captions_is_skipped(flickr8k):
    flickr8k.lines = [line for line in flickr8k.lines if not line.startswith("101_b")]
    flickr8k.write_tokens()
    by_split, problems = read(flickr8k)
    assert "101_b.jpg" not in by_split["train"]
    assert problems.skipped == ["train: 101_b.jpg: no sentences"]


def test_a_picture_in_two_splits_is_kept_for_evaluation(flickr8k):
    for split, other in (("train", "test"), ("train", "val"), ("val", "test")):
        with flickr8k.split_file(split).open("a") as file:
            file.write(flickr8k.split_file(other).read_text().split()[0] + "\n")
    by_split, problems = read(flickr8k)
    assert {split: len(records) for split, records in by_split.items()} == {
        "train": 4,
        "val": 2,
        "test": 2,
    }
    assert sorted(problems.notes) == [
        "200_a.jpg is in train and val: kept in val",
        "300_a.jpg is in train and val: kept in val",
        "300_a.jpg is in val and test: kept in test",
    ]


def test_a_picture_named_twice_in_a_split_is_read_once(flickr8k):
    with flickr8k.split_file("test").open("a") as file:
        file.write("\n300_a.jpg  \n")
    by_split, problems = read(flickr8k)
    assert len(by_split["test"]) == 2
    assert problems.notes == ["Flickr_8k.testImages.txt names some images more than once"]


def test_pictures_in_no_split_are_listed_together(flickr8k):
    flickr8k.lines += [f"90{n}.jpg#0\tA cat ." for n in range(7)]
    flickr8k.write_tokens()
    by_split, problems = read(flickr8k)
    assert sum(map(len, by_split.values())) == 8
    assert problems.decisions == [
        "7 images are in no split and are not used: "
        "900.jpg, 901.jpg, 902.jpg, 903.jpg, 904.jpg and 2 more"
    ]


def test_the_bad_name_of_the_original_goes_to_its_picture(flickr8k):
    flickr8k.lines = [line.replace("101_b.jpg#", "101_b.jpg.1#") for line in flickr8k.lines]
    flickr8k.lines.append("2258277193_586949ec62.jpg.1#0\tA man .")
    flickr8k.write_tokens()
    by_split, problems = read(flickr8k)
    assert len(by_split["train"]["101_b.jpg"]) == 5
    assert problems.skipped == []
    assert problems.notes == ["captions of 101_b.jpg.1 were taken as those of 101_b.jpg"]
    assert problems.decisions == [
        "1 images are in no split and are not used: 2258277193_586949ec62.jpg.1",
    ]


def test_the_bad_name_never_replaces_captions_that_are_there(flickr8k):
    flickr8k.lines.append("101_b.jpg.1#0\tA man .")
    flickr8k.write_tokens()
    by_split, problems = read(flickr8k)
    assert "A man ." not in by_split["train"]["101_b.jpg"]
    assert problems.decisions == ["1 images are in no split and are not used: 101_b.jpg.1"]


def test_lines_of_another_form_are_skipped_and_listed(flickr8k):
    flickr8k.lines[1:1] = ["no tab here", "", "100_a.jpg\tno number", "#1\tno name"]
    flickr8k.write_tokens()
    by_split, problems = read(flickr8k)
    assert len(by_split["train"]["100_a.jpg"]) == 5
    assert problems.notes == [
        "Flickr8k.token.txt: skipped 3 lines that are not name#number<TAB>caption: 2, 4, 5"
    ]


def test_captions_are_ordered_by_their_numbers(flickr8k):
    flickr8k.lines.reverse()
    flickr8k.lines.append("100_a.jpg#0\tA second first one .")
    flickr8k.write_tokens()
    by_split, problems = read(flickr8k)
    captions = [f"A dog {k} in 100_a.jpg ." for k in range(5)]
    assert by_split["train"]["100_a.jpg"] == [captions[0], "A second first one .", *captions[1:]]
    assert problems.notes == ["Flickr8k.token.txt: kept captions that share a number: 100_a.jpg#0"]


def write_csv(flickr8k, rows):
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([("image", "caption"), *rows])
    (flickr8k.root / "captions.txt").write_text(buffer.getvalue(), encoding="utf-8", newline="")


def test_the_csv_form_gives_the_same_with_quotes_commas_and_line_ends(flickr8k):
    flickr8k.set_caption("100_a.jpg#0", 'A dog, "Rex", runs .')
    flickr8k.set_caption("100_a.jpg#1", '"Rex" runs')
    expected = read(flickr8k)
    rows = [line.replace("#", "\t").split("\t")[::2] for line in flickr8k.lines]
    flickr8k.token_file.unlink()
    write_csv(flickr8k, rows)
    assert read(flickr8k) == expected
    rows[2][1] = "A dog 2\nin 100_a.jpg ."
    write_csv(flickr8k, rows)
    assert read(flickr8k) == expected


def test_broken_csv_quoting_stays_within_its_line(flickr8k):
    flickr8k.token_file.unlink()
    lines = ["image,caption"]
    lines += [f"{name},A dog {k} ." for name in flickr8k.names for k in range(5)]
    lines[1] = '100_a.jpg,"never closed'
    lines[2] = '100_a.jpg,a 5" ruler'
    lines[3] = "100_a.jpg,one, two, three"
    lines[4] = "100_a.jpg"
    (flickr8k.root / "captions.txt").write_text("\r\n".join(lines))
    by_split, problems = read(flickr8k)
    assert by_split["train"]["100_a.jpg"] == [
        '"never closed',
        'a 5" ruler',
        "one, two, three",
        "A dog 4 .",
    ]
    assert len(by_split["train"]["101_b.jpg"]) == 5
    assert problems.notes == [
        "captions.txt: skipped 1 lines that are not image,caption: 5",
        "captions.txt: kept commas without quotes in the captions of 1 lines: 4",
    ]


def test_a_csv_with_another_header_is_an_error(flickr8k):
    flickr8k.token_file.unlink()
    (flickr8k.root / "captions.txt").write_text("photo,words\n100_a.jpg,A dog\n")
    with pytest.raises(UserError, match=r"captions\.txt starts with the line 'photo,words', which"):
        read(flickr8k)


def test_of_two_caption_files_the_official_one_is_used_and_said(flickr8k):
    expected, _ = read(flickr8k)
    write_csv(flickr8k, [(name, "Something else .") for name in flickr8k.names])
    by_split, problems = read(flickr8k)
    assert by_split == expected
    assert problems.decisions == ["Flickr8k.token.txt is read; captions.txt is not used"]


def test_missing_and_unreadable_pictures_are_skipped_counted_and_remembered(flickr8k, tmp_path):
    (flickr8k.pictures / "100_a.jpg").unlink()
    (flickr8k.pictures / "101_b.jpg").write_bytes(b"")
    (flickr8k.pictures / "200_a.jpg").write_text("a text file")
    whole = flickr8k.pictures / "300_a.jpg"
    whole.write_bytes(whole.read_bytes()[:-300])
    arguments = {"cache_dir": tmp_path / "cache", "data_dir": flickr8k.root}
    dataset = load_dataset("flickr8k", **arguments)
    assert [len(dataset.splits[split].image_ids) for split in ("train", "val", "test")] == [2, 1, 1]
    assert sorted(line.partition(" (")[0] for line in dataset.skipped) == [
        "test: 300_a.jpg: damaged image",
        "train: 100_a.jpg: not in Flicker8k_Dataset",
        "train: 101_b.jpg: the file is empty",
        "val: 200_a.jpg: not an image in a known format",
    ]
    assert dataset.problems == [f"skipped {line}" for line in dataset.skipped]
    again = load_dataset("flickr8k", **arguments)
    assert again.problems == dataset.problems
    with pytest.raises(UserError, match=r"4 images cannot be used, the first is train: 100_a\.jpg"):
        load_dataset("flickr8k", **arguments, strict=True)


@pytest.mark.parametrize("how", ["missing", "unreadable", "no captions", "empty split file"])
def test_nothing_left_of_a_split_is_an_error(flickr8k, tmp_path, how):
    if how == "missing":
        for name in ("200_a.jpg", "201_b.jpg"):
            (flickr8k.pictures / name).unlink()
    elif how == "unreadable":
        for name in ("200_a.jpg", "201_b.jpg"):
            (flickr8k.pictures / name).write_bytes(b"no")
    elif how == "no captions":
        flickr8k.lines = [line for line in flickr8k.lines if not line.startswith("20")]
        flickr8k.write_tokens()
    else:
        flickr8k.split_file("val").write_text("\n \n")
    with pytest.raises(UserError, match="no image of the val split"):
        load_dataset("flickr8k", cache_dir=tmp_path / "cache", data_dir=flickr8k.root)
    assert not list((tmp_path / "cache").rglob("*.tfrecord*"))


def test_names_that_lead_out_of_the_folder_are_not_followed(flickr8k):
    (flickr8k.root / "secret.jpg").write_bytes((flickr8k.pictures / "100_a.jpg").read_bytes())
    with flickr8k.split_file("train").open("a") as file:
        file.write("../secret.jpg\n")
    flickr8k.lines.append("../secret.jpg#0\tA secret .")
    flickr8k.write_tokens()
    by_split, problems = read(flickr8k)
    assert len(by_split["train"]) == 4
    assert problems.skipped == ["train: ../secret.jpg: leads out of the folder of images"]


def test_a_name_with_a_number_sign_gets_an_id_without(flickr8k):
    (flickr8k.pictures / "100_a.jpg").rename(flickr8k.pictures / "a#1.jpg")
    for path in (flickr8k.token_file, flickr8k.split_file("train")):
        path.write_text(path.read_text().replace("100_a.jpg", "a#1.jpg"))
    by_split, problems = read(flickr8k)
    assert len(by_split["train"]["a%231.jpg"]) == 5
    assert problems == Problems()


def test_odd_pictures_are_converted(flickr8k, tmp_path):
    path = flickr8k.pictures / "301_b.jpg"
    Image.new("CMYK", (6, 4)).save(path, "JPEG")
    dataset = load_dataset("flickr8k", cache_dir=tmp_path / "cache", data_dir=flickr8k.root)
    test = dataset.splits["test"]
    data = list(test.pictures().as_numpy_iterator())[test.image_ids.index("301_b.jpg")]
    with Image.open(io.BytesIO(data)) as picture:
        assert (picture.format, picture.mode) == ("PNG", "RGB")
        assert np.asarray(picture).min() == 255


def test_the_folder_of_the_data_set_documents_it():
    metadata = Builder.get_metadata()
    assert metadata.description.startswith("Flickr8K: 8,000 photographs")
    assert "hodosh2013framing" in metadata.citation
    assert "content.data-type.image" in metadata.tags
    assert Builder.name == "flickr8k"


def test_source_files_are_all_that_is_read(flickr8k):
    (flickr8k.pictures / "Thumbs.db").write_text("x")
    shutil.copy(flickr8k.pictures / "100_a.jpg", flickr8k.pictures / "in_no_split.jpg")
    names = {path.name for path in Builder.source_files(flickr8k.root, DataConfig())}
    assert names == {
        *flickr8k.names,
        "in_no_split.jpg",
        "Flickr8k.token.txt",
        *SPLIT_FILES.values(),
    }
