"""KerasCV's pretrained RetinaNet, a detector as in the paper, of the 20 classes of PASCAL VOC.

KerasCV downloads its weights (some 150 MB) from Kaggle at the first use.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import keras_cv
import tensorflow as tf

from visem_tf.config import RegionsConfig
from visem_tf.errors import UserError
from visem_tf.regions.backbone import Backbone
from visem_tf.regions.proposers import Proposals
from visem_tf.regions.suppression import suppress

PRESET = "retinanet_resnet50_pascalvoc"


@dataclass(frozen=True)
class RetinaNetProposer:
    """Keeps the boxes of highest confidence of a RetinaNet, of any class.

    Args:
        detector: A `keras_cv.models.RetinaNet`.
        num_boxes: Number of boxes to keep.
        nms_iou: Of two boxes whose intersection over union exceeds this, only the better is kept.
    """

    in_graph: ClassVar = True

    detector: Any
    num_boxes: int
    nms_iou: float

    def __call__(self, pixels: tf.Tensor) -> Proposals:
        """Proposes boxes for images float [B, P, P, 3] in 0..255; see `Proposer`."""
        found = self.detector.decode_predictions(self.detector(pixels, training=False), pixels)
        boxes = keras_cv.bounding_box.convert_format(
            found["boxes"],
            source=self.detector.bounding_box_format,
            target="rel_yxyx",
            image_shape=tuple(pixels.shape[1:]),
        )
        boxes = tf.clip_by_value(boxes, 0.0, 1.0)
        found_any = tf.sequence_mask(found["num_detections"], tf.shape(boxes)[1])
        real = found_any & tf.reduce_all(boxes[..., 2:] > boxes[..., :2], axis=2)
        scores = tf.where(real, tf.cast(found["confidence"], tf.float32), -1.0)
        proposals = Proposals(*suppress(boxes, scores, self.num_boxes, self.nms_iou))
        return proposals._replace(mask=proposals.mask & (proposals.scores >= 0.0))


def build(
    settings: RegionsConfig, backbone: Backbone, weights: Path | None = None
) -> RetinaNetProposer:
    """Builds the proposer; downloads the detector unless Kaggle's cache has it.

    Raises:
        UserError: The detector cannot be downloaded.
    """
    try:
        detector = keras_cv.models.RetinaNet.from_preset(PRESET, bounding_box_format="rel_yxyx")
    except (OSError, ValueError, ImportError) as error:
        raise UserError(
            f"regions.proposer retinanet could not download {PRESET} from Kaggle "
            f"({type(error).__name__}): connect to the internet, or choose another proposer"
        ) from error
    num_boxes = settings.num_regions - 1
    detector.prediction_decoder = keras_cv.layers.NonMaxSuppression(
        bounding_box_format="rel_yxyx",
        from_logits=True,
        iou_threshold=settings.nms_iou,
        confidence_threshold=0.0,
        max_detections=num_boxes,
    )
    return RetinaNetProposer(detector, num_boxes, settings.nms_iou)
