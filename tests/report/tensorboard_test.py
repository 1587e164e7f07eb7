from pathlib import Path

import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from visem_tf.report.tensorboard import (
    write_captions,
    write_hyperparameters,
    write_images,
)


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return events


def test_images_have_a_readable_tag_each(tmp_path: Path):
    images = {name: Image.new("RGB", (50, 40)) for name in ("best/one.jpg", "worst/<b>.png")}
    write_images(tmp_path, 7, images, tag="alignment")
    events = read(tmp_path)
    assert events.Tags()["tensors"] == ["alignment/best/one.jpg", "alignment/worst/<b>.png"]
    (event,) = events.Tensors("alignment/best/one.jpg")
    assert event.step == 7
    encoded = event.tensor_proto.string_val[2]
    assert tf.io.decode_png(encoded).shape == [40, 50, 3]


def test_captions_are_a_table_that_they_cannot_break(tmp_path: Path):
    captions = {"one.jpg": "a | b", "<two>.jpg": "two\nlines"}
    write_captions(tmp_path, 3, captions, {"one.jpg": ["written", "not shown"]})
    (event,) = read(tmp_path).Tensors("captions")
    lines = tf.make_ndarray(event.tensor_proto).item().decode().splitlines()
    assert event.step == 3
    assert lines[2:] == [r"| one.jpg | a \| b | written |", "| &lt;two>.jpg | two lines |  |"]


def test_captions_of_nothing_that_people_wrote_have_no_column_for_it(tmp_path: Path):
    write_captions(tmp_path, 1, {"one.jpg": "a; b"}, tag="regions")
    [event] = read(tmp_path).Tensors("regions")
    text = tf.make_ndarray(event.tensor_proto).item().decode()
    assert text.splitlines() == ["| image | generated |", "|---|---|", "| one.jpg | a; b |"]


def test_hyperparameters_stand_with_their_figures_in_a_file_of_their_own(tmp_path: Path):
    settings = {"align.margin": 1.0, "dataset": "scenes", "align.train_words": True}
    write_hyperparameters(tmp_path, settings, {"r1": 12.5}, suffix=".report")
    assert len(list(tmp_path.glob("events.*.report"))) == 1
    events = read(tmp_path)
    assert float(tf.make_ndarray(events.Tensors("metrics/r1")[0].tensor_proto)) == 12.5
    content = events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    for name in settings:
        assert name.encode() in content
    figures = events.PluginTagToContent("hparams")["_hparams_/experiment"]
    assert b"metrics/r1" in figures
