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
        ("[]", Progress, "it must be an object, not []"),
        ("{}", Progress, "its entry epochs is missing"),
        ('{"epochs": true, "history": []}', Progress, "its entry epochs must be int, not True"),
        ('{"epochs": 1.5, "history": []}', Progress, "its entry epochs must be int, not 1.5"),
        ('{"epochs": 1, "history": {}}', Progress, "its entry history must be list, not {}"),
        ('{"epochs": 1, "history": [1]}', Progress, "its entry history.0 must be dict, not 1"),
        (
            '{"epochs": 1, "history": [{"loss": "a"}]}',
            Progress,
            "its entry history.0.loss must be float, not 'a'",
        ),
        ('{"epochs": 1, "history": [], "note": 3}', WithNote, "its entry note must be "),
        ("true", float, "it must be float, not True"),
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
    with pytest.raises(UserError, match=r"state.json is damaged \(it must be dict, not \[\]\); x"):
        read_json(path, dict, "x")
