"""Unknown words and cut sentences are counted, and warned of where training makes little sense."""

import re

import pytest

import dummy_data
from visem_tf import fit, stages, validate
from visem_tf.datasets.coverage import coverage
from visem_tf.stages import closing_summary
from visem_tf.text import Vocabulary

PICTURES = dummy_data.draw_images(train=4, val=2, test=2)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def cover(sentences, min_count=5, max_words=30):
    return coverage(Vocabulary.build(sentences, min_count), sentences, max_words)


def test_words_and_sentences_are_counted():
    found = cover([" ".join(LETTERS)] * 2 + ["once upon", "x y z"], min_count=2, max_words=10)
    assert found == (26, pytest.approx(100 * 2 / 57), 50, True, 57 / 4)
    assert found.warnings() == []
    assert str(found) == (
        "vocabulary: 26 words; 3.5 % of the words in the training sentences are unknown, 50.0 % of "
        "the sentences are cut"
    )
    assert cover([])[:3] == (0, 0, 0)


def test_what_makes_little_sense_is_said():
    [few] = cover(["a dog runs"] * 40).warnings()
    assert few.startswith("the vocabulary has only 3 words, too few to describe images")
    chinese = cover([f"一只狗在草地上跑{chr(0x4E00 + n)}" for n in range(40)])
    assert (chinese.num_words, chinese.unknown_percent) == (0, 100)
    assert "script without spaces between words" in chinese.warnings()[-1]
    # Every sentence is a word of the vocabulary, which none of another split will be.
    sentences = [f"{chr(0x4E00 + n)}只狗在草地上，跑" for n in range(40)]
    [script] = cover(sentences, min_count=1).warnings()
    assert "script without spaces between words" in script
    spaced = cover([" ".join("一二三四五六七八九十百千万上下左右大小中")] * 9)
    assert spaced.warnings() == []  # words that are separated can be learnt
    [long] = cover([" ".join(LETTERS)] * 9, max_words=5).warnings()
    assert long == "100 % of the training sentences are cut; raise --text.max_words"


def test_validate_warns(tmp_path, capsys):
    dummy_data.write("captions_txt", tmp_path / "data", PICTURES)
    command = ["--dataset", "captions_txt", "--data-dir", str(tmp_path / "data")]
    validate.main([*command, "--text.min_count", "90", "--text.max_words", "1"])
    lines = capsys.readouterr().out.splitlines()
    warnings = [line for line in lines if line.startswith("warning: ")]
    assert warnings[0].startswith("warning: the vocabulary has only")
    assert warnings[-1].endswith("sentences are cut; raise --text.max_words")
    [train] = [line for line in lines if line.startswith("train")]
    assert train.endswith("100.00 %")
    assert lines[-1] == "no problems, but training makes little sense; see the warnings"


def test_fit_warns_before_it_trains(tmp_path, capsys, monkeypatch):
    dummy_data.write("captions_txt", tmp_path / "data", PICTURES)
    trained = []
    monkeypatch.setattr(stages, "run_stages", trained.append)
    monkeypatch.setattr(closing_summary, "closing_summary", lambda context: "")
    places = ["--run-dir", str(tmp_path / "run"), "--cache-dir", str(tmp_path / "cache")]
    fit.main(["--data-dir", str(tmp_path / "data"), *places, "--text.min_count", "15"])
    printed = capsys.readouterr()
    assert re.search(r"vocabulary: \d words; \d\d\.\d % of the words in the training", printed.out)
    assert re.search(r"visem_tf: warning: the vocabulary has only \d words, too few", printed.err)
    assert len(trained) == 1
