import pytest

from visem_tf.errors import UserError
from visem_tf.runs.query import print_remarks, read_query, split_sentences
from visem_tf.text import Vocabulary

VOCABULARY = Vocabulary.build(["a dog runs", "a cat"], min_count=1)


def test_unknown_and_dropped_words_are_reported(capsys):
    query = read_query("A DOG, a zebra & a zebra runs", VOCABULARY, max_words=5)
    assert query.words == ["a", "dog", "a", "zebra", "a"]
    assert query.unknown == ["zebra"]
    assert query.dropped == 2
    print_remarks([query])
    assert capsys.readouterr().err.splitlines() == [
        "visem_tf: warning: zebra was not among the training words",
        "visem_tf: warning: only the first 5 words are read",
    ]


def test_sentences_of_a_data_set_may_have_no_word():
    some, none = split_sentences(["A cat runs on", "?!"], VOCABULARY, 3)
    assert some.words == ["a", "cat", "runs"] and some.dropped == 1
    assert some.token_ids.tolist() == [VOCABULARY.words.index(word) for word in some.words]
    assert none.words == [] and none.token_ids.shape == (0,)
    assert split_sentences([], VOCABULARY, 3) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "no word"), ("?!", "no word"), ("zebra\udcff crossing", "among the training words")],
)
def test_a_sentence_without_known_words_is_refused(text: str, message: str):
    with pytest.raises(UserError, match=message):
        read_query(text, VOCABULARY, 5)
