"""The alignment model and the generator in PyTorch, as plainly as one writes them from the paper.

Batches are padded and loop over the words; nothing is sorted, packed or fused by hand.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

PAD, START, END = 0, 1, 2


class Alignment(nn.Module):
    """Section 3.1: regions and words in one space, scored by the best region of every word.

    Args:
        vocabulary: Number of words.
        features: F, the size of the CNN's vectors.
        dim: D, the size of the embeddings and of the hidden states.
        word_dim: Size of the word vectors.
    """

    def __init__(self, vocabulary: int, features: int, dim: int, word_dim: int) -> None:
        super().__init__()
        self.regions = nn.Linear(features, dim)
        self.words = nn.Embedding(vocabulary, word_dim)
        self.word_projection = nn.Linear(word_dim, dim)
        self.forward_step, self.backward_step = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.output = nn.Linear(dim, dim)

    def encode_sentences(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Embeds sentences: token ids [N, T] to s [N, T, D]."""
        mask = (token_ids != PAD).unsqueeze(2)  # [N, T, 1]
        words = functional.dropout(self.words(token_ids), 0.2, self.training)
        inputs = functional.relu(self.word_projection(words))
        steps = range(token_ids.shape[1])
        sums = torch.zeros_like(inputs)
        for recurrent, order in ((self.forward_step, steps), (self.backward_step, steps[::-1])):
            hidden, states = torch.zeros_like(inputs[:, 0]), [inputs[:, 0]] * len(steps)
            for t in order:
                hidden = functional.relu(inputs[:, t] + recurrent(hidden)) * mask[:, t]
                states[t] = hidden
            sums = sums + torch.stack(states, 1)
        return functional.relu(self.output(functional.dropout(sums, 0.2, self.training))) * mask

    def forward(self, features: torch.Tensor, token_ids: torch.Tensor) -> torch.Tensor:
        """Computes the loss of formula 9 of B images [B, R, F] and their sentences [B, T]."""
        regions = self.regions(functional.dropout(features, 0.2, self.training))
        words = self.encode_sentences(token_ids)
        similarities = torch.einsum("ird,jtd->ijtr", regions, words)
        scores = similarities.amax(3).sum(2)  # S_kl [images, sentences]
        own = scores.diagonal()
        others = 1 - torch.eye(len(scores))
        by_image = (scores - own[:, None] + 1).clamp(min=0) * others
        by_sentence = (scores - own[None, :] + 1).clamp(min=0) * others
        return (by_image + by_sentence).sum() / len(scores)


class Generator(nn.Module):
    """Section 3.2: the multimodal RNN, which reads the image at its first step.

    Args:
        vocabulary: Number of words.
        features: F, the size of the CNN's vectors.
        hidden: Size of the hidden states and of the word vectors.
    """

    def __init__(self, vocabulary: int, features: int, hidden: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, hidden)
        self.image = nn.Linear(features, hidden, bias=False)
        self.inputs = nn.Linear(hidden, hidden, bias=False)
        self.recurrent = nn.Linear(hidden, hidden)
        self.output = nn.Linear(hidden, vocabulary)

    def step(self, words: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Returns h_t [N, H] after words [N]."""
        return functional.relu(self.inputs(self.words(words)) + self.recurrent(hidden))

    def first(self, features: torch.Tensor) -> torch.Tensor:
        """Returns h_1 [N, H], after the image and START."""
        start = torch.full([len(features)], START)
        bias = self.inputs(self.words(start)) + self.recurrent.bias
        return functional.relu(self.image(features) + bias)

    def forward(self, features: torch.Tensor, token_ids: torch.Tensor) -> torch.Tensor:
        """Computes the cross-entropy of sentences [N, T], from START to END, of images [N, F]."""
        states = [self.first(features)]
        for t in range(1, token_ids.shape[1] - 1):
            states.append(self.step(token_ids[:, t], states[-1]))
        logits = self.output(functional.dropout(torch.stack(states, 1), 0.3, self.training))
        return functional.cross_entropy(
            logits.flatten(0, 1), token_ids[:, 1:].flatten(), ignore_index=PAD
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
