import pytest

from visem_tf.errors import UserError
from visem_tf.runs.query import print_remarks, read_query
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


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "no word"), ("?!", "no word"), ("zebra\udcff crossing", "among the training words")],
)
def test_a_sentence_without_known_words_is_refused(text: str, message: str):
    with pytest.raises(UserError, match=message):
        read_query(text, VOCABULARY, 5)
