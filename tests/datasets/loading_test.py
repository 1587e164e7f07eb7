"""Preparing once, reading in order, and never taking something half-made for finished."""

import functools
import io
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from visem_tf import datasets
from visem_tf.datasets import folder_builder, loading, schema
from visem_tf.datasets.loading import load_dataset
from visem_tf.errors import UserError

REPOSITORY = Path(__file__).parents[2]


def phrase(sentence, first, last, text, box, number):
    return {
        "sentence": sentence,
        "first": first,
        "last": last,
        "text": text,
        "bbox": tfds.features.BBox(*box),
        "object": number,
        "type": "things",
    }


# Sentences of different numbers, phrases in some pictures only.
EXAMPLES = [
    ("p0", ["a red dog", "a cat"], [phrase(1, 1, 1, "cat", (0.0, 0.25, 0.5, 1.0), 3)]),
    ("p1", ["nothing"], []),
    (
        "p2",
        ["one", "two", "three dogs"],
        [
            phrase(0, 0, 0, "one", (0.0, 0.0, 1.0, 1.0), 0),
            phrase(2, 0, 1, "three dogs", (0.5, 0.5, 0.75, 1.0), 1),
        ],
    ),
]


class Drawn(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A data set that is made, not read, in two sizes."""

    name = "drawn"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name="smoke"),
        tfds.core.BuilderConfig(name="large"),
    ]

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=schema.features())

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in schema.SPLITS}

    def _generate_examples(self, split):
        repeats = 200 if self.builder_config.name == "large" else 1
        for repeat in range(repeats):
            for name, sentences, phrases in EXAMPLES:
                image_id = f"{split}_{repeat}_{name}"
                yield (
                    image_id,
                    {
                        "image_id": image_id,
                        "file_name": f"{name}.jpg",
                        # No picture at all: reading must hand it on as it is.
                        "image": f"bytes of {image_id}".encode(),
                        "sentences": sentences,
                        "phrases": phrases,
                    },
                )


@pytest.fixture
def drawn(monkeypatch):
    """Makes the data set `drawn` known."""
    monkeypatch.setattr(loading, "builder_class", lambda name: Drawn)


def load_flickr8k(flickr8k, tmp_path, **options):
    return load_dataset("flickr8k", cache_dir=tmp_path / "cache", data_dir=flickr8k.root, **options)


@pytest.mark.usefixtures("drawn")
# In "large", more than one batch is read.
@pytest.mark.parametrize("config", ["smoke", pytest.param("large", marks=pytest.mark.slow)])
def test_texts_phrases_and_pictures_belong_together(tmp_path, config):
    dataset = load_dataset("drawn", cache_dir=tmp_path, config=config)
    expected = {name: (sentences, phrases) for name, sentences, phrases in EXAMPLES}
    for name, split in dataset.splits.items():
        assert split.name == name
        assert (
            len(split.image_ids) == len(set(split.image_ids)) == (3 if config == "smoke" else 600)
        )
        pictures = list(split.pictures().as_numpy_iterator())
        assert pictures == [f"bytes of {image_id}".encode() for image_id in split.image_ids]
        assert len(split.pictures()) == len(split.image_ids)
        references = split.references()
        assert list(references) == split.image_ids
        for image_id, sentences in references.items():
            assert sentences == expected[image_id.split("_")[2]][0]
        by_id = dict(zip(split.sentence_ids, split.sentences, strict=True))
        assert all(by_id[f"{i}#{k}"] == s for i, r in references.items() for k, s in enumerate(r))
        assert split.image_index.dtype == np.int32
        phrases = split.phrases
        assert (phrases.sentence_index.dtype, phrases.object.dtype) == (np.int32, np.int32)
        assert (phrases.boxes.dtype, phrases.boxes.shape[1]) == (np.float32, 4)
        for index, sentence in enumerate(phrases.sentence_index):
            words = split.sentences[sentence].split()
            assert phrases.text[index] == " ".join(
                words[phrases.first[index] : phrases.last[index] + 1]
            )
            picture = split.image_ids[split.image_index[sentence]].split("_")[2]
            same = [p for p in expected[picture][1] if p["text"] == phrases.text[index]]
            assert same[0]["object"] == phrases.object[index]
            np.testing.assert_array_equal(list(same[0]["bbox"]), phrases.boxes[index])
        assert len(phrases.text) == len(split.image_ids)


@pytest.mark.usefixtures("drawn")
def test_the_order_is_the_same_every_time(tmp_path, monkeypatch):
    """With several files too, which TensorFlow Datasets would read in parallel and shuffle."""
    in_three_files = functools.partial(tfds.download.DownloadConfig, num_shards=3)
    monkeypatch.setattr(tfds.download, "DownloadConfig", in_three_files)
    first = load_dataset("drawn", cache_dir=tmp_path / "a").splits["train"]
    again = load_dataset("drawn", cache_dir=tmp_path / "a").splits["train"]
    elsewhere = load_dataset("drawn", cache_dir=tmp_path / "b").splits["train"]
    assert first.image_ids == again.image_ids == elsewhere.image_ids
    assert len(list((tmp_path / "a").rglob("*train.tfrecord*"))) == 3
    expected = [f"bytes of {image_id}".encode() for image_id in first.image_ids]
    for _ in range(3):
        assert list(first.pictures().as_numpy_iterator()) == expected


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
def test_configurations_are_kept_apart_and_checked(tmp_path):
    smoke = load_dataset("drawn", cache_dir=tmp_path)
    assert (
        smoke.fingerprint == load_dataset("drawn", cache_dir=tmp_path, config="smoke").fingerprint
    )
    assert (
        smoke.fingerprint != load_dataset("drawn", cache_dir=tmp_path, config="large").fingerprint
    )
    with pytest.raises(UserError, match="not 'smok'; did you mean smoke"):
        load_dataset("drawn", cache_dir=tmp_path, config="smok")
    with pytest.raises(UserError, match="not read from a folder"):
        load_dataset("drawn", cache_dir=tmp_path, data_dir=tmp_path)


def test_the_second_load_reads_no_picture_and_a_split_holds_none(flickr8k, tmp_path, monkeypatch):
    first = load_flickr8k(flickr8k, tmp_path)
    monkeypatch.setattr(folder_builder, "read_image", lambda path: pytest.fail("read again"))
    second = load_flickr8k(flickr8k, tmp_path)
    assert second.fingerprint == first.fingerprint
    split = second.splits["train"]
    assert split.sentences == first.splits["train"].sentences
    assert isinstance(split.pictures(), tf.data.Dataset)
    assert split.pictures().element_spec == tf.TensorSpec([], tf.string)
    assert not [value for value in vars(split).values() if isinstance(value, bytes | tf.Tensor)]
    with pytest.raises(AttributeError):
        split.name = "other"


def test_any_change_of_the_sources_is_noticed(flickr8k, tmp_path):
    found = [load_flickr8k(flickr8k, tmp_path)]
    flickr8k.set_caption("300_a.jpg#0", "Changed .")
    found.append(load_flickr8k(flickr8k, tmp_path))
    flickr8k.split_file("test").write_text("301_b.jpg\n")
    found.append(load_flickr8k(flickr8k, tmp_path))
    (flickr8k.pictures / "301_b.jpg").unlink()
    flickr8k.split_file("test").write_text("301_b.jpg\n300_a.jpg\n")
    found.append(load_flickr8k(flickr8k, tmp_path))
    assert len({dataset.fingerprint for dataset in found}) == 4
    first, second = (dataset.splits["test"] for dataset in found[:2])
    assert second.sentences != first.sentences
    assert second.picture_digest == first.picture_digest


def test_a_copy_is_the_same_data_and_a_changed_picture_of_the_same_size_is_not(flickr8k, tmp_path):
    first = load_flickr8k(flickr8k, tmp_path)
    (flickr8k.pictures / "Thumbs.db").write_text("x")  # which is not read
    (flickr8k.root / "cache").mkdir()
    flickr8k.root = flickr8k.root.rename(tmp_path / "moved")
    picture = flickr8k.root / flickr8k.pictures.name / "300_a.jpg"
    os.utime(picture, (1, 1))  # as a copy has another time
    second = load_flickr8k(flickr8k, tmp_path)
    assert second.fingerprint == first.fingerprint
    content = bytearray(picture.read_bytes())
    content[-3] ^= 1
    picture.write_bytes(bytes(content))
    third = load_flickr8k(flickr8k, tmp_path)
    assert third.problems == first.problems
    assert third.fingerprint != first.fingerprint
    digests = [{n: s.picture_digest for n, s in d.splits.items()} for d in (first, third)]
    assert digests[0]["test"] != digests[1]["test"] and digests[0]["val"] == digests[1]["val"]


@pytest.mark.slow
def test_a_kill_while_preparing_leaves_nothing_that_counts(flickr8k, tmp_path):
    code = f"""
        import os, signal
        from visem_tf.datasets import folder_builder, loading

        read_image, count = folder_builder.read_image, 0

        def read_then_die(data, name):
            global count
            count += 1
            if "30" in os.path.basename(name):  # two of three splits are written by then
                os.kill(os.getpid(), signal.SIGKILL)
            return read_image(data, name)

        folder_builder.read_image = read_then_die
        loading.load_dataset("flickr8k", cache_dir={str(tmp_path / "cache")!r},
                             data_dir={str(flickr8k.root)!r})
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    killed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False)
    assert killed.returncode == -9, killed.stderr.decode()
    leftovers = list((tmp_path / "cache").rglob("incomplete.*"))
    assert any(path.is_dir() for path in leftovers)
    dataset = load_flickr8k(flickr8k, tmp_path)
    assert [len(split.image_ids) for split in dataset.splits.values()] == [4, 2, 2]
    assert not list((tmp_path / "cache").rglob("incomplete.*"))


def test_an_error_while_preparing_leaves_nothing_that_counts(flickr8k, tmp_path, monkeypatch):
    def fail(data, name):
        raise KeyboardInterrupt if "30" in Path(name).name else ValueError("a bug")

    monkeypatch.setattr(folder_builder, "read_image", fail)
    with pytest.raises(ValueError, match="a bug"):
        load_flickr8k(flickr8k, tmp_path)
    monkeypatch.undo()
    assert not list((tmp_path / "cache").rglob("*.tfrecord*"))
    assert load_flickr8k(flickr8k, tmp_path).problems == []


def test_a_disk_that_fills_up_while_preparing_is_the_users_to_free(flickr8k, tmp_path, monkeypatch):
    def fail(*arguments, **keywords):
        full = tf.errors.ResourceExhaustedError(None, None, "No space left on device")
        raise RuntimeError("Failed to finalize writing") from full

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(UserError, match="cannot prepare flickr8k in .*No space left"):
        load_flickr8k(flickr8k, tmp_path)


def test_damaged_files_are_reported_with_the_folder_to_delete(flickr8k, tmp_path):
    load_flickr8k(flickr8k, tmp_path)
    record_file = next((tmp_path / "cache").rglob("*val.tfrecord*"))
    record_file.write_bytes(record_file.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"damaged; delete .*/cache/tfds-\w+ and start again"):
        load_flickr8k(flickr8k, tmp_path)


def test_a_cache_that_cannot_be_written_is_the_users_mistake(flickr8k, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match="cannot prepare flickr8k in .*--cache-dir"):
        load_flickr8k(flickr8k, tmp_path)


def test_preparing_is_silent_where_there_is_no_terminal(flickr8k, tmp_path, capfd, caplog):
    dataset = load_flickr8k(flickr8k, tmp_path)
    list(dataset.splits["train"].pictures())
    out, err = capfd.readouterr()
    assert out == ""
    assert "flickr8k" not in err
    assert "example" not in err
    assert caplog.records == []


def test_preparing_shows_its_progress_on_a_terminal(flickr8k, tmp_path, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    at_once = functools.partial(folder_builder.progress_bar, delay=0)
    monkeypatch.setattr(folder_builder, "progress_bar", at_once)
    load_flickr8k(flickr8k, tmp_path)
    assert "preparing flickr8k train" in terminal.getvalue()
    assert "/4 [" in terminal.getvalue()


@pytest.mark.parametrize("name", ["flicker8k", "Flickr8K", "flickr8", "flickr8k."])
def test_an_unknown_name_gets_the_nearest_one(tmp_path, name):
    with pytest.raises(UserError, match=r"dataset must be one of .*did you mean flickr8k\?"):
        load_dataset(name, cache_dir=tmp_path)


def test_a_name_like_nothing_gets_the_list(tmp_path):
    with pytest.raises(UserError) as caught:
        load_dataset("xyz", cache_dir=tmp_path)
    assert "did you mean" not in str(caught.value)
    assert "flickr8k, image_folder, json_lines" in str(caught.value)


def test_every_folder_with_a_builder_is_available_and_importable():
    folders = {
        path.parent.name for path in (REPOSITORY / "datasets").glob("*/*_dataset_builder.py")
    }
    assert set(datasets.available()) == folders >= {"flickr8k", "scenes"}
    for name in folders:
        builder = datasets.builder_class(name)
        assert builder.name == name
