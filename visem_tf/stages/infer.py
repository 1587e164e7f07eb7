"""Stage infer: text snippets with a region each, for every training sentence (section 3.1.4).

    words -> regions by the chain MRF -> maximal runs of words with one region -> snippets

Writes `alignments.jsonl`, a line a training sentence. The region-level generator learns from these
snippets.
"""

import json
from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.alignment.segments import snippet_as_json
from visem_tf.runs.checkpoints import load_alignment_model, read_or_build_vocabulary
from visem_tf.runs.context import Context
from visem_tf.runs.grounding import Grounder
from visem_tf.runs.scoring import sentence_token_ids
from visem_tf.runs.snippets import SnippetCutter, require_snippets
from visem_tf.runtime.files import atomic_path
from visem_tf.stages.features import open_cache
from visem_tf.text import tokenize


def run(context: Context) -> dict[str, Any]:
    """Finds the snippets of the training sentences and writes them.

    Args:
        context: Context of a run with an alignment model.

    Returns:
        Number and mean length of the snippets, and the share that chose the whole frame.
    """
    config, split = context.config, context.data.splits["train"]
    vocabulary = read_or_build_vocabulary(context)
    token_ids = sentence_token_ids(vocabulary, split.sentences, config.text.max_words)
    grounder = Grounder(load_alignment_model(context), vocabulary, config)
    cache = open_cache(context, "train")
    found = grounder.ground_split(cache, token_ids, split.image_index)
    snippets = SnippetCutter(vocabulary, config.infer, token_ids)(found, token_ids)
    require_snippets(snippets)
    sentence, first, last, region, scores = snippets
    tokens = tokenize(tf.constant(split.sentences))[:, : config.text.max_words].to_list()
    sentence_ids = split.sentence_ids
    bounds = np.searchsorted(sentence, np.arange(len(tokens) + 1))
    has_boxes = split.regions is None or split.regions.has_boxes
    with (
        atomic_path(context.run / "alignments.jsonl") as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        for row, encoded in enumerate(tokens):
            words = [word.decode() for word in encoded]
            segments = []
            for n in range(bounds[row], bounds[row + 1]):
                box = found.boxes[row, first[n]] if has_boxes else None
                segments.append(
                    snippet_as_json(words, first[n], last[n], region[n], box, scores[n])
                )
            line = {
                "image_id": split.image_ids[split.image_index[row]],
                "sentence_id": sentence_ids[row],
                "tokens": words,
                "regions": found.regions[row, : len(words)].tolist(),
                "segments": segments,
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return {
        "sentences": len(tokens),
        "snippets": len(sentence),
        "words_per_snippet": round(float(np.mean(last + 1 - first)), 3),
        "whole_frame_share": round(float(np.mean(region == 0)), 4),
    }
