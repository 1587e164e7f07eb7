"""The stage on a run that was made by hand: tiny models, regions and pictures."""

import dataclasses
import io
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from untrained import replace_config

from visem_tf.config import Config
from visem_tf.datasets.caption_dataset import CaptionDataset, Split
from visem_tf.models.generator import SentenceGenerator
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.regions.shards import record_fields
from visem_tf.report.previews import AlignmentPreview, CaptionPreview
from visem_tf.runs.checkpoints import build_alignment_model, load_alignment_model
from visem_tf.runs.context import Context
from visem_tf.runs.generators import build_generator
from visem_tf.runs.run_directory import RunDirectory
from visem_tf.stages import report, run_stages
from visem_tf.text import Vocabulary

pytestmark = pytest.mark.usefixtures("quick")

EVIL = "<script>alert(1)</script>"
NUM_IMAGES, NUM_REGIONS, FEATURE_DIM = 5, 3, 8


def make_split(name: str) -> Split:
    words = ["red", "blue", "green", "white", "black"]
    sentences = [f"a {word} {thing} {EVIL}" for word in words for thing in ("ball", "cross")]
    # The last picture has no sentence, and the one before it has one without words.
    image_index = np.array([0, 0, 1, 1, 2, 2, 2, 2, 2, 3], np.int32)
    sentences[-1] = "?!"
    ids = [f"{name}-{number}" for number in range(NUM_IMAGES)]

    def pictures() -> tf.data.Dataset:
        encoded = []
        for number in range(NUM_IMAGES):
            buffer = io.BytesIO()
            kind, mode = ("PNG", "L") if number % 2 else ("JPEG", "RGB")
            Image.new(mode, (900, 300)).save(buffer, kind)
            encoded.append(buffer.getvalue())
        return tf.data.Dataset.from_tensor_slices(encoded)

    files = [f"{EVIL}{image_id}.jpg" for image_id in ids]
    return Split(name, ids, files, sentences, image_index, None, pictures)


def make_cache(folder: Path) -> FeatureCache:
    rng = np.random.default_rng(0)
    records = np.zeros(NUM_IMAGES, record_fields(NUM_REGIONS, FEATURE_DIM))
    records["region_features"] = rng.normal(size=records["region_features"].shape)
    records["boxes"] = [[0, 0, 1, 1], [0.1, 0.1, 0.5, 0.5], [0.4, 0.2, 0.9, 0.8]]
    records["region_mask"] = True
    records["region_mask"][1, 2] = False
    folder.mkdir(parents=True)
    np.save(folder / "regions-00000-of-00001.npy", records)
    return FeatureCache(folder, {}, NUM_IMAGES)


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    keras.utils.set_random_seed(0)
    config = Config().updated(
        {
            "align": {"embedding_dim": 4, "hidden_dim": 4, "word_dim": 4},
            "generate": {"hidden_dim": 4, "word_dim": 4, "max_length": 4},
            "evaluate": {"beam_size": 2},
            "infer": {"beta": 0.0},
        }
    )
    run = RunDirectory(tmp_path / "run")
    run.claim(config)
    splits = {name: make_split(name) for name in ("train", "val", "test")}
    vocabulary = Vocabulary.build(splits["train"].sentences, 1)
    vocabulary.save(run / "vocabulary.txt")
    cache = make_cache(tmp_path / "features")
    monkeypatch.setattr(report, "open_cache", lambda context, split: cache)
    (run / "checkpoints" / "align").mkdir(parents=True)
    build_alignment_model(config, vocabulary, cache).save(
        run / "checkpoints" / "align" / "best.keras"
    )
    data = CaptionDataset("made", "fingerprint", splits, [], ["one.jpg: empty"])
    return Context(config, run, data, tf.distribute.get_strategy())


def add_generator(context: Context, name: str) -> SentenceGenerator:
    vocabulary = Vocabulary.load(context.run / "vocabulary.txt")
    sample = np.random.default_rng(0).random((20, FEATURE_DIM), np.float32)
    model = build_generator(context.config, name, vocabulary, sample)
    folder = context.run / "checkpoints" / "generate" / name
    folder.mkdir(parents=True)
    model.save(folder / "best.keras")
    (folder / "progress.json").write_text(json.dumps({"history": [{"val_perplexity": 9.0}]}))
    return model


def test_a_run_that_has_only_been_aligned(context: Context):
    summary = report.run(context)
    html = (context.run / "report.html").read_text(encoding="utf-8")
    assert summary["pictures"] == 4
    assert summary["bytes"] == len(html.encode())
    for absence in (
        "the stage evaluate has not been run",
        "the stage evaluate has not written them",
        "the region generator has not been trained",
        "it has not been trained yet",
    ):
        assert absence in html
    assert html.count("<script>") == 1
    assert "images that cannot be read" in html
    assert "(a sentence without words)" in html
    assert html.count('class="snippet"') >= 6  # Six sentences with words.
    assert 'width="400" height="133"' in html
    assert str(context.run.path) not in html
    assert list((context.run / "tensorboard").glob("events.*.report"))


def test_every_training_has_a_curve_and_no_folder_is_named(context: Context):
    further = {
        "propose": {"epochs": 1},
        "align": {"finetune_epochs": 1, "self_training_epochs": 1},
        "regions": {"proposer": "trained"},
        "align.word_vectors": "/private/vectors",
        "data": {"pictures": "/private/pictures"},
    }
    config = context.config.updated(further)
    replace_config(context.run.path, config)
    for name in ("propose", "finetune", "self_training"):
        (context.run / "checkpoints" / name).mkdir()
        history = json.dumps({"history": [{"loss": 1.0}]})
        (context.run / "checkpoints" / name / "progress.json").write_text(history)
    report.run(dataclasses.replace(context, config=config))
    html = (context.run / "report.html").read_text(encoding="utf-8")
    for title in ("Proposer", "Alignment", "Alignment and CNN", "Alignment, self-training"):
        assert f">{title}<" in html
    assert "private" not in html


def test_the_split_is_that_of_the_metrics(context: Context):
    captions = [{"image_id": f"val-{n}", "caption": f"caption {n}"} for n in range(NUM_IMAGES)]
    (context.run / "captions_val.json").write_text(json.dumps(captions))
    parts = ("ranking", "captions", "regions")
    metrics = {"split": "val", **dict.fromkeys(parts), "timing": {}, "notes": {}}
    (context.run / "metrics.json").write_text(json.dumps(metrics))
    report.run(context)
    html = (context.run / "report.html").read_text(encoding="utf-8")
    assert "val: 5 images" in html and "test: " not in html and "caption 0" in html


def test_a_run_of_captions_alone(context: Context):
    shutil.rmtree(context.run / "checkpoints" / "align")
    add_generator(context, "full_frame")
    captions = [{"image_id": f"test-{n}", "caption": f"caption {n}"} for n in range(NUM_IMAGES)]
    (context.run / "captions_test.json").write_text(json.dumps(captions))
    assert report.run(context)["pictures"] == 4
    html = (context.run / "report.html").read_text(encoding="utf-8")
    assert "Sentences with their boxes: the alignment was not trained." in html
    assert "caption 0" in html and "All sentences that people wrote" in html
    assert "Its best sentence" not in html and 'class="snippet"' not in html
    assert list((context.run / "tensorboard").glob("events.*.report"))


def test_a_whole_run_and_the_same_page_again(context: Context):
    for name in ("full_frame", "regions"):
        add_generator(context, name)
    captions = [{"image_id": f"test-{n}", "caption": f"caption {n}"} for n in range(NUM_IMAGES)]
    (context.run / "captions_test.json").write_text(json.dumps(captions))
    report.run(context)
    html = (context.run / "report.html").read_text(encoding="utf-8")
    assert "caption 0" in html
    assert "caption 4" not in html  # That picture has no sentence, hence no rank.
    assert "Boxes and their generated descriptions" in html
    assert "the best is epoch 1, with validation perplexity 9" in html
    assert "has not been trained" not in html.replace("it has not been trained yet", "")
    report.run(context)
    assert (context.run / "report.html").read_text(encoding="utf-8") == html
    assert len(list((context.run / "tensorboard").glob("events.*.report"))) == 2


def test_the_page_is_made_again_for_another_number_of_pictures(context: Context):
    for stage in ("features", "align", "infer", "generate", "evaluate"):
        context.run.mark_done(stage, 0.0, {})
    context.run.mark_done("report", 0.0, {"pictures": 6, "asked": context.config.report.pictures})
    assert report.is_outdated(context)  # there is no page
    (context.run / "report.html").write_text("a page", encoding="utf-8")
    assert not report.is_outdated(context)
    lines: list[str] = []
    config = context.config.updated({"stages": ("report",)})
    run_stages(dataclasses.replace(context, config=config), progress=lines.append)
    assert lines == ["[1/1] report: finished before, skipped"]
    config = config.updated({"report.pictures": 3})
    run_stages(dataclasses.replace(context, config=config), progress=lines.append)
    assert context.run.summary("report")["asked"] == 3
    assert (context.run / "report.html").stat().st_size > 1000


def test_previews_are_written_after_the_first_and_then_every_second_epoch(context: Context):
    cache = report.open_cache(context, "val")
    vocabulary = Vocabulary.load(context.run / "vocabulary.txt")
    alignment = AlignmentPreview(context, cache, vocabulary)
    alignment.set_model(load_alignment_model(context))
    captions = CaptionPreview(context, "full_frame", cache, vocabulary)
    captions.set_model(add_generator(context, "full_frame"))
    for epoch in range(3):
        alignment.on_epoch_end(epoch)
        captions.on_epoch_end(epoch)
    events = EventAccumulator(str(context.run / "tensorboard"), size_guidance={"tensors": 0})
    events.Reload()
    images = [t for t in events.Tags()["tensors"] if t.startswith("alignment while training/")]
    assert len(images) == 4
    for tag in (images[0], "sentences while training"):
        # TensorBoard reads event files by name, and ".10." comes before ".9.".
        assert sorted(event.step for event in events.Tensors(tag)) == [1, 2]
