"""The one schema of every data set: pictures, whole-image sentences and, where known, phrases.

Every builder under `visem_tf.datasets` returns `features()` from its `_info`, names its splits as
in `SPLITS` and stores encoded pictures as `visem_tf.images.decode.read_image` returns them, so
that `visem_tf.datasets.loading` reads all of them with the same code.
"""

from __future__ import annotations

import numpy as np
import tensorflow_datasets as tfds

SPLITS: tuple[str, ...] = ("train", "val", "test")
"""The names of the splits, in this order; every data set has all three."""


def features() -> tfds.features.FeaturesDict:
    """Returns the features of one example, one picture with its texts.

    - `image_id`: text without "#", unique in the data set. The id of sentence k is
      `f"{image_id}#{k}"`.
    - `file_name`: the name of the picture's file, for people.
    - `image`: encoded JPEG or PNG; decoded, uint8 [height, width, 3].
    - `sentences`: the raw sentences of the picture, in order, at least one.
    - `phrases`: parts of the sentences whose box is known; empty where a data set has none.
        - `sentence`: int32, index in `sentences`.
        - `first`, `last`: int32, both inclusive, indices of tokens in the tokens that
          `visem_tf.text.tokenize` makes of the sentence.
        - `text`: the words of the phrase.
        - `bbox`: float32 [4], (ymin, xmin, ymax, xmax) as shares of the picture's height and width.
        - `object`: int32, the same number for the same object of this picture.

    Returns:
        A new `tfds.features.FeaturesDict`.

    Example:
        >>> sorted(features())
        ['file_name', 'image', 'image_id', 'phrases', 'sentences']
    """
    return tfds.features.FeaturesDict(
        {
            "image_id": tfds.features.Text(),
            "file_name": tfds.features.Text(),
            "image": tfds.features.Image(shape=(None, None, 3)),
            "sentences": tfds.features.Sequence(tfds.features.Text()),
            "phrases": tfds.features.Sequence(
                {
                    "sentence": np.int32,
                    "first": np.int32,
                    "last": np.int32,
                    "text": tfds.features.Text(),
                    "bbox": tfds.features.BBoxFeature(),
                    "object": np.int32,
                }
            ),
        }
    )
