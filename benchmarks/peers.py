"""The alignment model and the generator in PyTorch, as plainly as one writes them from the paper.

Batches are padded and loop over the words; nothing is sorted, packed or fused by hand. It needs the
extra `peers`; without it, `python -m benchmarks` has no such column.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.inputs import DIM, FEATURES, VOCABULARY, WORD_DIM
from benchmarks.measuring import Work
from visem_tf.text import END_ID, PAD_ID, START_ID


class Alignment(nn.Module):
    """Section 3.1: regions and words in one space, scored by the best region of every word."""

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.regions = nn.Linear(FEATURES, DIM)
        self.words = nn.Embedding(VOCABULARY, WORD_DIM)
        self.word_projection = nn.Linear(WORD_DIM, DIM)
        self.forward_step, self.backward_step = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)
        self.output = nn.Linear(DIM, DIM)
        self.dropout = nn.Dropout(dropout)

    def encode_sentences(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Embeds sentences: token ids [N, T] to s [N, T, D]."""
        mask = (token_ids != PAD_ID).unsqueeze(2)  # [N, T, 1]
        words = self.dropout(self.words(token_ids))
        inputs = functional.relu(self.word_projection(words))
        steps = range(token_ids.shape[1])
        sums = torch.zeros_like(inputs)
        for recurrent, order in ((self.forward_step, steps), (self.backward_step, steps[::-1])):
            hidden, states = torch.zeros_like(inputs[:, 0]), [inputs[:, 0]] * len(steps)
            for t in order:
                hidden = functional.relu(inputs[:, t] + recurrent(hidden)) * mask[:, t]
                states[t] = hidden
            sums = sums + torch.stack(states, 1)
        return functional.relu(self.output(self.dropout(sums))) * mask

    def forward(self, features: torch.Tensor, token_ids: torch.Tensor) -> torch.Tensor:
        """Computes the loss of formula 9 of B images [B, R, F] and their sentences [B, T]."""
        regions = self.regions(self.dropout(features))
        words = self.encode_sentences(token_ids)
        similarities = torch.einsum("ird,jtd->ijtr", regions, words)
        scores = similarities.amax(3).sum(2)  # S_kl [images, sentences]
        own = scores.diagonal()
        others = 1 - torch.eye(len(scores))
        by_image = (scores - own[:, None] + 1).clamp(min=0) * others
        by_sentence = (scores - own[None, :] + 1).clamp(min=0) * others
        return (by_image + by_sentence).sum() / len(scores)


class Generator(nn.Module):
    """Section 3.2: the multimodal RNN of H units, which reads the image at its first step."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, hidden)
        self.image = nn.Linear(FEATURES, hidden, bias=False)
        self.inputs = nn.Linear(hidden, hidden, bias=False)
        self.recurrent = nn.Linear(hidden, hidden)
        self.output = nn.Linear(hidden, VOCABULARY)

    def step(self, words: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Returns h_t [N, H] after words [N]."""
        return functional.relu(self.inputs(self.words(words)) + self.recurrent(hidden))

    def first(self, features: torch.Tensor) -> torch.Tensor:
        """Returns h_1 [N, H], after the image and START."""
        start = torch.full([len(features)], START_ID)
        bias = self.inputs(self.words(start)) + self.recurrent.bias
        return functional.relu(self.image(features) + bias)

    def forward(self, features: torch.Tensor, token_ids: torch.Tensor) -> torch.Tensor:
        """Computes the cross-entropy of sentences [N, T], from START to END, of images [N, F]."""
        states = [self.first(features)]
        for t in range(1, token_ids.shape[1] - 1):
            states.append(self.step(token_ids[:, t], states[-1]))
        logits = self.output(torch.stack(states, 1))
        return functional.cross_entropy(
            logits.flatten(0, 1), token_ids[:, 1:].flatten(), ignore_index=PAD_ID
        )

    @torch.no_grad()
    def search(self, features: torch.Tensor, beams: int, steps: int) -> torch.Tensor:
        """Returns the sentences of a beam search of a fixed number of words, [N, K, L]."""
        count = len(features)
        hidden = self.first(features).repeat_interleave(beams, 0)
        total = torch.full([count, beams], -torch.inf)
        total[:, 0] = 0
        sentences = torch.zeros([count, beams, 0], dtype=torch.long)
        for _ in range(steps):
            log_probs = self.output(hidden).log_softmax(1).view(count, beams, -1)
            total, best = (total.unsqueeze(2) + log_probs).flatten(1).topk(beams)
            parent, word = best // log_probs.shape[2], best % log_probs.shape[2]
            chosen = parent.unsqueeze(2).expand(-1, -1, sentences.shape[2])
            sentences = torch.cat([sentences.gather(1, chosen), word.unsqueeze(2)], 2)
            rows = (torch.arange(count).unsqueeze(1) * beams + parent).flatten()
            hidden = self.step(word.flatten(), hidden[rows])
        return sentences


def train(model: nn.Module, optimizer: torch.optim.Optimizer, *arrays: np.ndarray) -> Work:
    """Returns a training step on one batch, with gradients clipped at 5."""
    inputs = [torch.from_numpy(array) for array in arrays]

    def step() -> float:
        optimizer.zero_grad()
        loss = model(*inputs)
        loss.backward()
        nn.utils.clip_grad_value_(model.parameters(), 5)
        optimizer.step()
        return float(loss.detach())

    return step


def alignment(features: np.ndarray, token_ids: np.ndarray) -> Work:
    """Returns a training step of the alignment: SGD with momentum, as ours."""
    model = Alignment()
    optimizer = torch.optim.SGD(model.parameters(), 1e-5, momentum=0.9)
    return train(model, optimizer, features, token_ids.astype(np.int64))


def generator(hidden: int, features: np.ndarray, token_ids: np.ndarray) -> Work:
    """Returns a training step of the generator with RMSProp."""
    model = Generator(hidden)
    optimizer = torch.optim.RMSprop(model.parameters(), 1e-6)
    return train(model, optimizer, features, token_ids.astype(np.int64))


def search(hidden: int, features: np.ndarray, beams: int, steps: int) -> Work:
    """Returns a beam search whose sentences never end early."""
    model, images = Generator(hidden).eval(), torch.from_numpy(features)
    model.output.bias.data[END_ID] = -50
    return lambda: model.search(images, beams, steps)
