import io

import numpy as np
import pytest
from PIL import Image

from visem_tf.report.drawing import COLOURS, MAX_SIDE, as_jpeg, draw_attention, draw_regions


def luminance(colour: str) -> float:
    parts = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("colour", COLOURS)
def test_white_text_can_be_read_on_every_colour(colour: str):
    assert 1.05 / (luminance(colour) + 0.05) >= 4.5


def test_colours_differ():
    assert len(set(COLOURS)) == len(COLOURS)


def test_boxes_are_drawn_where_they_are_in_their_colours():
    picture = Image.new("RGB", (500, 600), "white")
    boxes = np.array([[0.1, 0.2, 0.5, 0.6], [0.6, 0.1, 0.9, 0.9]])
    drawn = draw_regions(picture, boxes, ["", ""])
    assert drawn.size == (500, 600)
    pixels = np.asarray(drawn)
    for (top, left, bottom, right), colour in zip(boxes, COLOURS, strict=False):
        rgb = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
        middle = round(500 * (left + right) / 2)
        for y in (round(600 * top) + 1, round(600 * bottom) - 2):
            assert pixels[y, middle].tolist() == rgb
        assert pixels[round(300 * (top + bottom)), middle].tolist() == [255, 255, 255]


def test_small_images_grow_and_a_caption_stands_below():
    drawn = draw_regions(Image.new("L", (60, 120)), np.zeros([0, 4]), [], "a long text " * 20)
    assert drawn.mode == "RGB"
    assert drawn.width == 480
    assert drawn.height > 960


def test_a_box_may_be_smaller_than_a_pixel():
    boxes = np.array([[0.2, 0.2, 0.6, 0.2001], [0.2, 0.2, 0.2001, 0.6], [0.999, 0.999, 1, 1]])
    drawn = np.asarray(draw_regions(Image.new("RGB", (480, 480)), boxes, ["a", "b", "c"]))
    rgb = [int(COLOURS[1][start : start + 2], 16) for start in (1, 3, 5)]
    assert drawn[96, 200].tolist() == rgb


@pytest.mark.parametrize("size", [(6, 400), (400, 6), (1, 5000), (70_000, 40)])
def test_an_image_may_be_very_narrow(size):
    drawn = draw_regions(Image.new("RGB", size), np.array([[0, 0, 1, 1.0]]), ["a dog"], "a bench")
    assert max(drawn.size) <= MAX_SIDE + 500  # with the caption
    assert Image.open(io.BytesIO(as_jpeg(drawn))).size == drawn.size


def test_a_label_that_is_wider_than_the_picture_is_cut_inside_it():
    box = np.array([[0.3, 0.3, 0.9, 0.9]])
    whole = np.asarray(draw_regions(Image.new("RGB", (480, 480)), box, ["many words " * 40]))
    rgb = [int(COLOURS[0][start : start + 2], 16) for start in (1, 3, 5)]
    rows = np.flatnonzero((whole == rgb).all(axis=2).mean(axis=1) > 0.5)
    columns = np.flatnonzero((whole[rows[2]] == rgb).all(axis=1))
    assert columns[0] >= 0
    assert columns[-1] < 479
    assert (whole[rows] == 255).all(axis=2).any()  # The text itself.


def test_as_jpeg():
    picture = Image.open(io.BytesIO(as_jpeg(Image.new("RGB", (5, 3), "red"))))
    assert (picture.format, picture.size) == ("JPEG", (5, 3))


def test_what_a_word_looked_at_stays_bright():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 0.5], [0, 0.5, 1, 1]])
    attention = np.array([[0.2, 0.7, 0.1], [0.1, 0.1, 0.8], [1 / 3, 1 / 3, 1 / 3]])
    sheet = draw_attention(
        Image.new("L", (60, 60), 200), ["left", "right", "any"], attention, boxes
    )
    panels = [np.asarray(sheet)[100, start : start + 240, 0] for start in (0, 248, 496)]
    assert panels[0][50] == 200 and panels[0][200] == 80
    assert panels[1][50] == 80 and panels[1][200] == 200
    assert set(panels[2].tolist()) == {80}


def test_images_with_attention_may_be_small_and_captions_long():
    attention = np.full([30, 2], 0.5)
    boxes = np.array([[0, 0, 1, 1], [0, 0, 0, 0]])
    sheet = draw_attention(Image.new("RGB", (1, 3000)), ["<b>"] * 30, attention, boxes)
    assert sheet.width == 4 * 248 and sheet.height > 8 * 240
    assert draw_attention(Image.new("RGB", (5, 5)), [], np.zeros([0, 2]), boxes).width == 248
