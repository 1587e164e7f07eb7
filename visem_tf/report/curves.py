"""Training curves, as SVG in the colours of the page around it."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_PAGE_COLOUR = "#010203"  # becomes "currentColor"
_COLOURED = (
    *("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "legend.labelcolor"),
    *("xtick.color", "ytick.color"),
)
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "visem_tf",
    "font.family": "sans-serif",
    "font.size": 9,
    "legend.fontsize": 8,
    **dict.fromkeys(_COLOURED, _PAGE_COLOUR),
}

_PANELS = (
    ("Loss", {"loss": "training"}),
    (
        "Recall, % of the validation split",
        {
            "image_annotation_r10": "annotation R@10",
            "image_annotation_r1": "annotation R@1",
            "image_search_r10": "search R@10",
            "image_search_r1": "search R@1",
        },
    ),
    (
        "Recall of boxes, % of the validation split",
        {"recall_50": "IoU at least 0.5", "recall_70": "IoU at least 0.7"},
    ),
    ("Perplexity", {"perplexity": "training", "val_perplexity": "validation"}),
    ("CIDEr-D of greedy sentences, % of the validation split", {"val_cider": "validation"}),
)
_DECIDES = {"recall": True, "recall_sum": True, "val_perplexity": False, "val_cider": True}
"""Metrics that choose the best epoch, and whether larger values are better."""

_LINES = (("#2f7fd6", "-"), ("#2f7fd6", "--"), ("#d9601a", "-"), ("#d9601a", "--"))
_TWO_LINES = (("#2f7fd6", "--"), ("#d9601a", "-"))


@dataclass(frozen=True)
class Curves:
    """Curves of one training.

    Attributes:
        title: Heading.
        summary: What the curves show in words: the number of epochs, and the best one.
        panels: SVG markup for an HTML page; it contains no text from the data.
        names: Names of the metrics of an epoch.
        epochs: Values of every epoch, in the order of `names`.
        absent: Why there are no curves; empty if there are.
    """

    title: str
    summary: str = ""
    panels: Sequence[str] = ()
    names: Sequence[str] = ()
    epochs: Sequence[Sequence[str]] = ()
    absent: str = ""


def training_curves(
    title: str, history: Sequence[Mapping[str, float]], absent: str, monitor: str | None = None
) -> Curves:
    """Draws the curves of a training.

    Args:
        title: Heading.
        history: Metrics of every epoch, as in `progress.json`.
        absent: Why there are no curves, if `history` is empty.
        monitor: The metric that chose the best epoch, if the history has several that could.
    """
    if not history:
        return Curves(title, absent=absent)
    names = list(history[0])
    return Curves(
        title,
        _summary(history, monitor),
        _panels(history, title),
        [name.replace("_", " ") for name in names],
        [[f"{row[name]:.4g}" if name in row else "" for name in names] for row in history],
    )


def _summary(history: Sequence[Mapping[str, float]], monitor: str | None) -> str:
    text = f"{len(history)} epoch{'s' if len(history) > 1 else ''}"
    for name, larger_is_better in _DECIDES.items():
        if monitor in (None, name) and all(name in metrics for metrics in history):
            values = [metrics[name] for metrics in history]
            best = max(values) if larger_is_better else min(values)
            title = name.replace("val_", "validation ").replace("_", " ")
            text += f"; the best is epoch {values.index(best) + 1}, with {title} {best:.4g}"
    return text


def _panels(history: Sequence[Mapping[str, float]], title: str) -> list[str]:
    known, panels = history[0], []
    for number, (heading, names) in enumerate(_PANELS):
        lines = {name: label for name, label in names.items() if name in known}
        repeats = heading == "Loss" and "perplexity" in known  # the loss is its logarithm
        if lines and not repeats:
            prefix = re.sub(r"\W+", "-", f"{title}-{number}-")
            panels.append(_inline(_svg(heading, lines, history), prefix))
    return panels


def _svg(heading: str, lines: Mapping[str, str], history: Sequence[Mapping[str, float]]) -> str:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.8, 2.6), layout="constrained")
        axes = figure.add_subplot()
        styles = _LINES if len(lines) > 2 else _TWO_LINES
        for (name, label), (colour, dashes) in zip(lines.items(), styles, strict=False):
            values = [metrics.get(name, float("nan")) for metrics in history]
            marker = "o" if len(values) < 12 else ""
            epochs = range(1, len(values) + 1)
            axes.plot(epochs, values, dashes, color=colour, label=label, marker=marker, ms=3)
        axes.set_title(heading)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if len(history) == 1:
            axes.set_xlim(0.5, 1.5)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if len(lines) > 1:
            axes.legend(frameon=False, handlelength=2.6, loc="upper left", bbox_to_anchor=(1, 1))
        buffer = io.StringIO()
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    return buffer.getvalue()


def _inline(markup: str, prefix: str) -> str:
    """Turns an SVG file into a part of an HTML page, with unique ids."""
    markup = markup[markup.index("<svg") :]
    markup = re.sub(r"<metadata>.*?</metadata>", "", markup, flags=re.DOTALL)
    # HTML needs no namespaces, which would count as links.
    markup = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", markup)
    # The page sets the size, and has the summary for screen readers.
    start, rest = markup.split(">", 1)
    start = re.sub(r'\s(width|height)="[^"]*"', "", start)
    markup = f'{start} aria-hidden="true">{rest}'
    markup = re.sub(r'(\sid="|href="#|url\(#)', rf"\g<1>{prefix}", markup)
    return markup.replace(_PAGE_COLOUR, "currentColor")
