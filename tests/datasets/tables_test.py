"""Tables of captions: header synonyms, delimiters, quotes, and Parquet."""

import pyarrow as pa
import pytest
from pyarrow import parquet

from visem_tf.datasets.formats.captions import read_table, table_records
from visem_tf.datasets.problems import Problems
from visem_tf.errors import UserError

ROWS = [("b.jpg", "A dog; really, a dog | here."), ("b.jpg", 'It says "stop".'), ("a.png", "A cat")]


@pytest.fixture
def rows(tmp_path):
    """Reads a text as a table: names and captions, and the problems."""

    def rows(text, name="captions.txt"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        problems = Problems()
        return [(row.name, row.caption) for row in read_table(path, problems)], problems

    return rows


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    "header",
    [
        ("image", "caption"),
        ("caption", "image"),
        ("id", "File_Name", "split", "text"),
        ("comment", "number", "image_name"),
    ],
)
def test_a_header_names_columns_in_any_order(rows, delimiter, header):
    images = {"image", "File_Name", "image_name"}
    captions = {"caption", "text", "comment"}
    quoted = [(name, '"' + text.replace('"', '""') + '"') for name, text in ROWS]
    lines = [delimiter.join(header)]
    for name, caption in quoted:
        value = {**dict.fromkeys(images, name), **dict.fromkeys(captions, caption)}
        lines.append(delimiter.join(value.get(column, "") for column in header))
    found, problems = rows(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert found == ROWS
    assert problems.notes == []
    unused = ["captions.txt: the columns File_Name, split, text are read; 1 others are not used"]
    assert problems.decisions == (unused if "id" in header else [])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_without_a_header_a_line_starts_with_the_name(rows, delimiter):
    plain = [(name, caption.replace('"', "'")) for name, caption in ROWS]
    text = "\n".join(delimiter.join(row) for row in plain)
    assert rows(text)[0] == plain
    numbered = "\n".join(
        f"{name}{delimiter}{9 - n}{delimiter}{c}" for n, (name, c) in enumerate(plain)
    )
    assert rows(numbered)[0] == plain


def test_numbers_order_the_captions_of_an_image(tmp_path):
    path = tmp_path / "captions.tsv"
    path.write_text("a.jpg\t1\tsecond\na.jpg\t0\tfirst\na.jpg\t0\tagain\n")
    problems = Problems()
    [record] = table_records(read_table(path, problems), tmp_path)
    assert record.sentences == ["first", "again", "second"]
    assert problems.notes == ["captions.tsv: kept captions that share a number: a.jpg#0"]


def test_names_with_numbers_of_captions_are_names(rows):
    assert rows("image,caption\na.jpg#0,A dog\na.jpg#1,Two\n")[0] == [
        ("a.jpg", "A dog"),
        ("a.jpg", "Two"),
    ]


def test_a_line_without_the_bar_after_the_number_keeps_its_caption(rows):
    text = "image_name| comment_number| comment\na.jpg| 0| One .\na.jpg| 4   A dog runs .\n"
    found, problems = rows(text)
    assert found == [("a.jpg", "One ."), ("a.jpg", "A dog runs .")]
    assert problems == Problems()


def test_delimiters_without_quotes_stay_in_the_caption_wherever_its_column_is(rows):
    found, problems = rows("caption,image\nA dog, wet,a.jpg\nshort\n")
    assert found == [("A dog, wet", "a.jpg")[::-1]]
    assert problems.notes == [
        "captions.txt: skipped 1 lines that are not caption,image: 3",
        "captions.txt: kept commas without quotes in the captions of 1 lines: 2",
    ]


def test_a_quote_that_stays_open_costs_its_line_only(rows):
    lines = ['x;"A dog;a.jpg', 'x;"Two\nlines";b.jpg', "x;Third;c.jpg"]
    found, _ = rows("\n".join(["key;caption;image", *lines]))
    assert found == [("a.jpg", '"A dog'), ("b.jpg", "Two lines"), ("c.jpg", "Third")]


def test_long_captions_are_read(rows):
    long = "dog " * 50_000
    assert rows(f'image,caption\na.jpg,"{long}"\n')[0] == [("a.jpg", long.strip())]


@pytest.mark.parametrize("text", ["photo,words\na.jpg,A dog\n", "photo\twords\na.jpg\tA dog\n", ""])
def test_a_header_that_does_not_fit_is_quoted(rows, text):
    header = text.split("\n")[0]
    with pytest.raises(UserError) as caught:
        rows(text)
    assert f"starts with the line {header!r}, which names no columns" in str(caught.value)


def test_parquet_is_read_with_lists_and_splits(tmp_path):
    path = tmp_path / "captions.parquet"
    columns = {
        "filename": ["a.jpg", "b.jpg", None],
        "caption": [["A dog", "Two"], ["A cat"], ["lost"]],
        "split": ["train", "test", "test"],
        "size": [1, 2, 3],
    }
    parquet.write_table(pa.table(columns), path)
    problems = Problems()
    records = table_records(read_table(path, problems), tmp_path)
    assert [(r.file_name, r.sentences, r.split) for r in records] == [
        ("a.jpg", ["A dog", "Two"], "train"),
        ("b.jpg", ["A cat"], "test"),
    ]
    assert problems.notes == [
        "captions.parquet: skipped 1 rows without an image name or a caption: 2"
    ]
    parquet.write_table(pa.table({"photo": ["a.jpg"]}), path)
    with pytest.raises(UserError, match="has the columns photo, which name no images"):
        read_table(path, problems)
    parquet.write_table(pa.table({"image": [{"bytes": b"x"}], "caption": ["A dog"]}), path)
    with pytest.raises(UserError, match="contains images without their paths; save them as files"):
        read_table(path, problems)
    path.write_bytes(b"no parquet")
    with pytest.raises(UserError, match=r"cannot read .*captions\.parquet"):
        read_table(path, problems)


def test_images_in_parquet_are_not_read_into_memory(tmp_path):
    path = tmp_path / "captions.parquet"
    names = [f"{number}.jpg" for number in range(4)]
    images = [{"bytes": bytes([number]) * (1 << 22), "path": n} for number, n in enumerate(names)]
    table = pa.table({"image": images, "caption": ["A dog"] * 4})
    parquet.write_table(table, path, compression="none", use_dictionary=False)
    pool = pa.default_memory_pool()
    counted = pa.proxy_memory_pool(pool)
    pa.set_memory_pool(counted)
    try:
        rows = read_table(path, Problems())
    finally:
        pa.set_memory_pool(pool)
    assert [row.name for row in rows] == names
    assert counted.max_memory() < 1 << 20
