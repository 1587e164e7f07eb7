"""Pictures to check an export with, and to measure the ranges of its numbers on."""

import os
import sys

from visem_tf.config import Config
from visem_tf.datasets.loading import load_configured
from visem_tf.datasets.scenes.renderer import encode_jpeg, render
from visem_tf.datasets.scenes.sampling import sample_scene
from visem_tf.errors import UserError
from visem_tf.images.decode import PictureError, read_picture
from visem_tf.runtime.storage import AnyPath, as_path


def sample_pictures(
    config: Config, count: int, *, split: str = "test", folder: str | os.PathLike[str] = ""
) -> tuple[list[bytes], str]:
    """The first pictures of a folder, or else of the data set that a run was trained on.

    Where the data set cannot be read, drawn scenes stand in, with a warning.

    Args:
      config: The configuration of the run.
      count: How many are wanted, at most.
      split: Of the data set.
      folder: A folder of pictures, or empty.

    Returns:
      Encoded pictures as `visem_tf.images.decode.read_picture` gives them, and in words where
      they are from.

    Raises:
      UserError: The folder has no picture.
    """
    if folder:
        return _of_folder(as_path(folder), count), f"pictures of {folder}"
    if config.dataset.partition("/")[0] != "scenes":
        try:
            data = load_configured(config)
        except UserError as error:
            print(f"visem_tf: warning: drawn scenes stand in: {error}", file=sys.stderr)
        else:
            pictures = data.splits[split].pictures().take(count).as_numpy_iterator()
            return list(pictures), f"{split} pictures of {data.name}"
    scenes = (sample_scene(seed=0, split=split, index=index) for index in range(count))
    return [encode_jpeg(render(scene)) for scene in scenes], "drawn scenes"


def _of_folder(folder: AnyPath, count: int) -> list[bytes]:
    if not folder.is_dir():
        raise UserError(f"--pictures {folder} is no folder")
    pictures: list[bytes] = []
    paths: list[AnyPath] = list(folder.iterdir())
    for path in sorted(paths, key=str):
        if len(pictures) == count:
            break
        if path.is_file():
            try:
                pictures.append(read_picture(path))
            except PictureError:
                continue
    if not pictures and count:
        raise UserError(f"--pictures {folder} holds no picture that can be read")
    return pictures
