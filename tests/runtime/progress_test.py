import io
import sys

import pytest
import tqdm

from visem_tf.runtime import progress
from visem_tf.runtime.progress import ProgressLines, progress_bar


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_in_a_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", _Terminal())
    with progress_bar(4, "regions", "images", initial=1) as bar:
        assert isinstance(bar, tqdm.tqdm)
        bar.update(2)
        assert (bar.n, bar.total) == (3, 4)


def test_a_line_every_half_minute_in_a_log(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress_bar(200, "features of train", "images", initial=40) as bar:
        for second, done in ((29, 20), (31, 20), (45, 10), (61, 10), (100, 100)):
            now[0] = second
            bar.update(done)
            bar.clear()
    # 40 images in 31 seconds leave 120 images or 93 seconds, and 60 in 61 seconds 100 or 102.
    assert capsys.readouterr().err.splitlines() == [
        "features of train: 80 of 200 images, 01:33 left",
        "features of train: 100 of 200 images, 01:42 left",
    ]


def test_a_process_without_standard_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert isinstance(progress_bar(3, "a", "images"), ProgressLines)
