"""Section 3.2 in NumPy: the multimodal RNN (or LSTM), its gradient, and beam search."""

from __future__ import annotations

from typing import Any

import numpy as np

Weights = dict[str, np.ndarray]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def cell_step(total: np.ndarray, carry: np.ndarray) -> tuple[np.ndarray, np.ndarray, Any]:
    """Returns h_t [H], c_t [H] and the values for the gradient.

    Args:
        total: W x_t + U h_{t-1} + b, [H] or [4 H].
        carry: c_{t-1} [H].
    """
    size = len(carry)
    if len(total) == size:
        return np.maximum(total, 0), carry, None
    admit, keep, show = (_sigmoid(total[i * size : (i + 1) * size]) for i in range(3))
    new = np.tanh(total[3 * size :])
    after = keep * carry + admit * new
    return show * np.tanh(after), after, (admit, keep, show, new, carry, after)


def cell_gradient(
    d_hidden: np.ndarray, d_carry: np.ndarray, hidden: np.ndarray, kept: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the gradients with respect to the pre-activation and to c_{t-1}."""
    if kept is None:
        return d_hidden * (hidden > 0), d_carry
    admit, keep, show, new, carry, after = kept
    squashed = np.tanh(after)
    d_after = d_carry + d_hidden * show * (1 - squashed**2)
    d_total = np.concatenate(
        [
            d_after * new * admit * (1 - admit),
            d_after * carry * keep * (1 - keep),
            d_hidden * squashed * show * (1 - show),
            d_after * admit * (1 - new**2),
        ]
    )
    return d_total, d_after * keep


def sentence_gradient(
    weights: Weights, features: np.ndarray, tokens: np.ndarray, sums: Weights
) -> float:
    """Adds the gradient of a sentence's negative log-likelihood to `sums` and returns it.

    Args:
        weights: Weights by name: words [V, W], W_hx, W_hi, W_hh, b_h, W_oh and b_o.
        features: CNN(I) [F].
        tokens: Token ids: START, the words, END.
        sums: Gradients by the names of the weights, which are added to.
    """
    inputs, targets = tokens[:-1], tokens[1:]
    x = weights["words"][inputs]
    projected = x @ weights["W_hx"] + weights["b_h"]
    hidden = np.zeros((len(inputs), len(weights["W_hh"])), np.float32)
    h, c, kept = np.zeros_like(hidden[0]), np.zeros_like(hidden[0]), []
    for t in range(len(inputs)):
        total = projected[t] + h @ weights["W_hh"]
        if t == 0:
            total = total + features @ weights["W_hi"]
        h, c, memory = cell_step(total, c)
        hidden[t] = h
        kept.append(memory)
    logits = hidden @ weights["W_oh"] + weights["b_o"]
    logits -= logits.max(1, keepdims=True)
    p = np.exp(logits)
    p /= p.sum(1, keepdims=True)
    at = np.arange(len(targets))
    surprise = -np.log(p[at, targets]).sum()

    p[at, targets] -= 1
    sums["W_oh"] += hidden.T @ p
    sums["b_o"] += p.sum(0)
    d_hidden = p @ weights["W_oh"].T
    d_totals = np.zeros_like(projected)
    d_later, d_carry = np.zeros_like(h), np.zeros_like(h)
    for t in reversed(range(len(inputs))):
        d_total, d_carry = cell_gradient(d_hidden[t] + d_later, d_carry, hidden[t], kept[t])
        d_totals[t] = d_total
        d_later = weights["W_hh"] @ d_total
    sums["W_hh"] += hidden[:-1].T @ d_totals[1:]
    sums["W_hi"] += np.outer(features, d_totals[0])
    sums["b_h"] += d_totals.sum(0)
    sums["W_hx"] += x.T @ d_totals
    np.add.at(sums["words"], inputs, d_totals @ weights["W_hx"].T)
    return float(surprise)


def rmsprop_step(
    weights: Weights,
    squares: Weights,
    features: np.ndarray,
    sentences: list[np.ndarray],
    rate: float = 1e-3,
) -> float:
    """Takes one step of RMSProp, with gradients clipped at 5; returns the loss per target."""
    sums = {name: np.zeros_like(value) for name, value in weights.items()}
    surprise = sum(
        sentence_gradient(weights, vector, tokens, sums)
        for vector, tokens in zip(features, sentences, strict=True)
    )
    count = sum(len(tokens) - 1 for tokens in sentences)
    for name, total in sums.items():
        gradient = np.clip(total / count, -5, 5)
        squares[name] = 0.9 * squares[name] + 0.1 * gradient**2
        weights[name] -= rate * gradient / np.sqrt(squares[name] + 1e-7)
    return surprise / count


def beam_search(
    weights: Weights, features: np.ndarray, beam_size: int, steps: int
) -> tuple[float, list[int]]:
    """Returns the best sentence of a beam search, which never contains PAD, START or UNK."""
    zeros = np.zeros(len(weights["W_hh"]), np.float32)
    picture = features @ weights["W_hi"]
    beams: list[tuple[float, list[int], Any]] = [(0.0, [], (zeros, zeros))]
    for t in range(steps):
        candidates = []
        for log_prob, said, state in beams:
            if said and said[-1] == 2:  # END
                candidates.append((log_prob, said, state))
                continue
            h, c = state
            x = weights["words"][said[-1] if said else 1]
            total = x @ weights["W_hx"] + weights["b_h"] + h @ weights["W_hh"]
            h, c, _ = cell_step(total + picture if t == 0 else total, c)
            logits = h @ weights["W_oh"] + weights["b_o"]
            logits -= logits.max()
            log_probs = logits - np.log(np.exp(logits).sum())
            log_probs[[0, 1, 3]] = -np.inf
            for word in np.argsort(-log_probs)[:beam_size]:
                candidates.append((log_prob + log_probs[word], [*said, int(word)], (h, c)))
        candidates.sort(key=lambda candidate: -candidate[0])
        beams = candidates[:beam_size]
        if all(said[-1] == 2 for _, said, _ in beams):
            break
    finished = [beam for beam in beams if beam[1][-1] == 2]
    log_prob, said, _ = (finished or beams)[0]
    return float(log_prob), said
