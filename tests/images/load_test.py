import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from visem_tf.images.load import load_images, read_ahead
from visem_tf.images.read import ImageError
from visem_tf.images.sources import path_sources


def test_errors_do_not_keep_the_content_of_their_files(tmp_path: Path):
    paths = [tmp_path / f"{number}.jpg" for number in range(10)]
    for path in paths:
        path.write_bytes(bytes(1 << 20))
    failures: list[ImageError] = []
    tracemalloc.start()
    try:
        assert not list(load_images(path_sources(paths), np.asarray, 2, failures))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [failure.name for failure in failures] == [str(path) for path in paths]
    assert held < 4 << 20  # of the 10 files


@pytest.mark.parametrize("count", [1, 2, 8])
def test_all_items_are_read_in_order(count: int):
    def read(number: int) -> int:
        time.sleep(0.01)  # so that results are still missing when the last item is taken
        return -number

    pairs = list(read_ahead(range(7), read, 2, count))
    assert [(item, future.result()) for item, future in pairs] == [(n, -n) for n in range(7)]


def test_nothing_more_is_read_once_the_caller_stops():
    read: list[int] = []
    pairs = read_ahead(range(100), read.append, 1, 4)
    next(pairs)[1].result()
    pairs.close()
    assert len(read) <= 6
