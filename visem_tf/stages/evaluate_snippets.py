"""Part of the third experiment: snippets against the phrases that people marked (section 3.1.4)."""

from typing import Any

import tensorflow as tf

from visem_tf.alignment.snippets import Snippets
from visem_tf.config.inference import PAPER_SNIPPETS
from visem_tf.datasets.caption_dataset import Phrases
from visem_tf.metrics.snippets import SnippetHits, Spans, snippet_hits
from visem_tf.runs.grounding import Grounder
from visem_tf.runs.scoring import sentence_token_ids
from visem_tf.runs.snippets import SnippetCutter
from visem_tf.stages.experiment import EvaluatedSplit, Experiment, merge
from visem_tf.text import DETERMINERS, FUNCTION_WORDS, PAD_ID, Vocabulary


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
    results = []
    for name, changes in systems:
        config = grounder.config.updated(changes)
        own = Grounder(grounder.model, vocabulary, config)
        found = own.ground_split(data.cache, data.token_ids, split.image_index)
        snippets = SnippetCutter(vocabulary, config.infer, training_ids)(found, data.token_ids)
        hits = marked_hits(snippets, phrases, vocabulary, data.token_ids)
        evidence = hits.evidence(split.image_index, len(split.image_ids))
        figures: dict[str, Any] = hits.figures(evidence)
        if name:
            figures = {name: figures}
        results.append(Experiment(figures, {}, evidence).under(name))
    merged = merge(results).under("snippets")
    return merged._replace(figures={"snippets": merged.figures})


def marked_hits(
    snippets: Snippets, phrases: Phrases, vocabulary: Vocabulary, token_ids: tf.RaggedTensor
) -> SnippetHits:
    """Compares the snippets of a split with its marked phrases.

    Args:
        snippets: Snippets of the split.
        phrases: Phrases of the split; their boxes are not used.
        vocabulary: Vocabulary of the run.
        token_ids: Words of the sentences, int32 [S, (T)].
    """
    words = token_ids.to_tensor(PAD_ID).numpy()
    return snippet_hits(
        Spans(snippets.sentence, snippets.first, snippets.last),
        Spans(phrases.sentence_index, phrases.first, phrases.last),
        vocabulary.among(FUNCTION_WORDS)[words],
        vocabulary.among(DETERMINERS)[words],
    )
