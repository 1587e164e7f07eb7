"""Word vectors in three forms: the right row for every word, and files that are broken."""

import json
import re

import numpy as np
import pytest
from untrained import make_run

from tests.conftest import quick_stages
from visem_tf import fit
from visem_tf.errors import UserError
from visem_tf.models.word_vectors import WordVectors, fill_in, read_word_vectors
from visem_tf.stages.align import load_word_vectors
from visem_tf.text import SPECIAL_WORDS, Vocabulary

WORDS = ["dog", "cat", "café", "snow", "unseen"]
VOCABULARY = Vocabulary([*SPECIAL_WORDS, *WORDS])
DIM = 7
FILE = ["the", "snow", "Dog", "dog", "café", "New York", "cat", "!!"]
VECTORS = np.random.default_rng(0).normal(size=(len(FILE), DIM)).astype(np.float32)


def binary(line_end, words=FILE):
    head = f"{len(words)} {DIM}\n".encode()
    return head + b"".join(
        word.replace(" ", "_").encode() + b" " + VECTORS[n].tobytes() + line_end
        for n, word in enumerate(words)
    )


def text(header):
    lines = [
        " ".join([w, *(repr(float(x)) for x in v)]) for w, v in zip(FILE, VECTORS, strict=True)
    ]
    return ("\n".join([f"{len(FILE)} {DIM}"] * header + lines) + "\n").encode()


FORMS = {
    "binary": binary(b"\n"),
    "binary without line ends": binary(b""),
    "word2vec text": text(True),
    "GloVe": text(False),
}


def read(tmp_path, data, vocabulary=VOCABULARY):
    (tmp_path / "vectors").write_bytes(data)
    return read_word_vectors(str(tmp_path / "vectors"), vocabulary)


@pytest.mark.parametrize("form", FORMS)
def test_every_word_gets_its_own_vector_in_every_form(tmp_path, form):
    found = read(tmp_path, FORMS[form])
    assert found.known.tolist() == [False] * 4 + [True, True, True, True, False]
    for token_id, word in enumerate(VOCABULARY.words):
        expected = VECTORS[FILE.index(word)] if word in FILE else np.zeros(DIM)
        np.testing.assert_allclose(found.matrix[token_id], expected, rtol=1e-6)
    assert found.coverage_percent == 80.0


def test_numbers_that_look_like_blanks_and_line_ends_do_not_confuse(tmp_path):
    """In binary vectors any byte occurs, those of blank and line end too."""
    vector = np.frombuffer(b" \n \n" * DIM, "<f4")
    data = f"2 {DIM}\n".encode() + b"cat " + vector.tobytes() + b"\ndog " + VECTORS[3].tobytes()
    found = read(tmp_path, data)
    np.testing.assert_array_equal(found.matrix[5], vector)
    np.testing.assert_array_equal(found.matrix[4], VECTORS[3])


def test_another_case_is_taken_where_the_word_itself_is_not_there(tmp_path):
    found = read(tmp_path, binary(b"\n", ["Dog", "CAT", "Café"]))
    np.testing.assert_array_equal(found.matrix[4:7], VECTORS[:3])


def test_files_longer_than_a_block_are_read_whole(tmp_path, monkeypatch):
    from visem_tf.models import word_vectors

    for block in (200, 250):  # the first block holds a line, which shows whether numbers follow
        monkeypatch.setattr(word_vectors, "BLOCK_BYTES", block)
        for form in FORMS:
            assert len(FORMS[form]) > block
            found = read(tmp_path, FORMS[form])
            assert found.coverage_percent == 80.0
            np.testing.assert_allclose(found.matrix[4], VECTORS[3], rtol=1e-6)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (
            binary(b"\n")[:-40],
            "is incomplete or damaged: its first line announces 8 words of 7 numbers",
        ),
        (b"dog 1 2\ncat 1\n", "line 2 (has fewer than|is not a word with) 2 numbers"),
        (b"dog 1 2\ncat 1 two\n", "line 2 is not a word with 2 numbers"),
        (b"just some words here\n", "line 1 is not a word with its numbers"),
        (b"haus 1 2\nbaum 1 2\n", "has none of the 5 words"),
        (f"1 {DIM}\n".encode() + b"dog " + np.full(DIM, np.nan, "f4").tobytes(), "NaN or infinity"),
    ],
)
def test_broken_files_are_reported(tmp_path, data, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, data)
    with pytest.raises(UserError, match="cannot read the word vectors"):
        read_word_vectors(str(tmp_path / "absent"), VOCABULARY)


def test_vectors_come_to_the_length_that_training_starts_from():
    start = np.random.default_rng(1).normal(size=(9, DIM)).astype(np.float32)
    matrix, known = np.zeros((9, DIM), np.float32), np.arange(9) > 5
    matrix[6:] = 40 * VECTORS[:3]
    filled = fill_in(WordVectors(matrix, known), start)
    np.testing.assert_array_equal(filled[:6], start[:6])
    lengths = np.linalg.norm(filled[6:], axis=1)
    assert lengths.mean() == pytest.approx(np.linalg.norm(start, axis=1).mean(), rel=1e-5)
    ratio = filled[6:] / matrix[6:]
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-5)
    with pytest.raises(ValueError, match="start must have shape"):
        fill_in(WordVectors(matrix, known), start[:5])


def test_an_alignment_model_gets_them_and_their_coverage_is_reported(tmp_path, capsys):
    file = tmp_path / "glove.txt"
    vectors = {
        word: np.random.default_rng(n).normal(size=6) for n, word in enumerate(("a", "ball"))
    }
    file.write_text("".join(f"{w} {' '.join(map(str, v))}\n" for w, v in vectors.items()))
    run = make_run(tmp_path / "run", "align", align={"word_dim": 6, "word_vectors": str(file)})
    before = run.alignment_model.sentence_encoder.word_vectors.get_weights()[0]
    found = load_word_vectors(run.alignment_model, run.config, run.vocabulary)
    assert found == {"word_vector_coverage_percent": 33.33}
    assert "word vectors: 33.3 % of 6 words have one" in capsys.readouterr().out
    table = run.alignment_model.sentence_encoder.word_vectors.get_weights()[0]
    for token_id, word in enumerate(run.vocabulary.words):
        if word in vectors:
            ratio = table[token_id] / vectors[word]
            np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
        else:
            np.testing.assert_array_equal(table[token_id], before[token_id])
    config = run.config.updated({"align.word_dim": 5})
    with pytest.raises(UserError, match=r"have 6 numbers .* give --align\.word_dim 6"):
        load_word_vectors(run.alignment_model, config, run.vocabulary)


@pytest.mark.slow
def test_a_run_starts_from_them_reports_coverage_and_keeps_them(untrained_run, tmp_path, capsys):
    words = "a the circle heart red blue on of and".split()  # noqa: SIM905
    vectors = np.random.default_rng(2).normal(size=(len(words), 5))
    lines = [" ".join([w, *map(str, v)]) for w, v in zip(words, vectors, strict=True)]
    (tmp_path / "glove.txt").write_text("\n".join(lines) + "\n")
    command = ["--config", str(untrained_run.path / "config.json"), "--align.epochs", "1"]
    command += ["--stages", "features,align", "--align.train_words", "false"]
    command += ["--cache-dir", str(untrained_run.cache_dir)]
    command += ["--align.word_vectors", str(tmp_path / "glove.txt")]
    with pytest.raises(UserError, match=r"have 5 numbers .* give --align\.word_dim 5"):
        fit.main([*command, "--run-dir", str(tmp_path / "wrong")])
    run = tmp_path / "run"
    with quick_stages():
        fit.main([*command, "--run-dir", str(run), "--align.word_dim", "5"])
    vocabulary = (run / "vocabulary.txt").read_text().split("\n")
    present = [word for word in words if word in vocabulary]
    shown = re.search(r"word vectors: ([\d.]+) % of (\d+) words", capsys.readouterr().out)
    size = len(vocabulary) - 5  # four special words, and the last line end
    assert int(shown[2]) == size
    assert float(shown[1]) == pytest.approx(100 * len(present) / size, abs=0.05)
    state = json.loads((run / "state.json").read_text())
    kept = state["stages"]["align"]["summary"]["word_vector_coverage_percent"]
    assert kept == pytest.approx(100 * len(present) / size, abs=0.01)

    import keras

    model = keras.saving.load_model(run / "checkpoints" / "align" / "best.keras", compile=False)
    table = model.sentence_encoder.word_vectors.get_weights()[0]
    ratios = [table[vocabulary.index(w)] / vectors[words.index(w)] for w in present]
    np.testing.assert_allclose(ratios, np.full((len(present), 5), ratios[0][0]), rtol=1e-4)
