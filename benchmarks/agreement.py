"""Compares our caption scores with direct calls of pycocoevalcap, and our ranking with a loop.

    python benchmarks/agreement.py --run-dir runs/f8k

Needs Java and the extra `eval`. Prints both values of every score with all digits.
"""

import contextlib
import io
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from visem_tf.cli import make_parser, parse_arguments, run_command
from visem_tf.metrics.caption_files import read_captions
from visem_tf.metrics.captions import CaptionScorer
from visem_tf.metrics.ranking import ranking_metrics
from visem_tf.runtime.startup import start_tensorflow


def by_hand(references: dict[str, list[str]], captions: dict[str, str]) -> dict[str, float]:
    """Returns the scores as the example of pycocoevalcap computes them, in percent."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    tokenizer = PTBTokenizer()
    gold = tokenizer.tokenize(
        {i: [{"caption": t} for t in texts] for i, texts in references.items()}
    )
    said = tokenizer.tokenize({i: [{"caption": text}] for i, text in captions.items()})
    with contextlib.redirect_stdout(io.StringIO()):
        bleu = Bleu(4).compute_score(gold, said)[0]
        found = {f"bleu{n}": value for n, value in enumerate(bleu, start=1)}
        for name, scorer in (("meteor", Meteor()), ("rouge_l", Rouge()), ("cider", Cider())):
            found[name] = scorer.compute_score(gold, said)[0]
    return {name: 100.0 * float(value) for name, value in found.items()}


def ranking_by_loop(scores: np.ndarray, image_index: np.ndarray) -> dict[str, list[int]]:
    """Returns ranks by definition: sort the candidates, with wrong answers first among ties."""
    annotation, search = [], []
    for picture, row in enumerate(scores):
        right = image_index == picture
        order = np.lexsort((right, -row))
        annotation.append(1 + int(np.flatnonzero(right[order])[0]))
    for sentence, column in enumerate(scores.T):
        right = np.arange(len(scores)) == image_index[sentence]
        order = np.lexsort((right, -column))
        search.append(1 + int(np.flatnonzero(right[order])[0]))
    return {"image_annotation": annotation, "image_search": search}


def main() -> None:
    """Prints both values of every score."""
    parser = make_parser("benchmarks.agreement", "Compares scores with pycocoevalcap and a loop.")
    config, _ = parse_arguments(parser, finished_run=True)
    start_tensorflow()
    from visem_tf.runs.checkpoints import load_alignment_model, read_or_build_vocabulary
    from visem_tf.runs.opening import open_run
    from visem_tf.runs.scoring import Scorer, sentence_token_ids
    from visem_tf.stages.features import open_cache

    context = open_run(config)
    split = context.data.splits[config.evaluate.split]
    captions = read_captions(context.run / f"captions_{split.name}.json")
    references = split.references()
    with CaptionScorer() as scorer:
        found = scorer.score(references, {"": captions})[""]
    ours, notes = found.scores, found.notes
    theirs = by_hand(references, captions)
    for name, value in theirs.items():
        print(f"{name:8} ours {ours[name]!r:20} by hand {value!r:20} {notes.get(name, '')}")
    cache, vocabulary = open_cache(context, split.name), read_or_build_vocabulary(context)
    token_ids = sentence_token_ids(vocabulary, split.sentences, config.text.max_words)
    scores = Scorer(load_alignment_model(context))(cache, token_ids)
    # First unchanged, then rounded so coarsely that most candidates are tied.
    for label, values in (("scores", scores), ("rounded scores", np.round(scores / 5))):
        figures = ranking_metrics(values, split.image_index)
        for direction, ranks in ranking_by_loop(values, split.image_index).items():
            rank = np.array(ranks)
            loop = {f"r{k}": 100 * np.mean(rank <= k) for k in (1, 5, 10)}
            loop["median_rank"] = np.median(rank)
            for name, value in loop.items():
                print(
                    f"{label}, {direction} {name}: ours {figures[direction][name]!r}, "
                    f"loop {float(value)!r}"
                )


if __name__ == "__main__":
    run_command(main)
