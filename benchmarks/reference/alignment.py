"""Sections 3.1.1 to 3.1.4 in NumPy: the BRNN, the scores, the objective, and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

Weights = dict[str, np.ndarray]


def embed_sentence(weights: Weights, words: np.ndarray) -> tuple[np.ndarray, Any]:
    """Returns the word embeddings s_t [N, D] of token ids [N], and the values for the gradient."""
    x = weights["words"][words]
    e = np.maximum(x @ weights["W_e"] + weights["b_e"], 0)
    forward, backward = np.zeros_like(e), np.zeros_like(e)
    before, after = np.zeros_like(e[0]), np.zeros_like(e[0])
    for t in range(len(words)):
        before = forward[t] = np.maximum(e[t] + before @ weights["W_f"] + weights["b_f"], 0)
    for t in reversed(range(len(words))):
        after = backward[t] = np.maximum(e[t] + after @ weights["W_b"] + weights["b_b"], 0)
    s = np.maximum((forward + backward) @ weights["W_d"] + weights["b_d"], 0)
    return s, (words, x, e, forward, backward, s)


def sentence_gradient(weights: Weights, kept: Any, upstream: np.ndarray, sums: Weights) -> None:
    """Adds the gradient of a sentence to `sums`, given that of its s_t."""
    words, x, e, forward, backward, s = kept
    ds = upstream * (s > 0)
    sums["W_d"] += (forward + backward).T @ ds
    sums["b_d"] += ds.sum(0)
    dh = ds @ weights["W_d"].T
    d_forward, d_backward = np.zeros_like(e), np.zeros_like(e)
    later = np.zeros_like(e[0])
    for t in reversed(range(len(words))):
        d_forward[t] = (dh[t] + later) * (forward[t] > 0)
        later = weights["W_f"] @ d_forward[t]
    later = np.zeros_like(e[0])
    for t in range(len(words)):
        d_backward[t] = (dh[t] + later) * (backward[t] > 0)
        later = weights["W_b"] @ d_backward[t]
    sums["W_f"] += forward[:-1].T @ d_forward[1:]
    sums["b_f"] += d_forward.sum(0)
    sums["W_b"] += backward[1:].T @ d_backward[:-1]
    sums["b_b"] += d_backward.sum(0)
    de = (d_forward + d_backward) * (e > 0)
    sums["W_e"] += x.T @ de
    sums["b_e"] += de.sum(0)
    np.add.at(sums["words"], words, de @ weights["W_e"].T)


def scores(regions: np.ndarray, sentences: list[np.ndarray]) -> tuple[np.ndarray, list[list[Any]]]:
    """Returns S_kl [B, N] of images [B, R, D] and word embeddings, and every word's best region."""
    found = np.zeros((len(regions), len(sentences)), np.float32)
    best: list[list[Any]] = []
    for k, picture in enumerate(regions):
        best.append([])
        for n, words in enumerate(sentences):
            products = words @ picture.T
            chosen = products.argmax(1)
            best[-1].append(chosen)
            found[k, n] = products[np.arange(len(words)), chosen].sum()
    return found, best


def scores_gradient(
    regions: np.ndarray, sentences: list[np.ndarray], best: list[list[Any]], upstream: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Returns the gradients with respect to regions and words, given that of S_kl."""
    d_regions, d_words = np.zeros_like(regions), [np.zeros_like(words) for words in sentences]
    for k in range(len(regions)):
        for n, words in enumerate(sentences):
            if upstream[k, n]:
                chosen = best[k][n]
                np.add.at(d_regions[k], chosen, upstream[k, n] * words)
                d_words[n] += upstream[k, n] * regions[k][chosen]
    return d_regions, d_words


def loss(found: np.ndarray, margin: float = 1.0) -> tuple[float, np.ndarray]:
    """Returns the objective C of pairs of different images, and its gradient."""
    total, gradient = 0.0, np.zeros_like(found)
    for k in range(len(found)):
        for n in range(len(found)):
            if k != n:
                for true in (
                    k,
                    n,
                ):  # a false sentence for picture k, a false picture for sentence n
                    if (cost := found[k, n] - found[true, true] + margin) > 0:
                        total += cost
                        gradient[k, n] += 1
                        gradient[true, true] -= 1
    return total, gradient


def alignment_gradient(
    weights: Weights, features: np.ndarray, sentences: list[np.ndarray]
) -> tuple[float, Weights]:
    """Returns C of a batch, features [B, R, F] and token ids, and the gradient of all weights."""
    sums = {name: np.zeros_like(value) for name, value in weights.items()}
    regions = features @ weights["W_m"] + weights["b_m"]
    embedded = [embed_sentence(weights, words) for words in sentences]
    words = [s for s, _ in embedded]
    found, best = scores(regions, words)
    total, d_scores = loss(found)
    d_regions, d_words = scores_gradient(regions, words, best, d_scores)
    for (_, kept), upstream in zip(embedded, d_words, strict=True):
        sentence_gradient(weights, kept, upstream, sums)
    flat = d_regions.reshape(-1, d_regions.shape[-1])
    sums["W_m"] += features.reshape(-1, features.shape[-1]).T @ flat
    sums["b_m"] += flat.sum(0)
    return total, sums


def smooth(similarities: np.ndarray, beta: float) -> np.ndarray:
    """Returns the regions int [N] of the words of a sentence, by dynamic programming."""
    count, regions = similarities.shape
    best = similarities[0].copy()
    came = np.zeros((count, regions), int)
    for j in range(1, count):
        step = np.empty_like(best)
        for i in range(regions):
            from_each = best + beta * (np.arange(regions) == i)
            came[j, i] = from_each.argmax()
            step[i] = from_each[came[j, i]] + similarities[j, i]
        best = step
    chosen = [int(best.argmax())]
    for j in range(count - 1, 0, -1):
        chosen.append(int(came[j, chosen[-1]]))
    return np.array(chosen[::-1])
