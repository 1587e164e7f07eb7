"""The schema of all datasets: images, sentences about the whole image and phrases with boxes.

Every builder in `visem_tf.datasets` returns `features()` from its `_info`, names its splits as in
`SPLITS` and stores encoded images as `visem_tf.images.decode.read_image` returns them, so that
`visem_tf.datasets.loading` reads all of them with the same code.
"""

import numpy as np
import tensorflow_datasets as tfds

SPLITS: tuple[str, ...] = ("train", "val", "test")
"""The names of the splits, in this order; every dataset has all three."""


def features() -> tfds.features.FeaturesDict:
    """Returns the features of one example, which is one image with its texts.

    - `image_id`: Text without "#", unique in the dataset. The id of sentence k is
      `f"{image_id}#{k}"`.
    - `file_name`: Name of the image file, for people.
    - `image`: Encoded JPEG or PNG; decoded, uint8 [height, width, 3].
    - `sentences`: Raw sentences of the image, in order, at least one.
    - `phrases`: Parts of the sentences whose boxes are known; empty if a dataset has none.
        - `sentence`: int32, index in `sentences`.
        - `first`, `last`: int32, both inclusive, indices in the tokens that
          `visem_tf.text.tokenize` makes of the sentence.
        - `text`: Words of the phrase.
        - `bbox`: float32 [4], (ymin, xmin, ymax, xmax) relative to height and width of the image.
        - `object`: int32, the same number for the same object of this image.
        - `type`: Type of what the phrase names, such as "people"; empty if the data give none.

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
                    "type": tfds.features.Text(),
                }
            ),
        }
    )
