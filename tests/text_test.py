import re
import string
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from visem_tf.cli import fields_of_file
from visem_tf.errors import UserError
from visem_tf.runtime.json_files import read_json
from visem_tf.text import (
    END_ID,
    FUNCTION_WORDS,
    PAD_ID,
    START_ID,
    UNK_ID,
    Vocabulary,
    tokenize,
)

SPECIAL = ("<pad>", "<start>", "<end>", "<unk>")


def test_function_words_are_tokens_that_name_nothing():
    assert tokenize([" ".join(sorted(FUNCTION_WORDS))]).to_list() == [
        sorted(word.encode() for word in FUNCTION_WORDS)
    ]
    assert {"a", "his", "of", "and", "is"} <= FUNCTION_WORDS
    assert not {"dog", "red", "two", "man", "runs"} & FUNCTION_WORDS


@pytest.fixture
def vocabulary():
    return Vocabulary((*SPECIAL, "a", "dog", "runs"))


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("A dog's ball, 2 cats!", ["a", "dogs", "ball", "2", "cats"]),
        ("black-and-white  \t dog\nruns .", ["blackandwhite", "dog", "runs"]),
        ("", []),
        (" ?! ", []),
        ("ＷＩＤＥ ﬁne", ["wide", "fine"]),  # compatibility forms
        ("Straße STRASSE", ["strasse", "strasse"]),
        ("ΣΊΣΥΦΟΣ σίσυφος", ["σίσυφοσ", "σίσυφοσ"]),  # final sigma
        ("Cafe\u0301 caf\u00e9", ["café", "café"]),  # two ways to write one letter
        ("हिन्दी शब्द", ["हिन्दी", "शब्द"]),  # vowel signs are marks, not letters
        ("二匹の犬", ["二匹の犬"]),
        (
            "no\u00a0break\u2003em\u2028line\u0085next\u3000wide",
            ["no", "break", "em", "line", "next", "wide"],
        ),
        ("dog 🐕 <unk> <pad>", ["dog", "unk", "pad"]),
    ],
)
def test_tokenize(sentence, words):
    assert tokenize([sentence]).to_list() == [[word.encode() for word in words]]


def test_tokenize_survives_bytes_that_are_not_utf8():
    assert tokenize([b"caf\xe9 dog", b"\xff\xfe"]).to_list() == [[b"caf", b"dog"], []]


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.text(string.ascii_letters + string.digits + string.punctuation + " \t\nÄéÑøЖщΔλ½²«—"),
        max_size=5,
    )
)
def test_tokenize_equals_python(sentences):
    def reference(sentence):
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", sentence).casefold())
        return [word.encode() for word in re.sub(r"[^\w\s]|_", "", text).split()]

    assert tokenize(tf.constant(sentences, tf.string)).to_list() == list(map(reference, sentences))


def test_vocabulary_keeps_words_seen_at_least_min_count_times():
    sentences = ["five four"] * 4 + ["five, FIVE!"] * 1 + ["six"] * 6
    # "five" is seen 4 + 2 = 6 times, "six" 6 times, "four" 4 times
    assert Vocabulary.build(sentences, min_count=5).words == (*SPECIAL, "five", "six")
    exactly = Vocabulary.build(["dog"] * 5 + ["cat"] * 4, min_count=5)
    assert exactly.words == (*SPECIAL, "dog")


def test_vocabulary_is_ordered_by_falling_count_then_alphabet():
    words = Vocabulary.build(["b a c c z"], min_count=1).words
    assert words == (*SPECIAL, "c", "a", "b", "z")


def test_vocabulary_of_no_sentences_has_the_special_words_only():
    assert Vocabulary.build([]).words == SPECIAL


def test_a_vocabulary_is_a_regular_file(tmp_path):
    (tmp_path / "vocabulary.txt").symlink_to("/dev/zero")
    with pytest.raises(UserError, match="cannot read the vocabulary .*not a regular file"):
        Vocabulary.load(tmp_path / "vocabulary.txt")
    with pytest.raises(UserError, match=r"cannot read /dev/zero \(not a regular file\)"):
        read_json(Path("/dev/zero"), dict, "fix it")
    with pytest.raises(UserError, match="cannot read the configuration .*not a regular file"):
        fields_of_file(Path("/dev/zero"))


def test_encode(vocabulary):
    token_ids = vocabulary.encode(tf.constant(["A dog, a CAT", "", "runs <end>"]))
    assert token_ids.dtype == tf.int32
    assert token_ids.to_list() == [[4, 5, 4, UNK_ID], [], [6, UNK_ID]]


def test_decode(vocabulary):
    token_ids = [[[START_ID, 4, 5, END_ID, 6], [PAD_ID, PAD_ID, 6, UNK_ID, 4]], [[END_ID] * 5] * 2]
    texts = vocabulary.decode(tf.constant(token_ids))
    assert texts.numpy().tolist() == [[b"a dog", b"runs <unk> a"], [b"", b""]]


def test_a_saved_model_encodes_and_decodes(vocabulary, tmp_path):
    module = tf.Module()
    module.vocabulary = vocabulary
    signature = [tf.TensorSpec([None], tf.string)]
    module.encode = tf.function(lambda text: vocabulary.encode(text).to_tensor(), signature)
    module.echo = tf.function(
        lambda text: vocabulary.decode(vocabulary.encode(text).to_tensor()), signature
    )
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    sentences = tf.constant(["a dog", "Runs, zebra!"])
    np.testing.assert_array_equal(loaded.encode(sentences), [[4, 5], [6, UNK_ID]])
    assert loaded.echo(sentences).numpy().tolist() == [b"a dog", b"runs <unk>"]


def test_save_and_load(vocabulary, tmp_path):
    path = tmp_path / "vocabulary.txt"
    grown = Vocabulary((*vocabulary.words, "café"))
    grown.save(path)
    assert path.read_bytes().decode().split("\n") == [*grown.words, ""]
    assert Vocabulary.load(path).words == grown.words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a", "dog"), "must begin with"),
        ((*SPECIAL, "a", "a"), "'a' comes 2 times"),
        ((*SPECIAL, "a b"), "'a b'"),
        ((*SPECIAL, ""), "''"),
    ],
)
def test_words_are_checked(words, message):
    with pytest.raises(ValueError, match=f"words.*{message}"):
        Vocabulary(words)


def test_min_count_is_checked():
    with pytest.raises(ValueError, match="min_count"):
        Vocabulary.build(["a"], min_count=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        (b"\xff", "not a vocabulary: .utf-8."),
        (b"dog\ncat\n", "is not a vocabulary"),
    ],
)
def test_a_bad_file_is_the_users_mistake(content, message, tmp_path):
    path = tmp_path / "vocabulary.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        Vocabulary.load(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
