"""Caption scores: against pycocoevalcap itself, and where it, or Java, is missing."""

import builtins
import gc
import shutil
import subprocess
import sys

import numpy as np
import pytest

from visem_tf.metrics import captions, java, meteor
from visem_tf.metrics.meteor import Meteor, MeteorScores

REFERENCES = {
    "1": ["A black dog is running in the snow.", "The dog's running (fast)!", "A dog outside"],
    "2": ["Two children play on a red-brick wall.", "Children are playing; they aren't sad."],
    "3": ["A man rides a wave on a surfboard"],
    "4": ["A café with “outdoor” seats, closed."],
}
CAPTIONS = {
    "1": "a dog is running in the snow",
    "2": "two children on a wall",
    "3": "a man on a surfboard",
    "4": "a man on a surfboard",
}
needs_scorer = pytest.mark.skipif(
    not __import__("importlib").util.find_spec("pycocoevalcap"), reason="extra `eval`"
)
needs_java = pytest.mark.skipif(java.java_reason() is not None, reason=str(java.java_reason()))


def caption_scores(references, said, **options):
    with captions.CaptionScorer() as scorer:
        found = scorer.score(references, {"x": said}, **options)["x"]
    return found.scores, found.notes


@pytest.fixture
def no_meteor(monkeypatch):
    """Spares the seconds that METEOR takes to start."""
    nothing = MeteorScores(0.0, np.zeros(0), np.zeros([0, 23]))
    monkeypatch.setattr(
        Meteor,
        "score",
        lambda self, said, gold: nothing._replace(statistics=np.zeros([len(said), 23])),
    )


@needs_scorer
@needs_java
@pytest.mark.parametrize("with_meteor", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_equals_pycocoevalcap(with_meteor, caption_scorer, capfd, request):
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    gold = PTBTokenizer().tokenize(
        {key: [{"caption": text} for text in texts] for key, texts in REFERENCES.items()}
    )
    said = PTBTokenizer().tokenize({key: [{"caption": text}] for key, text in CAPTIONS.items()})
    expected = dict(
        zip(("bleu1", "bleu2", "bleu3", "bleu4"), Bleu(4).compute_score(gold, said)[0], strict=True)
    )
    expected |= {"rouge_l": Rouge().compute_score(gold, said)[0]}
    expected |= {"cider": Cider().compute_score(gold, said)[0]}
    if with_meteor:
        expected |= {"meteor": Meteor().compute_score(gold, said)[0]}
    else:
        request.getfixturevalue("no_meteor")
    capfd.readouterr()

    found = caption_scorer.score(REFERENCES, {"x": CAPTIONS})["x"]
    scores, notes = found.scores, found.notes
    for name, value in expected.items():
        np.testing.assert_allclose(scores[name], 100 * value, rtol=1e-9, err_msg=name)
    assert set(notes) <= {"spice"}
    assert capfd.readouterr() == ("", "")


def test_what_betrays_a_collapsed_model(no_meteor):
    scores, _ = caption_scores(REFERENCES, CAPTIONS)
    assert scores["distinct_captions"] == 3
    assert scores["vocabulary_used"] == 13
    assert scores["mean_length"] == 22 / 4


def test_unfinished_and_repeating_captions():
    style = captions.caption_style(
        {
            "1": "A man with a",
            "2": "a dog and a dog.",
            "3": "he looks up",
            "4": "",
            "5": "two dogs is",
        }
    )
    assert (style["unfinished"], style["repeating"], style["copied"]) == (40.0, 20.0, None)


@needs_scorer
@needs_java
def test_unknown_words_never_match(no_meteor):
    references = {
        "1": ["a <unk> dog unk", "zqxunknown zqxunknownq runs"],
        "2": ["<unk> <unk> <unk> <unk> cat"],
    }
    said = {"1": "<unk> <unk> <unk> <unk>", "2": "<unk><unk>"}
    scores, _ = caption_scores(references, said)
    for name in ("bleu1", "bleu4", "rouge_l", "cider"):
        assert scores[name] == pytest.approx(0, abs=1e-3), name


@pytest.mark.slow
@needs_scorer
@needs_java
def test_meteor_of_empty_captions_and_unknown_words(caption_scorer):
    references = {"1": ["a <unk> dog"], "2": ["a dog"], "3": ["a dog runs"]}
    captions = {"1": "<unk>", "2": "", "3": "<unk> <unk>"}
    found = caption_scorer.score(references, {"x": captions})["x"]
    assert found.scores["meteor"] == 0
    assert "meteor" not in found.notes


@needs_scorer
@needs_java
def test_empty_captions_count_and_empty_references_do_not(no_meteor):
    full, _ = caption_scores(REFERENCES, CAPTIONS)
    empty, notes = caption_scores(REFERENCES, {**CAPTIONS, "1": "", "3": " \n"})
    assert empty["bleu1"] < full["bleu1"]
    assert empty["cider"] < full["cider"]
    assert "references" not in notes

    more = {**REFERENCES, "1": ["", "  ", "...", *REFERENCES["1"]], "5": [" . "], "6": []}
    scores, notes = caption_scores(more, {**CAPTIONS, "5": "a man", "6": "a man"})
    assert {name: scores[name] for name in captions.SCORED} == {
        name: full[name] for name in captions.SCORED
    }
    assert notes["references"].startswith("2 images left out")

    scores, notes = caption_scores({"1": ["."]}, {"1": "a dog"})
    assert scores["bleu1"] is None
    assert notes["bleu1"] == "no reference has a word"


@needs_scorer
@needs_java
def test_all_captions_empty(no_meteor):
    scores, _ = caption_scores(REFERENCES, dict.fromkeys(CAPTIONS, ""))
    assert scores["bleu4"] == pytest.approx(0, abs=1e-6)
    assert scores["mean_length"] == 0


@needs_scorer
@needs_java
def test_line_breaks_do_not_shift_captions(no_meteor):
    odd = {key: text.replace(" ", "\u2028\r\n\x85 ") for key, text in CAPTIONS.items()}
    assert caption_scores(REFERENCES, odd) == caption_scores(REFERENCES, CAPTIONS)


@needs_scorer
@needs_java
def test_cider_of_one_image_is_zero_and_says_so(no_meteor):
    scores, notes = caption_scores({"1": REFERENCES["1"]}, {"1": REFERENCES["1"][0]})
    assert scores["cider"] == 0
    assert "single image" in notes["cider"]
    assert scores["bleu4"] == pytest.approx(100)


def assert_nothing_is_scored(scores, notes, reason):
    for name in captions.SCORED:
        assert scores[name] is None
        assert reason in notes[name]
    assert scores["distinct_captions"] == 3


@needs_scorer
def test_without_java(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    found = caption_scores(REFERENCES, CAPTIONS)
    assert_nothing_is_scored(*found, "PTB tokenizer needs Java: no `java` on the PATH")
    with captions.CaptionScorer() as scorer, pytest.raises(java.JavaError, match="no `java`"):
        scorer.meteor(["a dog"], [["a dog"]])


@needs_scorer
def test_a_java_that_only_exists(monkeypatch, tmp_path):
    program = tmp_path / "java"
    program.write_text("#!/bin/sh\necho no runtime present >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert_nothing_is_scored(*caption_scores(REFERENCES, CAPTIONS), "no runtime present")


@needs_scorer
@needs_java
@pytest.mark.parametrize("script", ["echo broken >&2; exit 1", "while read l; do :; done"])
def test_a_meteor_that_fails_gives_none_and_goes_away(monkeypatch, tmp_path, script):
    """At once, with words, or by never answering; and nothing hangs when it is freed."""
    monkeypatch.setattr(meteor, "TIMEOUT_S", 1)
    monkeypatch.setattr(meteor, "java_reason", lambda: None)
    started = []
    popen = subprocess.Popen

    def start(command, **options):
        if "-stdio" in command:
            command = ["sh", "-c", script]
            started.append(popen(command, **options))
            return started[-1]
        return popen(command, **options)

    monkeypatch.setattr(subprocess, "Popen", start)
    scores, notes = caption_scores(REFERENCES, CAPTIONS)
    gc.collect()
    assert scores["meteor"] is None
    assert notes["meteor"].startswith("METEOR failed: ")
    assert ("broken" in notes["meteor"]) == ("broken" in script)
    assert scores["bleu1"] > 0
    assert [process.poll() is not None for process in started] == [True]


def test_without_pycocoevalcap(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("pycocoevalcap")]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def fail(name, *arguments, **options):
        if name.startswith("pycocoevalcap"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", fail)
    found = caption_scores(REFERENCES, CAPTIONS)
    assert_nothing_is_scored(*found, "pip install 'visem_tf[eval]'")


@pytest.mark.parametrize("said", [{}, {"1": "a dog"}, {**CAPTIONS, "9": "a dog"}])
def test_other_images_are_refused(said):
    with pytest.raises(ValueError, match="of the same images"):
        caption_scores(REFERENCES, said)


SENTENCES = {
    "A dog.": "a dog",
    "": "",
    " .": "",
    "The dogs' toys, aren't they the dog's?": "the dogs toys are n't they the dog 's",
    "(left) red-ball & 3.5 \"quoted\" 'single'": "-lrb- left -rrb- red-ball & 3.5 quoted single",
    "well... no -- yes; it's: fine!": "well no yes it 's fine",
}


@needs_scorer
@needs_java
def test_the_tokenizer_drops_punctuation_and_splits_clitics():
    assert java.ptb_tokenize(list(SENTENCES)) == list(SENTENCES.values())
