import pytest

from visem_tf.runtime.terminal import print_line, print_table, printable


def test_nothing_in_a_text_steers_the_terminal():
    assert printable("a\x1b]0;title\x07\n\tb\x9b") == "a�]0;title� b�"
    assert printable("naïve 犬 [red]") == "naïve 犬 [red]"


def test_a_file_name_of_undecodable_bytes_can_be_printed(capsys: pytest.CaptureFixture[str]):
    print_line("photo\udcff.jpg: a dog")
    assert capsys.readouterr().out == "photo�.jpg: a dog\n"


def test_outside_a_terminal_no_line_is_wrapped(capsys: pytest.CaptureFixture[str]):
    long = "word " * 100
    print_line(long, indent=2)
    print_table(["#>", "text"], [["1", long], ["10", "[b]x[/b]"]], indent=2)
    assert capsys.readouterr().out.splitlines() == [
        "  " + long.strip(),
        "   # text",
        "   1 " + long.strip(),
        "  10 [b]x[/b]",
    ]
