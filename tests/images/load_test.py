import tracemalloc
from pathlib import Path

import numpy as np

from visem_tf.images.load import load_images
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
