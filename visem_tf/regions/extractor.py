"""From images to regions: boxes, and a CNN feature vector of each (3.1.1).

    pixels [P, P, 3] -> boxes [R, 4], region_features [R, F]

Region 0 is always the whole frame. The same code runs when features are cached, when a user's image
is described and in the exported model.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from visem_tf.config import RegionsConfig
from visem_tf.images.decode import decode_image
from visem_tf.images.prepare import image_extents, place_images, prepare_image
from visem_tf.regions.backbone import CNN, FEATURE_DIM, load_backbone
from visem_tf.regions.native_aspect import extract_at_native_aspect
from visem_tf.regions.positions import POSITION_DIM, with_positions
from visem_tf.regions.proposers import Proposals, build_proposer
from visem_tf.regions.resample import crop_and_resize, pool_regions
from visem_tf.runtime.pipelines import PARALLEL_READS, prefetched

FRAME = (0.0, 0.0, 1.0, 1.0)
"""Box of the whole image, `rel_yxyx`."""
_SCALES = (1.0, 1.5, 2.0, 3.0)
_CELLS = 8  # side of the part of a map that the last blocks of the CNN read, for one_pass


class RegionWeights(NamedTuple):
    """Weights that a run has trained itself, in place of those that packages have.

    Attributes:
        cnn: File of a CNN that was trained further, which extracts the features, see
            `visem_tf.regions.backbone.load_backbone`. The CNN that the training started from still
            proposes the boxes.
        proposer: File of a trained proposer, see `visem_tf.regions.box_network`.
    """

    cnn: Path | None = None
    proposer: Path | None = None


PRETRAINED = RegionWeights()
"""The weights of a run that has trained neither the CNN nor the proposer."""


class Regions(NamedTuple):
    """The regions of a batch of images.

    Attributes:
        region_features: float [B, R, F], of the CNN.
        boxes: float [B, R, 4], `rel_yxyx`; row 0 is the whole frame.
        scores: float [B, R], of the proposer; the frame has that of the best box.
        region_mask: bool [B, R], True for real regions, False where the proposer found fewer.
    """

    region_features: tf.Tensor
    boxes: tf.Tensor
    scores: tf.Tensor
    region_mask: tf.Tensor


class RegionExtractor:
    """Proposes the regions of images and extracts their features.

    Args:
        settings: Section `regions` of the configuration.
        weights: Weights that the run has trained.

    Attributes:
        cnn: CNN that extracts the features.

    Raises:
        UserError: The weights or a package that the proposer needs are not installed.
    """

    def __init__(self, settings: RegionsConfig, weights: RegionWeights = PRETRAINED) -> None:
        self.settings = settings
        self.backbone = load_backbone(settings.backbone)
        self.cnn: CNN = self.backbone
        if weights.cnn:
            self.cnn = load_backbone(settings.backbone, weights.cnn)
        same = settings.maps_backbone == settings.backbone
        maps_backbone = self.backbone if same else load_backbone(settings.maps_backbone)
        self.proposer = build_proposer(settings, maps_backbone, weights.proposer)

    @property
    def feature_dim(self) -> int:
        """F, the size of the feature vector of a region."""
        return feature_dim(self.settings)

    def __call__(self, pixels: tf.Tensor) -> Regions:
        """Proposes regions and extracts their features.

        Args:
            pixels: float tensor [B, P, P, 3] in 0..255 of `prepare_image`, P the `picture_size`.
        """
        frame = _frames(pixels)
        warped = pixels
        if self.settings.resolution == "own":
            size = self.settings.picture_size
            warped = crop_and_resize(pixels, frame, size, extents=image_extents(pixels))[:, 0]
        proposals = self.proposer(warped)
        best = tf.reduce_max(tf.pad(proposals.scores, [[0, 0], [0, 1]]), axis=1, keepdims=True)
        with_frame = Proposals(
            tf.concat([frame, proposals.boxes], axis=1),
            tf.concat([best, proposals.scores], axis=1),
            tf.pad(proposals.mask, [[0, 0], [1, 0]], constant_values=True),
        )
        features = self.extract_boxes(pixels, with_frame.boxes)
        return Regions(features, *with_frame)

    def extract_boxes(self, pixels: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
        """Extracts the features of given boxes.

        Args:
            pixels: float tensor [B, P, P, 3] in 0..255.
            boxes: float tensor [B, R, 4], `rel_yxyx`. Row 0 must be the whole frame, which the CNN
                sees at `frame_size`, the others at `crop_size`.

        Returns:
            float tensor [B, R, F].
        """
        features = self._extract_cnn_features(pixels, boxes)
        return with_positions(features, boxes) if self.settings.position else features

    def _extract_cnn_features(self, pixels: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
        if self.settings.features == "pooled":
            return pool_regions(self.cnn.feature_map(pixels), boxes)
        if self.settings.features == "one_pass":
            return self._extract_from_one_pass(pixels, boxes)
        frame = self._extract_crops(pixels, boxes[:, :1], self.settings.frame_size)
        if boxes.shape[1] == 1:
            return frame
        crops = self._extract_crops(pixels, boxes[:, 1:], self.settings.crop_size)
        return tf.concat([frame, crops], axis=1)

    def _extract_from_one_pass(self, pixels: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
        """Features [B, R, F] by the last blocks of the CNN on parts of one map (Fast R-CNN)."""
        maps = self.cnn.maps(pixels)
        frame = tf.reduce_mean(maps.last, axis=[1, 2])[:, tf.newaxis]
        if boxes.shape[1] == 1:
            return frame
        cells = self.crop(maps.middle, boxes[:, 1:], _CELLS)  # [B, R - 1, S, S, C]
        shape = tf.shape(cells)
        last = self.cnn.tail(tf.reshape(cells, [-1, _CELLS, _CELLS, cells.shape[4]]))
        features = tf.reduce_mean(last, axis=[1, 2])
        features = tf.reshape(features, [shape[0], shape[1], features.shape[1]])
        return tf.concat([frame, features], axis=1)

    def extract_frames(self, pixels: tf.Tensor) -> tf.Tensor:
        """Extracts the features [B, F] of whole images, which is cheaper than all regions.

        Args:
            pixels: float tensor [B, P, P, 3] in 0..255.
        """
        return self.extract_boxes(pixels, _frames(pixels))[:, 0]

    def _extract_crops(self, pixels: tf.Tensor, boxes: tf.Tensor, size: int) -> tf.Tensor:
        """Features [B, R, F] of crops of about size x size pixels, averaged over the scales."""
        sizes = [round(size * scale) for scale in _SCALES[: self.settings.scales]]
        if self.settings.resolution == "own":
            extents = image_extents(pixels)
            found = [
                extract_at_native_aspect(self._features_of_any_shape, pixels, boxes, extents, side)
                for side in sizes
            ]
        else:
            found = [self._extract_squares(pixels, boxes, side) for side in sizes]
        return found[0] if len(found) == 1 else tf.add_n(found) / len(found)

    @functools.cached_property
    def _features_of_any_shape(self) -> tf.types.experimental.PolymorphicFunction:
        """The CNN as one graph for crops of any shape: tracing it takes a second."""
        return tf.function(
            lambda crops: self.cnn.features(crops),
            input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)],
        )

    def _extract_squares(self, pixels: tf.Tensor, boxes: tf.Tensor, size: int) -> tf.Tensor:
        crops = self.crop(pixels, boxes, size)  # [B, R, S, S, 3]
        features = self.cnn.features(tf.reshape(crops, [-1, size, size, 3]))
        return tf.reshape(features, [tf.shape(boxes)[0], tf.shape(boxes)[1], features.shape[1]])

    def crop(self, pixels: tf.Tensor, boxes: tf.Tensor, size: int) -> tf.Tensor:
        """Crops boxes, see `visem_tf.regions.resample.crop_and_resize`."""
        return crop_and_resize(pixels, boxes, size)

    @functools.cached_property
    def compiled(self) -> tf.types.experimental.PolymorphicFunction:
        """The extractor as one graph, for batches of any size."""
        size = self.settings.picture_size
        signature = [tf.TensorSpec([None, size, size, 3], tf.float32)]
        return tf.function(self.__call__, input_signature=signature)

    def extract(self, encoded: list[bytes]) -> Regions:
        """Extracts the regions of a few encoded images, as NumPy arrays."""
        size = self.settings.picture_size
        resolution = self.settings.resolution
        pixels = tf.stack([prepare_image(tf.constant(p), size, resolution) for p in encoded])
        return self.extract_pixels(pixels)

    def extract_pixels(self, pixels: tf.Tensor) -> Regions:
        """Extracts the regions of prepared images [B, P, P, 3], as NumPy arrays."""
        return Regions(*(np.asarray(part) for part in self.compiled(pixels)))


def prepared_batches(
    images: tf.data.Dataset, settings: RegionsConfig, mirrored: bool = False
) -> tf.data.Dataset:
    """Prepares images for an extractor, in batches float [B, P, P, 3] in order.

    Args:
        images: Dataset of encoded images.
        settings: Section `regions` of the configuration.
        mirrored: Whether the images are mirrored horizontally.
    """

    def prepare(encoded: tf.Tensor) -> tf.Tensor:
        pixels = decode_image(encoded)
        pixels = tf.reverse(pixels, [1]) if mirrored else pixels
        return place_images(pixels, settings.picture_size, settings.resolution)

    prepared = images.map(prepare, num_parallel_calls=PARALLEL_READS)
    return prefetched(prepared.batch(settings.batch_size))


def feature_dim(settings: RegionsConfig) -> int:
    """Returns F, the size of the feature vector of a region."""
    return FEATURE_DIM + (POSITION_DIM if settings.position else 0)


def _frames(pixels: tf.Tensor) -> tf.Tensor:
    """The box of the whole frame of each of B images, [B, 1, 4]."""
    return tf.broadcast_to(tf.constant(FRAME), [tf.shape(pixels)[0], 1, 4])
