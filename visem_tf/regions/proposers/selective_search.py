"""Selective search (Uijlings et al. 2013), the proposals of the paper's R-CNN, through OpenCV.

It needs the extra `selective-search` and runs outside the graph, so that a model with it cannot be
exported.
"""

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.config import RegionsConfig
from visem_tf.errors import UserError
from visem_tf.regions.backbone import Backbone
from visem_tf.regions.proposers import Proposals
from visem_tf.regions.suppression import suppress

_CANDIDATES = 1000
_SEED = 1


class SelectiveSearchProposer:
    """Groups similar neighbouring segments into boxes; objects tend to come first.

    Args:
        num_boxes: Number of boxes to keep.
        nms_iou: Of two boxes whose intersection over union exceeds this, only the first is kept.

    Raises:
        UserError: OpenCV with its contributed modules is not installed.
    """

    in_graph = False

    def __init__(self, num_boxes: int, nms_iou: float) -> None:
        try:
            import cv2
        except ImportError as error:
            raise UserError(
                "regions.proposer selective_search needs OpenCV: "
                "pip install 'visem_tf[selective-search]'"
            ) from error
        if not hasattr(cv2, "ximgproc"):
            raise UserError(
                "regions.proposer selective_search needs OpenCV's contributed modules: pip install "
                "'visem_tf[selective-search]' in an environment without another OpenCV"
            )
        self.num_boxes = num_boxes
        self.nms_iou = nms_iou
        self._cv2: Any = cv2
        cv2.setNumThreads(1)  # with several, results depend on the order of the threads
        self._libc = ctypes.CDLL(None)

    def __call__(self, pixels: tf.Tensor) -> Proposals:
        """Proposes boxes for images float [B, P, P, 3] in 0..255; see `Proposer`."""
        boxes = tf.numpy_function(self._search, [pixels], tf.float32)
        boxes.set_shape([pixels.shape[0], _CANDIDATES, 4])
        scores = tf.broadcast_to(tf.linspace(1.0, 0.0, _CANDIDATES), tf.shape(boxes)[:2])
        is_box = tf.reduce_all(boxes[..., 2:] > boxes[..., :2], axis=2)
        scores = tf.where(is_box, scores, -1.0)
        proposals = Proposals(*suppress(boxes, scores, self.num_boxes, self.nms_iou))
        return proposals._replace(mask=proposals.mask & (proposals.scores >= 0.0))

    def _search(self, pixels: np.ndarray) -> np.ndarray:
        return np.stack([self._search_one(image) for image in pixels])

    def _search_one(self, image: np.ndarray) -> np.ndarray:
        search = self._cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
        search.setBaseImage(np.ascontiguousarray(image[..., ::-1].round().astype(np.uint8)))
        search.switchToSelectiveSearchFast()
        self._libc.srand(_SEED)  # boxes are ranked by random numbers of the C library
        found = search.process()[:_CANDIDATES].astype(np.float32)  # x, y, width, height in pixels
        height, width = image.shape[:2]
        x, y, w, h = found.T
        boxes = np.zeros([_CANDIDATES, 4], np.float32)
        boxes[: len(found)] = np.stack(
            [y / height, x / width, (y + h) / height, (x + w) / width], axis=1
        )
        return boxes


def build(
    settings: RegionsConfig, backbone: Backbone, weights: Path | None = None
) -> SelectiveSearchProposer:
    """Builds the proposer from the extra `selective-search`."""
    return SelectiveSearchProposer(settings.num_regions - 1, settings.nms_iou)
