"""Writes docs/scale.md: what larger data sets cost, from the results of `python -m benchmarks`.

    python -m benchmarks.scale

It reads docs/benchmarks.json; `scale.md.j2` is the text. Sizes follow from shapes and types; hours
are the number of images divided by measured rates.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from visem_tf.regions.shards import record_fields
from visem_tf.runtime.files import write_atomically

IMAGES = np.array([8_000, 123_000, 1_000_000, 100_000_000], float)
SENTENCES, WORDS, REGIONS, FEATURES, DIM = 5, 11, 20, 1_280, 1_000
PAIRS = SENTENCES * IMAGES**2
SIZES = {
    "feature cache": IMAGES * np.dtype(record_fields(REGIONS, FEATURES)).itemsize,
    "whole frames, in memory for the generator": IMAGES * FEATURES * 4,
    "token ids, in memory": IMAGES * SENTENCES * (WORDS * 4 + 8),
    "region embeddings": IMAGES * REGIONS * DIM * 4,
    "word embeddings": IMAGES * SENTENCES * WORDS * DIM * 4,
    "scores of all pairs, for ranking": PAIRS * 4,
}
"""Bytes of everything that is stored."""

AMOUNTS = {
    "features, crops": ("features, 20 regions, crops", IMAGES),
    "features, pooled": ("features, 20 regions, pooled", IMAGES),
    "alignment, an epoch": ("alignment step, float32", SENTENCES * IMAGES),
    "alignment, an epoch, mixed_bfloat16": ("alignment step, mixed_bfloat16", SENTENCES * IMAGES),
    "segments (MRF)": ("MRF", SENTENCES * IMAGES),
    "generator, an epoch (rnn 512)": (
        "generator step, rnn 512, float32",
        SENTENCES * WORDS * IMAGES,
    ),
    "descriptions, beam 7 (rnn 512)": ("beam 7, rnn 512", IMAGES),
    "scores of all pairs": ("ranking with regions", PAIRS),
}
"""The paths of all stages, of which the rate at the middle size is taken, and their units."""


def main() -> None:
    """Writes the page."""
    docs = Path(__file__).resolve().parents[1] / "docs"
    found = json.loads((docs / "benchmarks.json").read_text(encoding="utf-8"))
    write_atomically(docs / "scale.md", page(found))


def page(found: dict[str, Any]) -> str:
    """Returns the page as Markdown.

    Args:
        found: Content of the file that `python -m benchmarks --json FILE` writes.
    """
    machine, results = found["machine"], found["results"]
    gpus = ", ".join(machine["gpus"]) or "no GPU"
    measured = f"{machine['cores']} cores of {machine['processor']}, {gpus}"
    if machine["load"] > machine["cores"]:
        measured += f", under a load average of {machine['load']:g}"
    rates = {r["path"]: r["per_second"] for r in results if r["size"] == "middle"}
    images = " | ".join(f"{count:,.0f}" for count in IMAGES)
    environment = jinja2.Environment(keep_trailing_newline=True)
    environment.filters |= {"as_bytes": _bytes, "as_hours": _hours}
    text = Path(__file__).with_name("scale.md.j2").read_text(encoding="utf-8")
    return environment.from_string(text).render(
        machine=machine,
        measured=measured,
        heading=f"| images | {images} |\n|{'---|' * (len(IMAGES) + 1)}",
        sizes={name: bytes_of.tolist() for name, bytes_of in SIZES.items()},
        times={
            name: (amounts / rates[path] / 3600).tolist()
            for name, (path, amounts) in AMOUNTS.items()
            if path in rates
        },
        results=results,
    )


def _bytes(count: float) -> str:
    """Returns a number of bytes, as in "1.3 GB"."""
    power = min(int(np.log10(max(count, 1)) / 3), 5)
    count /= 1000**power
    return f"{count:,.{0 if count >= 10 else 1}f} {('B', 'KB', 'MB', 'GB', 'TB', 'PB')[power]}"


def _hours(hours: float) -> str:
    if hours < 0.01:
        return f"{3600 * hours:.1f} s"
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2f}"


if __name__ == "__main__":
    main()
