"""The progress of a training: with the time left on a terminal, silent elsewhere."""

import io
import re

import pytest

from visem_tf.training.bar import TrainingBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def follow(steps: int = 4, first_epoch: int = 0) -> None:
    bar = TrainingBar("alignment", steps, 3, first_epoch)
    bar._bar.mininterval = bar._bar.delay = bar._bar.miniters = 0
    for _ in range(first_epoch * steps, 2 * steps):
        bar.on_train_batch_end(0, {"loss": 1.5})
    bar.on_train_end()


def test_a_terminal_sees_what_is_done_and_how_long_it_will_take(monkeypatch: pytest.MonkeyPatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    follow(first_epoch=1)
    shown = terminal.getvalue()
    assert "alignment" in shown
    assert re.search(r"8/12 .*<\d\d:\d\d.*loss=1.5", shown), shown
    assert "3/12" not in shown  # the first epoch was done before


def test_a_file_sees_nothing(monkeypatch: pytest.MonkeyPatch):
    file = io.StringIO()
    monkeypatch.setattr("sys.stderr", file)
    follow()
    assert file.getvalue() == ""
