"""SPICE where its files are missing, and through a stand-in for its program.

The program itself needs half a gigabyte that no package has, so that its command and its answer are
what is tested here.
"""

import json
import sys

import numpy as np
import pytest

from visem_tf.metrics import spice
from visem_tf.metrics.java import JavaError

pytest.importorskip("pycocoevalcap")

PROGRAM = """#!{python}
import json, sys
given, found = sys.argv[sys.argv.index("spice-1.0.jar") + 1], sys.argv[sys.argv.index("-out") + 1]
scores = {{"dogs": 0.5, "cats": float("nan")}}
items = [{{"image_id": x["image_id"], "scores": {{"All": {{"f": scores[x["test"]]}}}}}}
         for x in json.load(open(given)) if x["refs"]]
json.dump(items[::-1], open(found, "w"))
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    (tmp_path / "lib").mkdir()
    for name in spice.MODEL_FILES:
        (tmp_path / "lib" / name).touch()
    monkeypatch.setattr(spice, "spice_folder", lambda: tmp_path)
    monkeypatch.setattr(spice, "java_reason", lambda: None)

    def install(text):
        java = tmp_path / "java"
        java.write_text(text)
        java.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return install


def test_scores_come_back_in_order(program):
    program(PROGRAM.format(python=sys.executable))
    found = spice.spice_scores({"1": "dogs", "2": "cats"}, {"1": ["a"], "2": ["b"]})
    np.testing.assert_array_equal(found, [0.5, np.nan])


@pytest.mark.parametrize(
    ("text", "message"),
    [("#!/bin/sh\necho no memory >&2; exit 1\n", "no memory"), ("#!/bin/sh\n", "No such file")],
)
def test_a_program_that_fails_says_why(program, text, message):
    program(text)
    with pytest.raises(JavaError, match=f"SPICE failed: .*{message}"):
        spice.spice_scores({"1": "dogs"}, {"1": ["a"]})


def test_missing_files_are_named_and_never_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(spice, "spice_folder", lambda: tmp_path)
    assert "stanford-corenlp-3.6.0-models.jar" in spice.spice_reason()
    with pytest.raises(JavaError, match=r"stanford-corenlp-3\.6\.0\.jar"):
        spice.spice_scores({"1": "a"}, {"1": ["a"]})
    assert list(tmp_path.iterdir()) == []


def test_json_of_the_stand_in_is_what_the_program_is_given(program, tmp_path):
    program(
        PROGRAM.format(python=sys.executable).replace(
            "items =", f"open({str(tmp_path / 'seen')!r}, 'w').write(open(given).read()); items ="
        )
    )
    spice.spice_scores({"1": "dogs"}, {"1": ["a", "b"]})
    assert json.loads((tmp_path / "seen").read_text()) == [
        {"image_id": "1", "test": "dogs", "refs": ["a", "b"]}
    ]
