"""Part of the third experiment: snippets against the phrases that people marked (section 3.1.4)."""

from typing import Any

from visem_tf.config.inference import PAPER_SNIPPETS
from visem_tf.datasets.caption_dataset import Phrases
from visem_tf.metrics.snippets import Spans, snippet_hits
from visem_tf.runs.grounding import Grounder
from visem_tf.runs.scoring import sentence_token_ids
from visem_tf.runs.snippets import SnippetCutter
from visem_tf.stages.experiment import EvaluatedSplit, Experiment, merge
from visem_tf.text import DETERMINERS, FUNCTION_WORDS, PAD_ID


def evaluate_snippets(data: EvaluatedSplit, grounder: Grounder, phrases: Phrases) -> Experiment:
    """Compares the snippets by the section infer with marked phrases, beside two baselines.

    The baselines are the segments of the paper with the same β, and with β = 0.

    Args:
        data: Split to evaluate on.
        grounder: Grounder of the run.
        phrases: Phrases of the split; their boxes are not used.
    """
    split, vocabulary = data.split, grounder.vocabulary
    segments = {f"infer.{name}": value for name, value in PAPER_SNIPPETS.items()}
    systems: tuple[tuple[str, dict[str, Any]], ...] = (
        ("", {}),
        ("segments", segments),
        ("without_mrf", {**segments, "infer.beta": 0.0}),
    )
    training = data.context.data.splits["train"].sentences
    training_ids = sentence_token_ids(vocabulary, training, grounder.config.text.max_words)
    words = data.token_ids.to_tensor(PAD_ID).numpy()
    kinds = [vocabulary.among(kind)[words] for kind in (FUNCTION_WORDS, DETERMINERS)]
    marked = Spans(phrases.sentence_index, phrases.first, phrases.last)
    results = []
    for name, changes in systems:
        config = grounder.config.updated(changes)
        own = Grounder(grounder.model, vocabulary, config)
        found = own.ground_split(data.cache, data.token_ids, split.image_index)
        snippets = SnippetCutter(vocabulary, config.infer, training_ids)(found, data.token_ids)
        own_spans = Spans(snippets.sentence, snippets.first, snippets.last)
        hits = snippet_hits(own_spans, marked, *kinds)
        evidence = hits.evidence(split.image_index, len(split.image_ids))
        results.append(Experiment(hits.figures(evidence), evidence=evidence).under(name))
    return merge(results).under("snippets")
