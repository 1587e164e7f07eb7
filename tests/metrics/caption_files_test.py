"""Files of captions, right and wrong ones."""

import json

import pytest

from visem_tf.errors import UserError
from visem_tf.metrics.caption_files import (
    match_captions,
    read_captions,
    read_references,
    write_coco_results,
    write_result_struct,
)


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "results.json"
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_coco_results_come_back(tmp_path):
    captions = {
        "391895": "a café",
        "0": "a cat",
        "007": "two dogs",
        "-1": "x",
        "a.jpg": "y",
        "²": "z",
    }
    write_coco_results(tmp_path / "c.json", captions)
    assert read_captions(tmp_path / "c.json") == captions
    written = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    assert written[0] == {"image_id": 391895, "caption": "a café"}
    assert [entry["image_id"] for entry in written] == [391895, 0, "007", "-1", "a.jpg", "²"]


def test_neuraltalk_s_results_come_back(tmp_path):
    captions = {"5": "a dog", "6": "two dogs"}
    write_result_struct(
        tmp_path / "r.json",
        captions,
        [-3.25, -4.0],
        {"5": ["A dog."], "6": ["Dogs.", "Two dogs!"]},
        ["folder/five.jpg", "six.jpg"],
        {"beam_size": 7},
        12.5,
    )
    struct = json.loads((tmp_path / "r.json").read_text())
    assert set(struct) == {"params", "checkpoint_params", "gtppl", "imgblobs"}
    assert struct["imgblobs"][1] == {
        "img_path": "six.jpg",
        "imgid": 6,
        "references": [{"text": "Dogs."}, {"text": "Two dogs!"}],
        "candidate": {"text": "two dogs", "logprob": -4.0},
    }
    read = read_captions(tmp_path / "r.json")
    assert read == {"five.jpg": "a dog", "six.jpg": "two dogs"}
    assert match_captions(read, ["5", "6"], ["five.jpg", "six.jpg"], "x") == captions


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{not json", "results.json must be a list .*: it is not JSON"),
        ("[]", "holds no caption"),
        ({"imgblobs": []}, "holds no caption"),
        ([{"image_id": 1}], r"its entry \[0\] has no caption"),
        ({"results": []}, "it has no imgblobs"),
        (
            {"imgblobs": [{"candidate": {"text": "a"}}]},
            "without the name of their image",
        ),
        (["a dog"], "must be a list"),
        ({"imgblobs": [3]}, r"its entry imgblobs\[0\] must be an object, not int"),
        ("3", "must be a list"),
        ([{"image_id": 1, "caption": None}], r"its entry \[0\].caption must be str, not null"),
        (
            [{"image_id": 1, "caption": "a"}, {"image_id": "1", "caption": "b"}],
            "1 images have several captions, the first is 1",
        ),
        (
            [{"image_id": 1, "caption": "a"}, {"image_id": 2, "caption": " \n"}],
            "1 captions are empty, the first is that of image 2",
        ),
    ],
)
def test_what_is_no_file_of_captions(file, content, message):
    with pytest.raises(UserError, match=message):
        read_captions(file(content))


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*absent\.json: No such file"):
        read_captions(tmp_path / "absent.json")


def test_images_go_by_any_of_their_names():
    image_ids, names = ["x1", "x2", "x3"], ["COCO_val_000000000042.jpg", "b.png", "c 7.jpg"]
    captions = {"42": "first", "b": "second", "c 7.jpg": "third"}
    assert match_captions(captions, image_ids, names, "f") == {
        "x1": "first",
        "x2": "second",
        "x3": "third",
    }


def test_a_name_of_two_images_stands_for_none():
    with pytest.raises(UserError, match="1 captions are of images without references"):
        match_captions({"7": "a", "2": "b"}, ["1", "2"], ["a_7.jpg", "b_7.jpg"], "f")


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        ({"1": "a", "2": "b", "9": "c"}, "f: 1 captions are of images without references, .* 9;"),
        ({"1": "a"}, "f: 1 of 2 images have no caption, the first is 2"),
        ({"1": "a", "one": "b", "2": "c"}, "f: 1 images have several captions, the first is 1"),
    ],
)
def test_captions_that_do_not_fit_the_split(captions, message):
    with pytest.raises(UserError, match=message):
        match_captions(captions, ["1", "2"], ["one.jpg", "two.jpg"], "f")


def test_references(file):
    data = {"annotations": [{"image_id": 4, "caption": "A dog."}, {"image_id": 4, "caption": "B"}]}
    assert read_references(file(data)) == {"4": ["A dog.", "B"]}
    with pytest.raises(
        UserError, match="must be .*COCO captions.*: it must be an object, not an array"
    ):
        read_references(file([1]))
    with pytest.raises(UserError, match="holds no sentence"):
        read_references(file({"annotations": []}))
