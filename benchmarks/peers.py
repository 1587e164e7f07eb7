"""Compares training and decoding with plain PyTorch on this machine (pip install -e '.[peers]').

    python benchmarks/peers.py --rounds 9

Every round runs ours and PyTorch's one after the other. A line has the units per second of both,
and the median, the smallest and the largest ratio of a round: above 1, ours is faster.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from statistics import median
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from visem_tf.runtime.startup import start_tensorflow

PAIRS, FEATURES, DIM, WORD_DIM = 100, 1_280, 1_000, 300
SENTENCES, IMAGES, STEPS = 100, 100, 20

Pair = tuple[str, str, int, Any, Any]
"""Name, unit, number of units, our work, and that of PyTorch."""


def main() -> None:
    """Prints a line for each comparison."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each pair (default: 9)")
    options = parser.parse_args()
    start_tensorflow()
    import tensorflow as tf
    import torch

    from benchmarks.measuring import seconds

    torch.manual_seed(0)
    versions = f"TensorFlow {tf.__version__}, PyTorch {torch.__version__}"
    print(f"{versions}, {torch.get_num_threads()} threads")
    print(f"{'':36}{'ours':>12}{'PyTorch':>12}{'ratio':>8}{'from':>8}{'to':>8}")
    for name, unit, amount, ours, theirs in pairs():
        for work in (ours, theirs):
            work()
        rounds = [(seconds(ours), seconds(theirs)) for _ in range(options.rounds)]
        ratios = sorted(their / our for our, their in rounds)
        speeds = [amount / median(column) for column in zip(*rounds, strict=True)]
        print(
            f"{name:36}{speeds[0]:12,.0f}{speeds[1]:12,.0f}"
            f"{median(ratios):8.2f}{ratios[0]:8.2f}{ratios[-1]:8.2f}  {unit} a second",
            flush=True,
        )


def pairs() -> Iterator[Pair]:
    """Yields the comparisons, at the sizes of the paper."""
    yield from _alignments()
    yield from _generators()


def _alignments() -> Iterator[Pair]:
    """A step of the alignment model: forward, backward, and SGD with momentum."""
    import keras
    import numpy as np
    import tensorflow as tf
    import torch

    from benchmarks.paths.sentences import VOCABULARY, features, padded, token_rows
    from benchmarks.reference.pytorch import Alignment
    from visem_tf.models.alignment_model import AlignmentModel
    from visem_tf.models.region_encoder import RegionEncoder
    from visem_tf.models.sentence_encoder import SentenceEncoder

    random = np.random.default_rng(0)
    token_ids = padded(token_rows(random, PAIRS))
    for regions in (1, 20):
        vectors = features(random, PAIRS, regions, FEATURES)
        batch = {
            "region_features": tf.constant(vectors),
            "region_mask": tf.ones([PAIRS, regions], tf.bool),
            "token_ids": tf.constant(token_ids),
            "image_ids": tf.range(PAIRS),
        }
        encoder = SentenceEncoder(VOCABULARY, DIM, DIM, WORD_DIM, 0.2, 0.2)
        model = AlignmentModel(RegionEncoder(DIM, dropout=0.2), encoder)
        model.compile(optimizer=keras.optimizers.SGD(1e-5, momentum=0.9))
        model(batch)
        model.optimizer.build(model.trainable_variables)
        step = tf.function(model.train_step, autograph=False)
        peer = Alignment(VOCABULARY, FEATURES, DIM, WORD_DIM)
        optimizer = torch.optim.SGD(peer.parameters(), 1e-5, momentum=0.9)
        inputs = torch.from_numpy(vectors), torch.from_numpy(token_ids).long()
        yield (
            f"alignment step, {regions} region{'s' * (regions > 1)}",
            "pairs",
            PAIRS,
            lambda step=step, batch=batch: step(batch)["loss"].numpy(),
            lambda peer=peer, optimizer=optimizer, inputs=inputs: _train(peer, optimizer, inputs),
        )


def _generators() -> Iterator[Pair]:
    """A training step of the generator with RMSProp, and sentences of 20 words."""
    import keras
    import numpy as np
    import tensorflow as tf
    import torch

    from benchmarks.paths.sentences import VOCABULARY, features, padded, token_rows
    from benchmarks.reference.pytorch import Generator
    from visem_tf.decoding import beam_search, greedy_search
    from visem_tf.models.caption_generator import CaptionGenerator
    from visem_tf.text import END_ID

    random = np.random.default_rng(0)
    rows = token_rows(random, SENTENCES)
    vectors, token_ids = features(random, SENTENCES, FEATURES), padded(rows, ends=True)
    images = features(random, IMAGES, FEATURES)
    for hidden in (256, 512):
        model = CaptionGenerator(VOCABULARY, hidden, hidden, dropout=0.3)
        model.compile(optimizer=keras.optimizers.RMSprop(1e-6))
        batch = {"image_features": tf.constant(vectors), "token_ids": tf.constant(token_ids)}
        model(batch)
        model.optimizer.build(model.trainable_variables)
        step = tf.function(model.train_step, autograph=False)
        peer = Generator(VOCABULARY, FEATURES, hidden)
        optimizer = torch.optim.RMSprop(peer.parameters(), 1e-6)
        inputs = torch.from_numpy(vectors), torch.from_numpy(token_ids).long()
        yield (
            f"generator step, rnn {hidden}",
            "words",
            sum(map(len, rows)),
            lambda step=step, batch=batch: step(batch)["loss"].numpy(),
            lambda peer=peer, optimizer=optimizer, inputs=inputs: _train(peer, optimizer, inputs),
        )
        no_end = np.where(np.arange(VOCABULARY) == END_ID, -50.0, 0.0).astype(np.float32)
        model.output_projection.bias.assign(no_end)
        peer.output.bias.data.copy_(torch.from_numpy(no_end))
        peer.eval()
        for beams in (1, 7):

            @tf.function(autograph=False)
            def search(pictures: tf.Tensor, model=model, beams=beams) -> tf.Tensor:
                if beams == 1:
                    return greedy_search(model, pictures, STEPS)[0]
                return beam_search(model, pictures, beams, STEPS)[0]

            yield (
                f"{'greedy' if beams == 1 else f'beam {beams}'}, rnn {hidden}",
                "words",
                IMAGES * STEPS,
                lambda search=search: search(tf.constant(images)).numpy(),
                lambda peer=peer, beams=beams: peer.search(torch.from_numpy(images), beams, STEPS),
            )


def _train(model: Any, optimizer: Any, inputs: Any) -> float:
    optimizer.zero_grad()
    loss = model(*inputs)
    loss.backward()
    for parameter in model.parameters():
        parameter.grad.clamp_(-5, 5)
    optimizer.step()
    return float(loss.detach())


if __name__ == "__main__":
    main()
