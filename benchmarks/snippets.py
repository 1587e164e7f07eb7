"""Compares the options of the section infer by the snippets that they cut, on validation data.

    python benchmarks/snippets.py --run-dir runs/flickr8k-best [--show 30]

Each row has the options that its label names; the other options of the section are those of the
preset `paper`, and the last row has those of the run. The data set must have marked phrases.
`--show` prints some random snippets of the first row and of the options of the run.
"""

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from visem_tf.cli import make_parser, parse_arguments, run_command
from visem_tf.config.inference import PAPER_SNIPPETS
from visem_tf.errors import UserError
from visem_tf.runtime.startup import start_tensorflow

PAPER = {"beta": 0.5, **PAPER_SNIPPETS}
FOLLOW: dict[str, Any] = {"function_word_weight": 0.0}
TRIM: dict[str, Any] = {"trim": True}
NOUNS: dict[str, Any] = {"trim": True, "noun_share": 0.15}
PHRASES: dict[str, Any] = {**FOLLOW, **NOUNS, "boundary": 0.0}
ROWS: tuple[dict[str, Any], ...] = (
    {},
    TRIM,
    {**FOLLOW, **TRIM},
    {**FOLLOW, **TRIM, "boundary": 0.5},
    *({**FOLLOW, **TRIM, "boundary": 0.0, "beta": beta} for beta in (0.0, 0.25, 0.5, 1.0, 2.0)),
    {**FOLLOW, **TRIM, "boundary": 0.0, "split": True},
    NOUNS,
    *({**PHRASES, "beta": beta} for beta in (0.0, 0.25, 0.5, 1.0, 2.0)),
    {**FOLLOW, **NOUNS, "split": True},
    {**PHRASES, "split": True},
    {**PHRASES, "split": True, "beta": 1.0},
    *({**PHRASES, "split": True, "keep": keep} for keep in (0.75, 0.5)),
    {**PHRASES, "split": True, "min_words": 2},
)
COLUMNS = {
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "overlap": "overlap",
    "function_word_ends": "bad ends",
    "mean_length": "words",
    "snippets": "snippets",
    "pointing": "pointing",
}


def main() -> None:
    """Cuts the validation sentences once for every row."""
    parser = make_parser("benchmarks.snippets", "Compares ways to cut snippets.")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="print N snippets of each")
    config, options = parse_arguments(parser, finished_run=True)
    start_tensorflow()
    from visem_tf.metrics.phrases import one_box_a_phrase
    from visem_tf.metrics.regions import alignment_hits
    from visem_tf.runs.checkpoints import load_alignment_model, read_or_build_vocabulary
    from visem_tf.runs.grounding import Grounder
    from visem_tf.runs.opening import open_run
    from visem_tf.runs.scoring import sentence_token_ids
    from visem_tf.runs.snippets import SnippetCutter
    from visem_tf.stages.evaluate_regions import all_regions
    from visem_tf.stages.evaluate_snippets import marked_hits
    from visem_tf.stages.features import open_cache
    from visem_tf.text import tokenize

    context = open_run(config)
    split, cache = context.data.splits["val"], open_cache(context, "val")
    phrases = split.phrases
    if phrases is None or not len(phrases.boxes):
        raise UserError(f"{context.data.name} has no marked phrases; choose another run")
    vocabulary, model = read_or_build_vocabulary(context), load_alignment_model(context)
    token_ids, training_ids = (
        sentence_token_ids(vocabulary, sentences, config.text.max_words)
        for sentences in (split.sentences, context.data.splits["train"].sentences)
    )
    boxes, words = all_regions(cache), tokenize(tf.constant(split.sentences)).to_list()
    images = len(split.image_ids)
    print(f"{context.data.name}, validation split, {images} images")
    print("  ".join(f"{heading:>9}" for heading in COLUMNS.values()), " options")
    own = {name: getattr(config.infer, name) for name in PAPER}
    for changes in (*ROWS, own):
        settings = {f"infer.{name}": value for name, value in {**PAPER, **changes}.items()}
        changed = config.updated(settings)
        grounder = Grounder(model, vocabulary, changed)
        found = grounder.ground_split(cache, token_ids, split.image_index)
        snippets = SnippetCutter(vocabulary, changed.infer, training_ids)(found, token_ids)
        hits = marked_hits(snippets, phrases, vocabulary, token_ids)
        figures = hits.figures(hits.evidence(split.image_index, images))
        aligned = alignment_hits(
            found.regions,
            boxes.boxes,
            split.image_index,
            one_box_a_phrase(phrases),
            region_mask=boxes.region_mask,
            similarities=found.scores,
        )
        figures["pointing"] = aligned.accuracy()["pointing"]
        row = [f"{figures[name] or 0:9.{0 if name == 'snippets' else 2}f}" for name in COLUMNS]
        label = " ".join(f"{name}={value}" for name, value in changes.items())
        print("  ".join(row), "", label or "the paper", flush=True)
        if options.show and (changes in ({}, own)):
            some = np.random.default_rng(0).permutation(len(snippets.sentence))[: options.show]
            for n in some:
                sentence = words[snippets.sentence[n]]
                text = b" ".join(sentence[snippets.first[n] : snippets.last[n] + 1]).decode()
                print(f"    {text}")


if __name__ == "__main__":
    run_command(main)
