from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from visem_tf.report.tensorboard import (
    AlignedPicture,
    write_alignment_pictures,
    write_captions,
)


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return events


def test_pictures_have_a_readable_tag_each(tmp_path: Path):
    pictures = [
        AlignedPicture(name, Image.new("RGB", size), np.array([[0, 0, 1, 0.5]]), ["a ball"], "so")
        for name, size in (("best/one.jpg", (50, 40)), ("worst/<b>.png", (30, 60)))
    ]
    write_alignment_pictures(tmp_path, 7, pictures)
    events = read(tmp_path)
    assert events.Tags()["tensors"] == ["alignment/best/one.jpg", "alignment/worst/<b>.png"]
    (event,) = events.Tensors("alignment/best/one.jpg")
    assert event.step == 7
    encoded = event.tensor_proto.string_val[2]
    assert tf.io.decode_png(encoded).shape[1:] == [600, 3]


def test_captions_are_a_table_that_they_cannot_break(tmp_path: Path):
    captions = {"one.jpg": "a | b", "<two>.jpg": "two\nlines"}
    write_captions(tmp_path, 3, captions, {"one.jpg": ["written", "not shown"]})
    (event,) = read(tmp_path).Tensors("captions")
    lines = tf.make_ndarray(event.tensor_proto).item().decode().splitlines()
    assert event.step == 3
    assert lines[2:] == [r"| one.jpg | a \| b | written |", "| &lt;two>.jpg | two lines |  |"]
