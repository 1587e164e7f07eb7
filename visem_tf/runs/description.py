"""Description of an image and its regions, as arrays."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Description:
    """Descriptions of an image and of its R regions.

    Attributes:
        caption: Caption of the whole image.
        log_prob: Log-probability of the caption.
        boxes: Boxes of the regions, float32 [R, 4], `rel_yxyx`; row 0 is the whole frame.
        region_captions: Descriptions of the regions; empty texts without a region generator.
        region_log_probs: Log-probabilities of these, float32 [R].
        region_scores: Scores of the proposer, float32 [R].
        attention: Weights of the regions for every word of the caption, float32 [words, R]; None
            if the generator does not attend to regions.
        region_fits: v_i . s_t, summed over the words of each region's description, float32 [R];
            None without an alignment model or a region generator.
    """

    caption: str
    log_prob: float
    boxes: np.ndarray
    region_captions: list[str]
    region_log_probs: np.ndarray
    region_scores: np.ndarray
    attention: np.ndarray | None = None
    region_fits: np.ndarray | None = None
