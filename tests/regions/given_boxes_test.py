import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.config import RegionsConfig
from visem_tf.errors import UserError
from visem_tf.regions.extractor import RegionExtractor
from visem_tf.regions.given_boxes import BoxExtractor, GivenBoxes, read_boxes

pytestmark = pytest.mark.usefixtures("quick")

DOG = Path("photos/dog.jpg")
WANTED = [[0.25, 0.1, 0.75, 0.3]]  # of an image of 200 x 100 pixels


@pytest.fixture
def written(tmp_path: Path):
    def write(content: object) -> Path:
        path = tmp_path / "boxes.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


@pytest.mark.parametrize(
    ("box_format", "box"),
    [
        ("rel_yxyx", [0.25, 0.1, 0.75, 0.3]),
        ("rel_xyxy", [0.1, 0.25, 0.3, 0.75]),
        ("yxyx", [25, 20, 75, 60]),
        ("xyxy", [20, 25, 60, 75]),
        ("xywh", [20, 25, 40, 50]),
        ("center_xywh", [40, 50, 40, 50]),
    ],
)
def test_every_format_means_the_same_box(written, box_format: str, box: list[float]):
    boxes = read_boxes(written({"dog.jpg": [box]}), box_format).of(DOG, (200, 100))
    np.testing.assert_allclose(boxes, WANTED, atol=1e-6)


def test_every_kind_of_file_is_read(written):
    kinds = [
        (WANTED, "rel_yxyx"),
        ({"photos/dog.jpg": WANTED, "dog.jpg": []}, "rel_yxyx"),
        ([{"image": "photos/dog.jpg", "regions": [{"box": WANTED[0]}]}], "xywh"),
        (
            {
                "images": [{"id": 7, "file_name": "dog.jpg"}, {"id": 8, "file_name": "cat.jpg"}],
                "annotations": [
                    {"image_id": 8, "bbox": [0, 0, 9, 9]},
                    {"image_id": 7, "bbox": [20, 25, 40, 50]},
                ],
            },
            "rel_yxyx",
        ),
    ]
    for content, box_format in kinds:
        boxes = read_boxes(written(content), box_format).of(DOG, (200, 100))
        np.testing.assert_allclose(boxes, WANTED, atol=1e-6)


def test_boxes_are_cut_off_at_the_border_and_empty_ones_refused():
    boxes = GivenBoxes({"dog.jpg": [[-0.5, 0.5, 0.5, 7]]}, "rel_yxyx").of(DOG, (200, 100))
    np.testing.assert_allclose(boxes, [[0, 0.5, 0.5, 1]])
    with pytest.raises(UserError, match=r"box 2 of .*dog\.jpg.* 200 x 100 .*xyxy.*--box-format"):
        GivenBoxes({"dog.jpg": [[0, 0, 9, 9], [300, 0, 400, 9]]}, "xyxy").of(DOG, (200, 100))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("3", "has no boxes"),
        ([], "has no boxes"),
        ([{"image": "dog.jpg"}], r"incomplete: KeyError 'regions'"),
        ({"images": [{"id": 1}], "annotations": []}, "incomplete"),
    ],
)
def test_a_bad_file_is_named(written, content: object, message: str):
    with pytest.raises(UserError, match=message):
        read_boxes(written(content))


@pytest.mark.parametrize(
    "box",
    [[1, 2, 3], "abcd", [0, 0, True, 1], [0, 0, float("nan"), 1], [10**400, 0, 0, 1]],
)
def test_a_bad_box_is_named(written, box: object):
    with pytest.raises(UserError, match=r"box 1 of .* must be four numbers"):
        read_boxes(written({"dog.jpg": [box]})).of(DOG, (200, 100))


def test_mistakes_in_the_call_are_named(tmp_path: Path):
    with pytest.raises(UserError, match="cannot read the boxes"):
        read_boxes(tmp_path / "absent.json")
    with pytest.raises(UserError, match="not a regular file"):
        read_boxes(Path("/dev/zero"))
    with pytest.raises(UserError, match="--box-format must be one of rel_yxyx"):
        read_boxes(tmp_path / "absent.json", "corners")
    with pytest.raises(UserError, match="list of at most 1000"):
        GivenBoxes({"": [[0, 0, 1, 1]] * 1001}, "rel_yxyx").of(DOG, (200, 100))


@pytest.mark.slow
def test_features_of_given_boxes_are_those_of_proposed_boxes():
    settings = RegionsConfig(proposer="grid", num_regions=4, picture_size=64, crop_size=32)
    extractor = RegionExtractor(settings)
    pixels = tf.random.stateless_uniform([2, 64, 64, 3], [1, 2], 0, 255)
    proposed = extractor(pixels)
    given = [np.asarray(proposed.boxes)[0, 1:], np.asarray(proposed.boxes)[1, 2:3]]
    found = BoxExtractor(extractor)(pixels, given)
    assert found.region_mask.tolist() == [[True] * 4, [True, True, False, False]]
    features = np.asarray(proposed.region_features)
    np.testing.assert_allclose(found.region_features[0], features[0], atol=1e-4)
    np.testing.assert_allclose(found.region_features[1, :2], features[1, [0, 2]], atol=1e-4)
