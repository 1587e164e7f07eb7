"""Writes docs/scale.md: what more pictures cost, from what `python -m benchmarks` measured.

    python -m benchmarks.scale [--json docs/benchmarks.json] [--to docs/scale.md]

Sizes follow from the types of what is stored; hours are pictures divided by measured rates.
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
    """The page as text.

    Args:
        found: what `python -m benchmarks --json FILE` wrote.
    """
    machine = found["machine"]
    gpus = ", ".join(machine["gpus"]) or "no GPU"
    measured = f"{machine['cores']} cores of {machine['processor']}, {gpus}"
    if machine["load"] > machine["cores"]:
        measured += f", busy with other work: {machine['load']:g} processes wanted them"
    return "\n".join(
        [
            "# From thousands of pictures to a hundred million",
            "",
            "This page is written by `python -m benchmarks.scale` from `docs/benchmarks.json`, "
            "which `python -m benchmarks --json docs/benchmarks.json` wrote on one machine "
            f"({measured}; TensorFlow {machine['tensorflow']}). On another machine the same two "
            "commands write its figures.",
            "",
            "## Sizes",
            "",
            f"{REGIONS} regions a picture, {SENTENCES} sentences of {WORDS} words, {FEATURES:,} "
            f"features in 16 bits, embeddings of {DIM:,} numbers in 32 bits.",
            "",
            *_table("pictures", [f"{count:,}" for count in PICTURES], _sizes()),
            "",
            "## Hours on the measured machine",
            "",
            "One epoch where it is a training. Features, snippets and descriptions are made "
            "picture by picture: N machines take an Nth of the time. Trainings on several machines "
            "exchange gradients and embeddings in every step, which these rates do not hold.",
            "",
            *_table("pictures", [f"{count:,}" for count in PICTURES], _hours(found["results"])),
            "",
            "## What grows with the data",
            "",
            "Training from a cache on disk, one, three and ten times as many pictures. Files of "
            "the cache that are mapped count as memory of the process:",
            "",
            *_growth(found["results"]),
            "",
            "## Where a choice stops holding",
            "",
            *_limits(),
            "",
        ]
    )


def _sizes() -> dict[str, list[str]]:
    import numpy as np

    from visem_tf.regions.dataset_cache import record_fields

    record = np.dtype(record_fields(REGIONS, FEATURES)).itemsize
    words = SENTENCES * WORDS
    bytes_each = {
        "feature cache": record,
        "frames alone, in memory for the generator": FEATURES * 4,
        "token ids, in memory": words * 4 + SENTENCES * 8,
        "region embeddings": REGIONS * DIM * 4,
        "word embeddings": words * DIM * 4,
    }
    return {
        name: [_bytes(each * count) for count in PICTURES] for name, each in bytes_each.items()
    } | {"scores of all pairs, for ranking": [_bytes(4 * SENTENCES * n * n) for n in PICTURES]}


def _hours(results: list[dict[str, Any]]) -> dict[str, list[str]]:
    """A row a stage, from the rate at the middle size, per picture."""
    rows = {
        "features, crops": ("features, 20 regions, crops", 1),
        "features, pooled": ("features, 20 regions, pooled", 1),
        "alignment, an epoch": ("alignment step, float32", SENTENCES),
        "alignment, an epoch, mixed_bfloat16": ("alignment step, mixed_bfloat16", SENTENCES),
        "snippets (MRF)": ("MRF", SENTENCES),
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
        "| | data | ms a pair | largest memory of the process, MiB | waiting for input |",
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
    """What gives way first, and what would replace it."""
    rows = [
        (
            "every shard of the cache is one mapped file of "
            f"{SHARD} pictures; Linux maps {MAPS:,} by default",
            f"{SHARD * MAPS:,} pictures",
            "a sharded cache that maps what it reads, or larger shards",
        ),
        (
            "the frames of all pictures are held in memory for the generator",
            f"{MEMORY // (FEATURES * 4):,} pictures in {MEMORY // 2**30} GiB",
            "reading frames from the cache by batch, as the alignment does",
        ),
        (
            "sentences and their order are held in memory, as 32-bit numbers",
            f"{2**31 // SENTENCES:,} pictures",
            "shuffling shards first and examples within a window (tf.data service)",
        ),
        (
            "a build of features that goes on reads the pictures before its place anew",
            "tens of pieces",
            "`python -m visem_tf.extract`, and data sets with random access (ArrayRecord)",
        ),
        (
            "the scores of all pairs are one matrix",
            f"{int((MEMORY / 4 / SENTENCES) ** 0.5):,} pictures in {MEMORY // 2**30} GiB",
            "approximate search by one vector a picture, exact scores among the first hits",
        ),
        (
            "one process trains",
            "days an epoch, in the table above",
            "several workers (`docs/distributed.md`), larger batches",
        ),
    ]
    lines = ["| the choice | holds to | what replaces it |", "|---|---|---|"]
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
