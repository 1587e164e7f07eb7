"""From pictures to regions: boxes, and a CNN vector of each (section 3.1 of the paper).

    encoded picture -> pixels [P, P, 3] -> boxes [R, 4], region_features [R, F]

Region 0 is always the whole frame. The same code runs when features are cached, when a user's
picture is described and in the exported model.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from visem_tf.config import RegionsConfig
from visem_tf.images.decode import decode_picture
from visem_tf.regions.backbone import Describing, load_backbone
from visem_tf.regions.native_aspect import describe_in_own_shape
from visem_tf.regions.proposers import Proposals, build_proposer
from visem_tf.regions.resample import crop_and_resize, pool_regions
from visem_tf.regions.tuning import load_tuned

FRAME = (0.0, 0.0, 1.0, 1.0)
"""The box of the whole picture, `rel_yxyx`."""
NOTHING = -1.0
"""The value of pixels where a square holds no picture."""
_SCALES = (1.0, 1.5, 2.0, 3.0)


class Regions(NamedTuple):
    """The regions of a batch of pictures.

    Attributes:
      region_features: float [B, R, F], as the CNN gives them.
      boxes: float [B, R, 4], `rel_yxyx`; row 0 is the whole frame.
      scores: float [B, R], of the proposer; the frame's is that of the best box.
      region_mask: bool [B, R], False where the proposer found fewer boxes.
    """

    region_features: tf.Tensor
    boxes: tf.Tensor
    scores: tf.Tensor
    region_mask: tf.Tensor


def prepare_picture(encoded: tf.Tensor, size: int, resolution: str = "square") -> tf.Tensor:
    """Decodes a picture and brings it to a square, anti-aliased.

    Args:
      encoded: string scalar, as `visem_tf.images.decode.read_picture` gives it.
      size: Side P in pixels.
      resolution: "square" warps the picture; "own" lays it into the top left corner, made smaller
        only where its longer side is more than P.

    Returns:
      float [P, P, 3] in 0..255; `NOTHING` where there is no picture.
    """
    return place_pictures(decode_picture(encoded), size, resolution)


def place_pictures(pixels: tf.Tensor, size: int, resolution: str) -> tf.Tensor:
    """Brings pictures of one size to squares; see `prepare_picture`.

    Args:
      pixels: [H, W, 3] or [B, H, W, 3] in 0..255, of any number type, upright.
      size: Side P in pixels.
      resolution: "square" or "own".

    Returns:
      float [P, P, 3] or [B, P, P, 3] in 0..255, `NOTHING` where there is no picture.
    """
    return _laid_into(pixels, size) if resolution == "own" else warp_picture(pixels, size)


def warp_picture(pixels: tf.Tensor, size: int) -> tf.Tensor:
    """Warps pictures to squares, anti-aliased.

    Args:
      pixels: [H, W, 3] or [B, H, W, 3] in 0..255, of any number type.
      size: Side P in pixels.

    Returns:
      float [P, P, 3] or [B, P, P, 3] in 0..255.
    """
    # From bytes: as floats, the largest pictures would take four times the memory for the same sum.
    if pixels.dtype != tf.uint8:
        pixels = tf.cast(pixels, tf.float32)
    pixels = tf.image.resize(pixels, [size, size], antialias=True)
    return tf.ensure_shape(pixels, [*pixels.shape[:-3], size, size, 3])


def _laid_into(pixels: tf.Tensor, size: int) -> tf.Tensor:
    """Pictures of their own aspect ratio in squares; see `place_pictures`."""
    shape = tf.shape(pixels)[-3:-1]
    longest = tf.reduce_max(shape)
    shrunk = tf.cast(tf.round(shape * size / longest), tf.int32)
    fitting = tf.cond(
        longest > size,
        lambda: tf.image.resize(pixels, tf.maximum(shrunk, 1), antialias=True),
        lambda: tf.cast(pixels, tf.float32),
    )
    missing = size - tf.shape(fitting)[-3:-1]
    before = [[0, 0]] * (pixels.shape.rank - 3)
    padding = [*before, [0, missing[0]], [0, missing[1]], [0, 0]]
    laid = tf.pad(fitting, padding, constant_values=NOTHING)
    return tf.ensure_shape(laid, [*pixels.shape[:-3], size, size, 3])


def extents_of(pixels: tf.Tensor) -> tf.Tensor:
    """The shares of squares [B, P, P, 3] that pictures fill, down and across: float [B, 2]."""
    is_picture = tf.cast(pixels[..., 0] > NOTHING / 2, tf.float32)
    down = tf.reduce_mean(tf.reduce_max(is_picture, axis=2), axis=1)
    across = tf.reduce_mean(tf.reduce_max(is_picture, axis=1), axis=1)
    return tf.stack([down, across], axis=1)


class RegionExtractor:
    """Finds and describes the regions of pictures.

    Args:
      settings: The section `regions` of the configuration.
      tuned: The file of a CNN that was trained further, which describes; boxes are proposed by the
        one that it started from. See `visem_tf.regions.tuning`.

    Attributes:
      describer: The CNN that describes.

    Raises:
      UserError: The weights or a package that the proposer needs are not installed.
    """

    def __init__(self, settings: RegionsConfig, tuned: Path | None = None) -> None:
        self.settings = settings
        self.backbone = load_backbone(settings.backbone)
        self.describer: Describing = self.backbone
        if tuned is not None:
            self.describer = load_tuned(settings.backbone, tuned)
        self.proposer = build_proposer(settings, self.backbone)

    @property
    def in_graph(self) -> bool:
        """Whether the extractor can be exported."""
        return self.proposer.in_graph

    def __call__(self, pixels: tf.Tensor) -> Regions:
        """Finds and describes the regions.

        Args:
          pixels: float [B, P, P, 3] in 0..255, P the `picture_size`; of `prepare_picture`.
        """
        batch = tf.shape(pixels)[0]
        frame = tf.broadcast_to(tf.constant(FRAME), [batch, 1, 4])
        warped = pixels
        if self.settings.resolution == "own":
            size = self.settings.picture_size
            warped = crop_and_resize(pixels, frame, size, extents=extents_of(pixels))[:, 0]
        proposals = self.proposer(warped)
        best = tf.reduce_max(tf.pad(proposals.scores, [[0, 0], [0, 1]]), axis=1, keepdims=True)
        with_frame = Proposals(
            tf.concat([frame, proposals.boxes], axis=1),
            tf.concat([best, proposals.scores], axis=1),
            tf.pad(proposals.mask, [[0, 0], [1, 0]], constant_values=True),
        )
        features = self.describe_boxes(pixels, with_frame.boxes)
        return Regions(features, *with_frame)

    def describe_boxes(self, pixels: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
        """Describes given boxes instead of proposed ones.

        Args:
          pixels: float [B, P, P, 3] in 0..255.
          boxes: float [B, R, 4], `rel_yxyx`; row 0 must be the whole frame, which the CNN sees at
            `frame_size`, the others at `crop_size`.

        Returns:
          float [B, R, F].
        """
        if self.settings.features == "pooled":
            return pool_regions(self.describer.feature_map(pixels), boxes)
        frame = self._describe_crops(pixels, boxes[:, :1], self.settings.frame_size)
        if boxes.shape[1] == 1:
            return frame
        crops = self._describe_crops(pixels, boxes[:, 1:], self.settings.crop_size)
        return tf.concat([frame, crops], axis=1)

    def describe_frames(self, pixels: tf.Tensor) -> tf.Tensor:
        """Describes pictures as a whole, which is cheaper than looking for regions first.

        Args:
          pixels: float [B, P, P, 3] in 0..255.

        Returns:
          float [B, F], the features of region 0.
        """
        frame = tf.broadcast_to(tf.constant(FRAME), [tf.shape(pixels)[0], 1, 4])
        return self.describe_boxes(pixels, frame)[:, 0]

    def _describe_crops(self, pixels: tf.Tensor, boxes: tf.Tensor, size: int) -> tf.Tensor:
        """The CNN on crops of about size x size pixels, at every scale; float [B, R, F]."""
        sizes = [round(size * scale) for scale in _SCALES[: self.settings.scales]]
        if self.settings.resolution == "own":
            extents = extents_of(pixels)
            found = [
                describe_in_own_shape(self._describe_any, pixels, boxes, extents, side)
                for side in sizes
            ]
        else:
            found = [self._describe_squares(pixels, boxes, side) for side in sizes]
        return found[0] if len(found) == 1 else tf.add_n(found) / len(found)

    @functools.cached_property
    def _describe_any(self) -> tf.types.experimental.PolymorphicFunction:
        """The CNN as one graph for crops of any shape: tracing it takes a second."""
        return tf.function(
            lambda crops: self.describer.features(crops),
            input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)],
        )

    def _describe_squares(self, pixels: tf.Tensor, boxes: tf.Tensor, size: int) -> tf.Tensor:
        crops = self.crop(pixels, boxes, size)  # [B, R, S, S, 3]
        features = self.describer.features(tf.reshape(crops, [-1, size, size, 3]))
        return tf.reshape(features, [tf.shape(boxes)[0], tf.shape(boxes)[1], features.shape[1]])

    def crop(self, pixels: tf.Tensor, boxes: tf.Tensor, size: int) -> tf.Tensor:
        """Cuts boxes out, see `visem_tf.regions.resample.crop_and_resize`."""
        return crop_and_resize(pixels, boxes, size)

    @functools.cached_property
    def compiled(self) -> tf.types.experimental.PolymorphicFunction:
        """The extractor as one graph, for batches of any size."""
        size = self.settings.picture_size
        signature = [tf.TensorSpec([None, size, size, 3], tf.float32)]
        return tf.function(self.__call__, input_signature=signature)

    def extract(self, encoded: list[bytes]) -> Regions:
        """Finds and describes the regions of a few encoded pictures; NumPy arrays."""
        size = self.settings.picture_size
        resolution = self.settings.resolution
        pixels = tf.stack([prepare_picture(tf.constant(p), size, resolution) for p in encoded])
        return Regions(*(np.asarray(part) for part in self.compiled(pixels)))
