"""Named configurations: how they differ from the defaults of `visem_tf.config`.

- `smoke`: `python -m visem_tf.fit --preset smoke` runs all stages but propose on tiny models in
  about a minute on two cores, to check an installation. Its metrics have no meaning.
- `default`: chosen for good results in minutes: regions of the detector in the package,
  with features from one pass of the CNN and their positions; an alignment by cosines, trained by
  cross-entropy, which finds the regions of words best on drawn scenes; and a gated recurrent unit
  for whole-image sentences that attends to the regions before every word, is trained on
  likelihood and then on CIDEr, and whose beams the alignment ranks.
- `best`: the best on Flickr8K by validation data: the regions of `default`, with features of a
  larger CNN; two alignment models of `paper` at half its width, trained by cross-entropy with Adam
  on the images and their mirror images, joined, trained further together with the last blocks of
  the CNN, and then by self-training; and a generator of whole-image sentences as in `default`.
- `paper`: the paper's models and training: regions of a trained detector, each cut out and read by
  the CNN; embeddings and BRNN of 1,000 units, SGD with momentum 0.9 on 100 pairs, generators of 512
  units with RMSProp. The paper does not give the learning rates and their schedule, the weight
  decay, the dropout rates and the normalisation of the CNN features; the values here are our
  choice.
"""

from typing import Any

from visem_tf.config.inference import PAPER_SNIPPETS
from visem_tf.config.run_config import Config

ONE_PASS = {
    "proposer": "trained",
    "picture_size": 320,
    "features": "one_pass",
    "position": True,
}
"""Regions of a trained detector, with features from one pass of the CNN and their positions."""

PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "dataset": "scenes/smoke",
        "text": {"min_count": 1},
        "regions": {"num_regions": 6, "features": "pooled"},
        "align": {
            "embedding_dim": 32,
            "hidden_dim": 32,
            "word_dim": 32,
            "dropout_regions": 0.0,
            "dropout_words": 0.0,
            "dropout_hidden": 0.0,
            "learning_rate": 2e-3,
            "batch_size": 20,
            "epochs": 3,
        },
        "generate": {
            "hidden_dim": 64,
            "word_dim": 32,
            "dropout": 0.0,
            "image_dropout": 0.0,
            "learning_rate": 2e-3,
            "batch_size": 20,
            "epochs": 3,
            "beam_size": 3,
        },
        "evaluate": {"beam_size": 3},
    },
    "default": {
        "regions": ONE_PASS,
        "align": {"score": "cosine", "loss": "infonce", "temperature": 0.05, "epochs": 8},
        "infer": {"beta": 0.1, "box_scale": 8.0, "point_scale": 20.0, "hubness_scale": 20.0},
        "generate": {
            "model": "attention",
            "cell": "gru",
            "doubly_stochastic": 1.0,
            "optimizer": "adam",
            "bucket_batches": 20,
            "epochs": 6,
            "cider_epochs": 2,
            "cider_batch_size": 50,
            "cider_learning_rate": 3e-4,
            "length_normalisation": 1.0,
            "alignment_weight": 8.0,
        },
    },
    "paper": {
        "regions": {"proposer": "trained", "picture_size": 320, "crop_size": 192},
        "align": {
            "embedding_dim": 1000,
            "hidden_dim": 1000,
            "word_dim": 300,
            "dropout_regions": 0.2,
            "dropout_words": 0.2,
            "dropout_hidden": 0.2,
            "optimizer": "sgd",
            "learning_rate": 2e-3,
            "momentum": 0.9,
            "weight_decay": 1e-4,
            "batch_size": 100,
            "epochs": 30,
            "patience": 8,
            "schedule": "cosine",
            "warmup_steps": 300,
        },
        "infer": {"beta": 0.5, **PAPER_SNIPPETS, "readout": "mrf"},
        "generate": {
            "hidden_dim": 512,
            "word_dim": 512,
            "dropout": 0.5,
            "image_dropout": 0.5,
            "optimizer": "rmsprop",
            "learning_rate": 4e-4,
            "batch_size": 100,
            "epochs": 20,
            "patience": 4,
            "schedule": "cosine",
        },
    },
}

PRESETS["best"] = {
    **PRESETS["paper"],
    "regions": {
        **ONE_PASS,
        "backbone": "efficientnet_lite2",
        "proposer_backbone": "efficientnet_lite0",
    },
    "align": {
        **PRESETS["paper"]["align"],
        "embedding_dim": 512,
        "hidden_dim": 512,
        "loss": "infonce",
        "temperature": 1.0,
        "optimizer": "adam",
        "learning_rate": 5e-4,
        "batch_size": 128,
        "epochs": 14,
        "mirror": True,
        "members": 2,
        "finetune_epochs": 4,
        "finetune_from": 6,
        "finetune_learning_rate": 1e-4,
        "finetune_align_rate": 1e-4,
        "finetune_batch_size": 96,
        "finetune_sentences": 5,
        "self_training_epochs": 4,
    },
    "infer": {"hubness_scale": 0.5},
    "generate": {
        **PRESETS["paper"]["generate"],
        "model": "attention",
        "cell": "gru",
        "hidden_dim": 384,
        "word_dim": 300,
        "doubly_stochastic": 1.0,
        "image_dropout": 0.3,
        "mirror": True,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "warmup_steps": 300,
        "epochs": 12,
        "bucket_batches": 20,
        "cider_epochs": 2,
        "length_normalisation": 1.25,
        "alignment_weight": 0.3,
        "block_ngrams": 3,
        "block_content_words": True,
    },
}


def preset(name: str) -> Config:
    """Returns a named configuration.

    Args:
        name: Key of `PRESETS`.

    Raises:
        UserError: There is no such preset.

    Example:
        >>> preset("paper").align.embedding_dim
        1000
    """
    return Config().updated({"preset": name}).updated(PRESETS[name])
