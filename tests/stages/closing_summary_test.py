"""The text with which `fit` ends."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.config import Config
from visem_tf.datasets.caption_dataset import CaptionDataset, Split
from visem_tf.runs.context import Context
from visem_tf.runs.run_directory import RunDirectory
from visem_tf.stages.closing_summary import closing_summary

RECALLS = {"r1": 29.2, "r5": 59.4, "r10": 72.6, "median_rank": 3.0}
CHANCE = {"r1": 0.2, "r5": 1.0, "r10": 2.0, "median_rank": 324.0}
DIRECTIONS = ("image_annotation", "image_search")
BLEU = {"bleu1": 60.7, "bleu2": 41.2, "bleu3": 27.6, "bleu4": 18.3}
ALIGNMENT = {"pointing": 84.8, "word_accuracy": 40.7, "phrase_iou50": 43.4}
METRICS = {
    "split": "test",
    "images": 1000,
    "published_split": "flickr8k",
    "ranking": dict.fromkeys(DIRECTIONS, RECALLS),
    "ranking_chance": dict.fromkeys(DIRECTIONS, CHANCE),
    "captions": {
        search: {**BLEU, "meteor": None, "cider": 37.9, "distinct_captions": 238}
        for search in ("greedy", "beam", "nearest_neighbour")
    },
    "regions": {
        **ALIGNMENT,
        **BLEU,
        **dict.fromkeys(("without_mrf", "whole_frame", "chance"), ALIGNMENT),
    },
}


@pytest.fixture
def context(tmp_path: Path) -> Context:
    images = np.zeros(2, np.int32)
    split = Split("train", ["1"], ["1.jpg"], ["a", "b"], images, None, lambda: None)
    data = CaptionDataset("made", "fingerprint", {"train": split}, [], ["2.jpg: empty"])
    run = RunDirectory(tmp_path / "run")
    run.claim(Config())
    return Context(Config(), run, data, tf.distribute.get_strategy())


def finish(context: Context) -> None:
    run = context.run
    align = {"epochs": 30, "best_epoch": 28, "self_training": {"epochs": 4, "best_epoch": 2}}
    run.mark_done("align", 1830.8, align)
    generators = {"full_frame": {"epochs": 20, "best_epoch": 19}, "regions": None}
    run.mark_done("generate", 90.0, generators)
    run.mark_done("evaluate", 1.0, {})
    (run / "metrics.json").write_text(json.dumps(METRICS))
    (run / "report.html").write_text("a page")
    for name in ("align", "generate/full_frame"):
        (run / "checkpoints" / name).mkdir(parents=True)
        (run / "checkpoints" / name / "best.keras").write_text("a model")


def test_it_says_what_was_trained_how_good_it_is_and_what_to_type_next(context: Context):
    finish(context)
    text = closing_summary(context)
    for part in (
        "preset default on scenes, 1 images and 2 sentences",
        "alignment 30 epochs (best 28); self-training 4 epochs (best 2); full-frame",
        "generator 20 epochs (best 19)",
        "alignment 30 min 31 s, generators 1 min 30 s",
        "skipped as unreadable: 1",
        f"python -m visem_tf.describe --run-dir {context.run.path} IMAGE",
        f"python -m visem_tf.demo --run-dir {context.run.path}",
        "report.html in a browser",
    ):
        assert part in text
    assert "region generator" not in text


def test_figures_stand_beside_chance_and_the_paper(context: Context):
    finish(context)
    lines = closing_summary(context).splitlines()
    [first] = [line for line in lines if line.startswith("  image annotation")]
    start = lines.index(first)
    assert first.split()[2:] == ["29.2", "59.4", "72.6", "3"]
    assert lines[start + 1].split() == ["by", "chance", "0.2", "1.0", "2.0", "324"]
    assert lines[start + 2].split()[-4:] == ["16.5", "40.6", "54.2", "7.6"]
    assert any("published: the paper" in line and "B-1 57.9" in line for line in lines)
    ends = {len(line) for line in lines[start - 1 : start + 6]}
    assert len(ends) == 1, "columns stand under each other"


def test_it_fits_a_screen(context: Context):
    finish(context)
    lines = closing_summary(context).replace(str(context.run.path), "runs/mine").splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 100


def test_a_run_that_was_not_evaluated_has_no_figures(context: Context):
    lines = closing_summary(context).splitlines()
    assert lines[0] == f"run directory: {context.run.path}"
    assert not any("ranking" in line or "python -m" in line for line in lines)


def test_captions_without_scores_say_why(context: Context):
    finish(context)
    note = "the PTB tokenizer needs Java"
    metrics = {
        **METRICS,
        "captions": {"greedy": {"bleu1": None}},
        "notes": {"captions.greedy.bleu1": note},
    }
    (context.run / "metrics.json").write_text(json.dumps(metrics))
    assert f"captions, greedy:            not scored: {note}" in closing_summary(context)


def test_a_run_of_captions_alone(context: Context):
    finish(context)
    alone = {**METRICS, "ranking": None, "regions": None}
    (context.run / "metrics.json").write_text(json.dumps(alone))
    summary = closing_summary(context)
    assert "ranking" not in summary and "captions, greedy" in summary
