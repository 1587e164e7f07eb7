"""A tiny Flickr8K in the form of the real one, made anew for each test."""

import io
import json

import pytest
from PIL import Image

import dummy_data
from visem_tf.config import DataConfig
from visem_tf.datasets.flickr8k.flickr8k_dataset_builder import SPLIT_FILES
from visem_tf.datasets.problems import Problems

SPLIT_NAMES = {
    "train": ["100_a.jpg", "101_b.jpg", "102_c.jpg", "103_d.jpg"],
    "val": ["200_a.jpg", "201_b.jpg"],
    "test": ["300_a.jpg", "301_b.jpg"],
}


def jpeg(number):
    """A picture of its own for each number."""
    buffer = io.BytesIO()
    Image.new("RGB", (9 + number % 5, 7), (number % 256, 60, 90)).save(buffer, "JPEG")
    return buffer.getvalue()


class TinyFlickr8k:
    """A folder in the distributed form, and ways to spoil it."""

    def __init__(self, root):
        self.root = root
        self.pictures = root / "Flicker8k_Dataset"
        self.pictures.mkdir(parents=True)
        self.names = [name for names in SPLIT_NAMES.values() for name in names]
        for number, name in enumerate(self.names):
            (self.pictures / name).write_bytes(jpeg(number * 20))
        for split, names in SPLIT_NAMES.items():
            self.split_file(split).write_text("\n".join(names) + "\n")
        self.lines = [f"{name}#{k}\tA dog {k} in {name} ." for name in self.names for k in range(5)]
        self.write_tokens()

    def split_file(self, split):
        return self.root / SPLIT_FILES[split]

    @property
    def token_file(self):
        return self.root / "Flickr8k.token.txt"

    def write_tokens(self, line_end="\n", start=""):
        text = start + line_end.join(self.lines) + line_end
        self.token_file.write_bytes(text.encode("utf-8"))

    def set_caption(self, identifier, caption):
        """Replaces one caption."""
        index = [line.split("\t")[0] for line in self.lines].index(identifier)
        self.lines[index] = f"{identifier}\t{caption}"
        self.write_tokens()


@pytest.fixture
def flickr8k(tmp_path):
    return TinyFlickr8k(tmp_path / "flickr8k")


OWN_PICTURES = dummy_data.draw_images(train=4, val=2, test=2)


@pytest.fixture
def folder(tmp_path):
    """Where `write` puts own pictures."""
    return tmp_path / "data"


@pytest.fixture
def write():
    """Writes eight pictures with five sentences each into a folder, in a format."""
    return lambda name, folder: dummy_data.write(name, folder, OWN_PICTURES)


@pytest.fixture
def read():
    """Reads the sentences of each file name by split, and the problems, without preparing."""

    def read(builder, folder, **options):
        problems = Problems()
        records = builder.read_records(folder, DataConfig(**options), problems)
        found = {
            split: {record.file_name: list(record.sentences) for record in part}
            for split, part in records.items()
        }
        return found, problems

    return read


@pytest.fixture
def edit():
    """Changes what a file of JSON holds."""

    def edit(path, change):
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    return edit
