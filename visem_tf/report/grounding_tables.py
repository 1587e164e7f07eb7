"""Tables of phrase grounding: read-outs beside answers that know nothing, types, proposals."""

from collections.abc import Mapping
from typing import Any

from visem_tf.metrics.published import published
from visem_tf.report.table import Table

POINTING = {"pointing": "Pointing", "r1": "R@1", "r5": "R@5", "r10": "R@10"}
_BY_TYPE = {
    **POINTING,
    "ceiling": "Best of the regions",
    "centre_pointing": "Pointing at the centre",
    "frame_r1": "R@1 of the whole frame",
}
_READOUTS = {
    "phrase": "By phrase: largest expected overlap, highest point",
    "mrf": "By the MRF: the region of most words",
    "word": "By word: the region with the largest sum",
}


def grounding_of_phrases(metrics: Mapping[str, Any]) -> Table | None:
    """Makes the table of the read-outs; None if phrases were not grounded."""
    grounding = _grounding(metrics)
    if grounding is None:
        return None
    table = Table(
        f"Grounding of phrases, trained on {grounding['taught_by']}",
        f"For {grounding['phrases']:,} phrases whose boxes are known; in percent, higher is "
        "better. Pointing: phrases whose predicted point lies in one of their boxes. R@K: phrases "
        "for which one of the K best regions has an IoU of at least 0.5 with the box around all "
        "boxes of the phrase. For a phrase that names several things, the box around two regions "
        "comes first.",
        POINTING,
        metrics,
    )
    chosen = grounding["readout"]
    table.add(_READOUTS[chosen], grounding, "regions.grounding")
    for name, figures in grounding["readouts"].items():
        if name != chosen:
            table.add(_READOUTS[name], figures, f"regions.grounding.readouts.{name}")
    for label, name, of in (
        ("the best of the regions", "ceiling", "r1"),
        ("the centre of the image", "centre_pointing", "pointing"),
        ("a random point", "random_pointing", "pointing"),
        ("the whole frame", "frame_r1", "r1"),
    ):
        table.add(label, {of: grounding[name]}, reason="not defined")
    table.add_published(published(metrics).grounding)
    return table


def grounding_by_type(metrics: Mapping[str, Any]) -> Table | None:
    """Makes the table of the types of phrases; None if they have none."""
    grounding = _grounding(metrics)
    if grounding is None or not grounding["by_type"]:
        return None
    table = Table(
        "Grounding by type of phrase",
        "A phrase with two types counts in both.",
        _BY_TYPE,
        metrics,
    )
    for name, figures in grounding["by_type"].items():
        label = f"{name.capitalize()}, {figures['phrases']:,} phrases"
        table.add(label, figures, f"regions.grounding.by_type.{name}")
    return table


def proposals(metrics: Mapping[str, Any]) -> Table | None:
    """Makes the table of the recall of the proposals; None if phrases were not grounded."""
    grounding = _grounding(metrics)
    if grounding is None:
        return None
    names = {count: f"{count} regions" for count in grounding["proposal_recall"]}
    table = Table(
        "Recall of the proposals",
        f"The share of {grounding['boxes']:,} boxes of objects named by phrases that one of the "
        "first regions of the image, including the whole frame, reaches; in percent.",
        names,
        metrics,
    )
    for label, name in (
        ("IoU of at least 0.5", "proposal_recall"),
        ("IoU of at least 0.7", "proposal_recall_iou70"),
    ):
        table.add(label, grounding[name], f"regions.grounding.{name}")
    return table


def _grounding(metrics: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return (metrics["regions"] or {}).get("grounding")
