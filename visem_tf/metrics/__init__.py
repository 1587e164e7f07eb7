"""The numbers of the paper's three experiments, in NumPy: ranking, captions, regions."""

from visem_tf.metrics.captions import caption_scores
from visem_tf.metrics.ranking import ranking_metrics, ranks
from visem_tf.metrics.regions import alignment_accuracy

__all__ = ["alignment_accuracy", "caption_scores", "ranking_metrics", "ranks"]
