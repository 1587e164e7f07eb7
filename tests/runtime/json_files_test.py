import re
from pathlib import Path
from typing import Any, TypedDict

import pytest

from visem_tf.errors import UserError
from visem_tf.runtime.json_files import parse_json, read_json


class Progress(TypedDict):
    epochs: int
    history: list[dict[str, float]]


class WithNote(Progress, total=False):
    note: str | None


def test_content_of_the_expected_kind_comes_back():
    text = '{"epochs": 2, "history": [{"loss": 1}, {"loss": 2.5}], "note": null, "more": []}'
    content = {"epochs": 2, "history": [{"loss": 1}, {"loss": 2.5}], "note": None, "more": []}
    assert parse_json(text, WithNote) == content
    assert parse_json(b"[1, 2]", list[int]) == [1, 2]
    assert parse_json('"x"') == "x"


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("", Any, "it is not JSON: Expecting value"),
        (b"\xff\xfe\x00", Any, "it is not"),
        (b'{"a": "\xff"}', Any, "it is not UTF-8"),
        ("[" * 100_000, Any, "it is nested too deeply"),
        ("9" * 5000, Any, "it is not JSON: Exceeds the limit"),
        ("[]", Progress, "it must be an object, not an array"),
        ("{}", Progress, "it has no epochs"),
        ('{"epochs": true, "history": []}', Progress, "its entry epochs must be int, not bool"),
        ('{"epochs": 1.5, "history": []}', Progress, "its entry epochs must be int, not float"),
        (
            '{"epochs": 1, "history": {}}',
            Progress,
            "its entry history must be an array, not an object",
        ),
        (
            '{"epochs": 1, "history": [1]}',
            Progress,
            "its entry history[0] must be an object, not int",
        ),
        (
            '{"epochs": 1, "history": [{"loss": "a"}]}',
            Progress,
            "its entry history[0][...] must be float, not str",
        ),
        (
            '{"epochs": 1, "history": [], "note": 3}',
            WithNote,
            "its entry note must be str | null, not int",
        ),
        ("true", float, "it must be float, not bool"),
        (
            "[1e999999, 1" + "0" * 400 + "]",
            list[float],
            "its entry [1] is wrong: Number out of range",
        ),
        (r'{"\ud800": 1}', Progress, "the name of an entry is not Unicode text"),
    ],
)
def test_other_content_is_named(text: str | bytes, kind: Any, message: str):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        parse_json(text, kind)


def test_a_file_is_named_with_the_advice(tmp_path: Path):
    path = tmp_path / "state.json"
    with pytest.raises(
        UserError, match=r"cannot read .*state.json \(No such file or directory\); x"
    ):
        read_json(path, dict, "x")
    path.write_text("[]")
    with pytest.raises(
        UserError, match=r"state.json is damaged \(it must be an object, not an array\); x"
    ):
        read_json(path, dict, "x")
