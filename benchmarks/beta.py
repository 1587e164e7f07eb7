"""Compares values of β of the MRF on the validation split of a run, as a table and a plot.

    python benchmarks/beta.py --run-dir runs/scenes-default [--plot docs/images/beta.png]

Word accuracy needs a data set with boxes for phrases; segment lengths do not.
"""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import matplotlib as mpl
import numpy as np

from visem_tf.cli import make_parser, parse_arguments, run_command
from visem_tf.runtime.startup import start_tensorflow

BETAS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)


def main() -> None:
    """Aligns the validation sentences once for every β."""
    parser = make_parser("benchmarks.beta", "Sweeps the MRF's beta on validation data.")
    parser.add_argument("--plot", default="", metavar="FILE", help="draw the table into this file")
    config, options = parse_arguments(parser, finished_run=True)
    start_tensorflow()
    from visem_tf.alignment.segments import find_segments
    from visem_tf.metrics.phrases import one_box_a_phrase
    from visem_tf.metrics.regions import alignment_hits
    from visem_tf.runs.checkpoints import load_alignment_model, read_or_build_vocabulary
    from visem_tf.runs.grounding import Grounder
    from visem_tf.runs.opening import open_run
    from visem_tf.runs.scoring import sentence_token_ids
    from visem_tf.stages.evaluate_regions import all_regions
    from visem_tf.stages.features import open_cache

    context = open_run(config)
    split, cache = context.data.splits["val"], open_cache(context, "val")
    vocabulary, model = read_or_build_vocabulary(context), load_alignment_model(context)
    token_ids = sentence_token_ids(vocabulary, split.sentences, config.text.max_words)
    regions, phrases = all_regions(cache), split.phrases
    rows = []
    print(f"{context.data.name}, validation split, {len(split.image_ids)} images")
    print(" beta  words a snippet  whole frame %  word accuracy %  phrase IoU>=0.5 %  pointing %")
    grounder = Grounder(model, vocabulary, config)
    for beta in BETAS:
        found = grounder.ground_split(cache, token_ids, split.image_index, beta)
        _, first, last, region = find_segments(found.regions)
        row = [beta, np.mean(last - first + 1), 100 * np.mean(region == 0)]
        if phrases is not None:
            hits = alignment_hits(
                found.regions,
                regions.boxes,
                split.image_index,
                one_box_a_phrase(phrases),
                region_mask=regions.region_mask,
                similarities=found.scores,
            )
            accuracy = hits.accuracy()
            row += [accuracy[name] for name in ("word_accuracy", "phrase_iou50", "pointing")]
        rows.append(row)
        print("{:5g}  {:15.2f}  {:13.1f}".format(*row[:3]), end="")
        print("  {:15.1f}  {:17.1f}  {:10.1f}".format(*row[3:]) if row[3:] else "", flush=True)
    if options.plot:
        draw(np.array(rows), Path(options.plot))
        print(f"drawn: {options.plot}")


def draw(rows: np.ndarray, path: Path) -> None:
    """Plots word accuracy, if known, and segment length against β on two axes."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, left = plt.subplots(figsize=(6.4, 3.6), dpi=130)
    left.set_xlabel("β")
    left.set_xscale("function", functions=(np.sqrt, np.square))  # room for the small ones
    left.set_xticks(rows[:, 0], [f"{beta:g}" for beta in rows[:, 0]])
    left.minorticks_off()
    lines = []
    if rows.shape[1] > 3:
        lines += left.plot(rows[:, 0], rows[:, 3], "o-", color="#1b6ca8", label="word accuracy, %")
        left.set_ylabel("word accuracy, %")
        left.set_ylim(bottom=0)
    right = left.twinx() if lines else left
    lines += right.plot(rows[:, 0], rows[:, 1], "s--", color="#c05a1c", label="words a snippet")
    right.set_ylabel("words a snippet")
    right.set_ylim(bottom=0)
    left.legend(handles=lines, loc="lower center")
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    run_command(main)
