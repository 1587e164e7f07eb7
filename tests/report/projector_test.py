from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins import projector

from visem_tf.report.projector import Point, write_projector


def test_every_point_has_its_embedding_its_name_and_its_tile(tmp_path: Path):
    red = Image.new("RGB", (90, 10), "#ff0000")
    points = [Point("dog"), Point("a\tb\n.jpg", red), Point("x" * 40)]
    embeddings = np.arange(6.0).reshape(3, 2)
    write_projector(tmp_path, points, embeddings)
    config = text_format.Parse(
        (tmp_path / "projector_config.pbtxt").read_text(), projector.ProjectorConfig()
    )
    (embedding,) = config.embeddings
    assert list(embedding.tensor_shape) == [3, 2]
    values = np.frombuffer((tmp_path / embedding.tensor_path).read_bytes(), "<f4")
    np.testing.assert_array_equal(values.reshape(3, 2), embeddings)
    names = (tmp_path / embedding.metadata_path).read_text().splitlines()
    assert names == ["name\tkind", "dog\tword", "a b .jpg\tregion", f"{'x' * 40}\tword"]
    sprite = Image.open(tmp_path / embedding.sprite.image_path)
    width, height = embedding.sprite.single_image_dim
    assert sprite.size == (2 * width, 2 * height)
    assert sprite.getpixel((width + 5, 5)) == (255, 0, 0)
    assert sprite.crop((0, 0, width, height)).getextrema() != ((255, 255),) * 3


def test_a_mismatch_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="longer"):
        write_projector(tmp_path, [Point("a")], np.zeros([2, 3]))
