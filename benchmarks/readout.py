"""Compares ways from a phrase to its box and its point, by default on validation data.

    python benchmarks/readout.py --run-dir runs/f8k-best --infer.box_scale 1

The data set must have boxes for phrases. The first row is as configured; every other row changes
one field of the section infer.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from visem_tf.cli import make_parser, parse_arguments, run_command
from visem_tf.errors import UserError
from visem_tf.runtime.startup import start_tensorflow

CHANGES = (
    {"name": "word"},
    {"name": "mrf"},
    *({"box_scale": scale} for scale in (0.5, 1.0, 2.0, 4.0)),
    *({"proposer_weight": weight} for weight in (0.0, 0.5, 1.0, 2.0, 3.0)),
    *({"frame_penalty": penalty} for penalty in (0.0, 1.0, 2.0, 4.0)),
    *({"point_scale": scale} for scale in (0.5, 1.0, 2.0, 4.0)),
)
COLUMNS = ("pointing", "r1", "r5", "r10")


def main() -> None:
    """Grounds the validation phrases once for every row."""
    parser = make_parser("benchmarks.readout", "Compares read-outs of phrases.")
    parser.add_argument("--on", default="val", choices=("val", "test"), help="the split")
    config, options = parse_arguments(parser, finished_run=True)
    start_tensorflow()
    from visem_tf.metrics.grounding import (
        Candidates,
        by_type,
        percentages,
        proposal_hits,
        readout_hits,
        reference_hits,
        true_phrases,
        true_things,
    )
    from visem_tf.runs.checkpoints import load_alignment_model, read_or_build_vocabulary
    from visem_tf.runs.grounding import Grounder
    from visem_tf.runs.opening import open_run
    from visem_tf.runs.phrase_grounding import PhraseGrounder, Spans, configured_readout
    from visem_tf.runs.scoring import sentence_token_ids
    from visem_tf.stages.evaluate_regions import all_regions
    from visem_tf.stages.features import open_cache

    context = open_run(config)
    split, cache = context.data.splits[options.on], open_cache(context, options.on)
    if split.phrases is None:
        raise UserError(f"{context.data.name} has no boxes of phrases; choose another run")
    vocabulary, regions = read_or_build_vocabulary(context), all_regions(cache)
    token_ids = sentence_token_ids(vocabulary, split.sentences, config.text.max_words)
    truth = true_phrases(split.phrases)
    image = split.image_index[truth.sentence_index]
    overlaps = Candidates(regions.boxes, regions.region_mask, image).overlaps(truth)
    spans = Spans(truth.sentence_index, image, truth.first, truth.last)
    grounder = Grounder(load_alignment_model(context), vocabulary, config)
    configured = configured_readout(config)
    print(f"{context.data.name}, {options.on}, {len(truth.first):,} phrases; {configured}")
    for name, value in percentages(reference_hits(truth, overlaps)).items():
        print(f"  {name}: {value:.1f}")
    boxes, things = true_things(split.phrases, split.image_index)
    for min_iou in (0.5, 0.7):
        met = proposal_hits(regions.boxes, regions.region_mask, boxes, things, min_iou)
        known = percentages({key: hits for key, hits in met.items() if hits is not None})
        print(f"  proposal recall at IoU {min_iou}, by number of regions: {known}")
    types = by_type(truth.types)
    print("".join(f"{name:>10}" for name in (*COLUMNS, *types)), " (types: pointing)")
    for change in ({}, *CHANGES):
        readout = configured._replace(**change)
        if change and readout == configured:
            continue
        found = PhraseGrounder(grounder, readout).of_split(cache, token_ids, spans)
        hits = readout_hits(truth, overlaps, found.points, found.ranking)
        row = [percentages(hits)[name] for name in COLUMNS]
        row += [100 * hits["pointing"][rows].mean() for rows in types.values()]
        label = ", ".join(f"{name} {value}" for name, value in change.items())
        print("".join(f"{value:10.1f}" for value in row), f" {label}", flush=True)


if __name__ == "__main__":
    run_command(main)
