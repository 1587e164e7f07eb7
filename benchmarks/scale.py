"""Writes docs/scale.md: what larger data sets cost, from the results of `python -m benchmarks`.

    python -m benchmarks.scale [--json docs/benchmarks.json] [--to docs/scale.md]

Sizes follow from shapes and types; hours are the number of images divided by measured rates.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from visem_tf.runtime.files import write_atomically
from visem_tf.runtime.startup import start_tensorflow

PICTURES = (8_000, 123_000, 1_000_000, 100_000_000)
SENTENCES, WORDS, REGIONS, FEATURES, DIM = 5, 11, 20, 1_280, 1_000
SHARD, MAPS, MEMORY = 256, 65_530, 16 * 2**30


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale")
    parser.add_argument("--json", type=Path, default=Path("docs/benchmarks.json"))
    parser.add_argument("--to", type=Path, default=Path("docs/scale.md"))
    options = parser.parse_args()
    start_tensorflow()
    write_atomically(options.to, page(json.loads(options.json.read_text(encoding="utf-8"))))


def page(found: dict[str, Any]) -> str:
    """Returns the page as Markdown.

    Args:
        found: Content of the file that `python -m benchmarks --json FILE` writes.
    """
    machine = found["machine"]
    gpus = ", ".join(machine["gpus"]) or "no GPU"
    measured = f"{machine['cores']} cores of {machine['processor']}, {gpus}"
    if machine["load"] > machine["cores"]:
        measured += f", under a load average of {machine['load']:g}"
    return "\n".join(
        [
            "# From thousands of images to a hundred million",
            "",
            "`python -m benchmarks.scale` wrote this page from `docs/benchmarks.json`, which "
            "`python -m benchmarks --json docs/benchmarks.json` wrote on one machine "
            f"({measured}; TensorFlow {machine['tensorflow']}). Run the two commands again for the "
            "figures of another machine.",
            "",
            "## Sizes",
            "",
            f"{REGIONS} regions and {SENTENCES} sentences of {WORDS} words per image, {FEATURES:,} "
            f"features per region in 16 bits, embeddings of {DIM:,} numbers in 32 bits.",
            "",
            *_table("images", [f"{count:,}" for count in PICTURES], _sizes()),
            "",
            "## Hours on the measured machine",
            "",
            "Trainings are given per epoch. Features, segments and descriptions are independent "
            "per image, so N machines divide the time by N. Trainings on several machines exchange "
            "gradients and embeddings in every step, which these rates do not include.",
            "",
            *_table("images", [f"{count:,}" for count in PICTURES], _hours(found["results"])),
            "",
            "## Growth with the data",
            "",
            "Training from a cache on disk with one, three and ten times as many images. "
            "Memory-mapped files of the cache count as memory of the process:",
            "",
            *_growth(found["results"]),
            "",
            "## Limits of the design",
            "",
            *_limits(),
            "",
        ]
    )


def _sizes() -> dict[str, list[str]]:
    import numpy as np

    from visem_tf.regions.shards import record_fields

    record = np.dtype(record_fields(REGIONS, FEATURES)).itemsize
    words = SENTENCES * WORDS
    bytes_each = {
        "feature cache": record,
        "whole frames, in memory for the generator": FEATURES * 4,
        "token ids, in memory": words * 4 + SENTENCES * 8,
        "region embeddings": REGIONS * DIM * 4,
        "word embeddings": words * DIM * 4,
    }
    return {
        name: [_bytes(each * count) for count in PICTURES] for name, each in bytes_each.items()
    } | {"scores of all pairs, for ranking": [_bytes(4 * SENTENCES * n * n) for n in PICTURES]}


def _hours(results: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Returns one row per stage, from the rate at the middle size, per image."""
    rows = {
        "features, crops": ("features, 20 regions, crops", 1),
        "features, pooled": ("features, 20 regions, pooled", 1),
        "alignment, an epoch": ("alignment step, float32", SENTENCES),
        "alignment, an epoch, mixed_bfloat16": ("alignment step, mixed_bfloat16", SENTENCES),
        "segments (MRF)": ("MRF", SENTENCES),
        "generator, an epoch (rnn 512)": ("generator step, rnn 512, float32", SENTENCES * WORDS),
        "descriptions, beam 7 (rnn 512)": ("beam 7, rnn 512", 1),
        "scores of all pairs": ("ranking with regions", None),
    }
    rates = {r["path"]: r["per_second"] for r in results if r["size"] == "middle"}
    table = {}
    for name, (path, units) in rows.items():
        if path in rates:
            amounts = [n * (units or SENTENCES * n) for n in PICTURES]
            table[name] = [_hours_text(amount / rates[path] / 3600) for amount in amounts]
    return table


def _growth(results: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| | data | ms per pair | peak memory of the process, MiB | waiting for input |",
        "|---|---|---|---|---|",
    ]
    for r in results:
        if "waiting" in r:
            each = 1000 * r["seconds"] / r["amount"]
            lines.append(
                f"| {r['path']} | {r['setting']} | {each:.2f} | {r['peak_mib']:,.0f} | "
                f"{100 * r['waiting']:.1f} % |"
            )
    return lines


def _limits() -> list[str]:
    """Returns the table of design limits, and what would replace each part."""
    rows = [
        (
            "every shard of the cache is one memory-mapped file of "
            f"{SHARD} images; Linux allows {MAPS:,} maps by default",
            f"{SHARD * MAPS:,} images",
            "a cache that maps only the shards it reads, or larger shards",
        ),
        (
            "the whole-frame features of all images are held in memory for the generator",
            f"{MEMORY // (FEATURES * 4):,} images in {MEMORY // 2**30} GiB",
            "reading them from the cache in batches, as the alignment does",
        ),
        (
            "sentences and their order are held in memory, as 32-bit numbers",
            f"{2**31 // SENTENCES:,} images",
            "shuffling shards, then examples within a window (tf.data service)",
        ),
        (
            "an interrupted feature extraction reads the images before its position again",
            "tens of interruptions",
            "`python -m visem_tf.extract`, and data sets with random access (ArrayRecord)",
        ),
        (
            "the scores of all pairs are one matrix",
            f"{int((MEMORY / 4 / SENTENCES) ** 0.5):,} images in {MEMORY // 2**30} GiB",
            "approximate search with one vector per image, exact scores for the best hits",
        ),
        (
            "one process trains",
            "days per epoch, in the table above",
            "several workers (`docs/distributed.md`), larger batches",
        ),
    ]
    lines = ["| design | limit | replacement |", "|---|---|---|"]
    return lines + [f"| {choice} | {limit} | {after} |" for choice, limit, after in rows]


def _table(first: str, heads: list[str], rows: dict[str, list[str]]) -> list[str]:
    lines = ["| " + " | ".join([first, *heads]) + " |", "|---" * (len(heads) + 1) + "|"]
    return lines + ["| " + " | ".join([name, *cells]) + " |" for name, cells in rows.items()]


def _bytes(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB", "TB", "PB"):
        if count < 1000 or unit == "PB":
            return f"{count:,.0f} {unit}" if count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def _hours_text(hours: float) -> str:
    if hours < 0.01:
        return f"{3600 * hours:.1f} s"
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2f}"


if __name__ == "__main__":
    main()
