"""What a whole run leaves for TensorBoard."""

import json
from pathlib import Path

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def events(tiny_run) -> EventAccumulator:
    found = EventAccumulator(str(tiny_run.path / "tensorboard"), size_guidance={"tensors": 0})
    found.Reload()
    return found


def test_all_trainings_are_one_run_with_readable_names(tiny_run, events: EventAccumulator):
    assert list((tiny_run.path / "tensorboard").rglob("events.*")) == list(
        (tiny_run.path / "tensorboard").glob("events.*")
    )
    tags = set(events.Tags()["tensors"])
    for training in ("alignment", "full-frame generator", "region generator"):
        for figure in ("loss", "learning rate", "gradient norm", "examples a second", "input wait"):
            assert f"{training}/{figure}" in tags
    assert {"alignment/recall sum", "full-frame generator/val perplexity"} <= tags
    history = json.loads((tiny_run.path / "checkpoints" / "align" / "progress.json").read_text())
    losses = [float(tf.make_ndarray(e.tensor_proto)) for e in events.Tensors("alignment/loss")]
    assert losses == pytest.approx([figures["loss"] for figures in history["history"]])


def test_images_and_sentences_are_written_while_training(events: EventAccumulator):
    tags = events.Tags()["tensors"]
    pictures = [tag for tag in tags if tag.startswith("alignment while training/")]
    assert len(pictures) == 6
    assert [event.step for event in events.Tensors(pictures[0])] == [1, 2]
    (event,) = events.Tensors("sentences while training")
    lines = tf.make_ndarray(event.tensor_proto).item().decode().splitlines()
    assert len(lines) == 2 + 6
    assert events.Tensors("region texts while training")


def test_results_and_configuration_stand_beside_each_other(tiny_run, events: EventAccumulator):
    metrics = json.loads((tiny_run.path / "metrics.json").read_text())
    (event,) = events.Tensors("metrics/image search r10")
    assert float(tf.make_ndarray(event.tensor_proto)) == pytest.approx(
        metrics["ranking"]["image_search"]["r10"]
    )
    content = events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    assert b"align.learning_rate" in content and b"preset" in content
    assert str(Path.home()).encode() not in content and str(tiny_run.path).encode() not in content


def test_the_space_of_words_and_regions_is_there(tiny_run):
    folder = tiny_run.path / "tensorboard"
    names = (folder / "projector" / "names.tsv").read_text().splitlines()[1:]
    kinds = [name.partition("\t")[2] for name in names]
    assert {"word", "region"} == set(kinds)
    size = (folder / "projector" / "embeddings.bytes").stat().st_size
    assert size == 4 * 8 * len(names)  # 8 is align.embedding_dim
