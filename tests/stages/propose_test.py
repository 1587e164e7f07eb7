"""The stage propose: what it refuses, and a run that uses the proposer it has trained."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import quick_stages
from visem_tf import fit
from visem_tf.cli import parse_arguments
from visem_tf.config.options import make_parser
from visem_tf.errors import UserError
from visem_tf.export.saved_model.writer import export_saved_model
from visem_tf.export.tflite.functions import TfliteFunctions
from visem_tf.export.tflite.graphs import operators
from visem_tf.export.tflite.writer import convert
from visem_tf.regions.proposers.trained import TrainedProposer
from visem_tf.runs.opening import open_run
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.stages import propose
from visem_tf.stages.propose import boxes_of_images

TINY = (
    "--regions.features one_pass --regions.position true --regions.proposer trained "
    "--propose.channels 8 --align.epochs 1 --generate.epochs 1 --generate.beam_size 2"
)


@pytest.fixture(scope="module")
def command(untrained_run, tmp_path_factory):
    """Makes the options of `fit` for a folder, on the images of the untrained run."""
    cache = tmp_path_factory.mktemp("cache")  # all runs have one

    def command(folder, options):
        places = ["--run-dir", folder / "run", "--cache-dir", cache]
        made = ["--config", untrained_run.path / "config.json", *places]
        return [*map(str, made), *TINY.split(), *options.split()]

    return command


@pytest.fixture(scope="module")
def context(command, tmp_path_factory):
    """A run of which nothing has been done."""
    options = command(tmp_path_factory.mktemp("context"), "--propose.epochs 1")
    return open_run(parse_arguments(make_parser("fit", ""), options)[0])


def test_the_boxes_of_an_image_are_those_of_its_phrases(context):
    split = context.data.splits["val"]
    found = boxes_of_images(split)
    assert found.shape[0] == len(split.image_ids)
    expected = [set() for _ in split.image_ids]
    for sentence, box in zip(split.phrases.sentence_index, split.phrases.boxes, strict=True):
        expected[split.image_index[sentence]].add(tuple(np.round(box, 4)))
    for boxes, of_image in zip(found, expected, strict=True):
        assert {tuple(np.round(box, 4)) for box in boxes.numpy()} == of_image
        assert len(boxes) == len(of_image) > 0


@pytest.mark.parametrize("without", ["train", "val"])
def test_a_data_set_without_boxes_is_refused(without, context):
    for phrases in (
        None,
        dataclasses.replace(context.data.splits[without].phrases, boxes=np.zeros([0, 4], "f4")),
    ):
        split = dataclasses.replace(context.data.splits[without], phrases=phrases)
        splits = {**context.data.splits, without: split}
        data = dataclasses.replace(context.data, splits=splits)
        with pytest.raises(UserError) as raised:
            propose.run(dataclasses.replace(context, data=data))
        assert f"has none in its split {without}; choose another data set" in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--stages propose", "the stage propose needs --propose.epochs, which is 0; set it"),
        ("--propose.epochs 1 --regions.proposer grid", "choose regions.proposer trained"),
        ("--propose.epochs 1 --regions.proposer_file p.npz", "leave one of them out"),
        ("--propose.epochs 1 --stages features", "stage features needs stage propose, which is"),
        (
            "--regions.proposer_file none.npz --stages features",
            r"cannot read the weights .*none\.npz: No such file or directory; give another file",
        ),
    ],
)
def test_mistakes_are_named_in_one_line(options, message, command, tmp_path):
    with pytest.raises(UserError, match=message) as raised:
        fit.main(command(tmp_path, options))
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_a_damaged_file_is_named(command, tmp_path):
    (tmp_path / "p.npz").write_bytes(b"no archive")
    options = f"--regions.proposer_file {tmp_path / 'p.npz'} --stages features"
    with pytest.raises(UserError, match=r"p\.npz is not a trained proposer"):
        fit.main(command(tmp_path, options))


@pytest.fixture(scope="module")
def run_dir(command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("propose")
    stages = "propose,features,align,infer,generate,evaluate"
    with quick_stages():
        fit.main(command(folder, f"--propose.epochs 2 --stages {stages}"))
    return folder / "run"


@pytest.mark.slow
def test_later_stages_use_the_trained_proposer(run_dir):
    run = TrainedRun(run_dir)
    path = run_dir / "checkpoints" / "propose" / "proposer.npz"
    assert run.run.region_weights.proposer == path
    assert isinstance(run.extractor.proposer, TrainedProposer)
    with np.load(path, allow_pickle=False) as arrays:
        about = json.loads(str(arrays["metadata"]))
    assert (about["dataset"], about["picture_size"]) == ("coco_json", 64)
    summary = json.loads((run_dir / "state.json").read_text())["stages"]["propose"]["summary"]
    assert summary["epochs"] == 2
    assert summary["recall"] == pytest.approx((summary["recall_50"] + summary["recall_70"]) / 2)
    assert 0 < summary["recall_50"] <= 100
    assert run.extractor.feature_dim == 1316 and (run_dir / "metrics.json").exists()


@pytest.mark.slow
def test_another_run_takes_the_proposer_from_its_file(run_dir, command, tmp_path):
    file = run_dir / "checkpoints" / "propose" / "proposer.npz"
    with quick_stages():
        fit.main(command(tmp_path, f"--regions.proposer_file {file} --stages features"))
    pixels = tf.random.stateless_uniform([2, 64, 64, 3], [1, 2], 0, 255)
    own, other = (TrainedRun(path).extractor(pixels) for path in (run_dir, tmp_path / "run"))
    np.testing.assert_allclose(own.boxes, other.boxes, atol=1e-6)


@pytest.mark.slow
def test_exports_have_the_regions_of_python(run_dir, tmp_path):
    pytest.importorskip("ai_edge_litert")
    from ai_edge_litert.interpreter import Interpreter

    run = TrainedRun(run_dir)
    pixels = tf.random.stateless_uniform([3, 64, 64, 3], [1, 2], 0, 255)
    images = [tf.io.encode_png(tf.cast(each, tf.uint8)).numpy() for each in pixels]
    regions = run.extractor.extract(images)
    embeddings = run.alignment_model.encode_regions(regions.region_features).numpy()

    export = export_saved_model(run, tmp_path / "served", names=["embed_image"])
    served = tf.saved_model.load(str(export.path)).signatures["embed_image"]
    found = served(image_bytes=tf.constant(images))
    np.testing.assert_allclose(found["boxes"], regions.boxes, atol=1e-4)
    np.testing.assert_allclose(found["embeddings"], embeddings, atol=1e-3)

    lite = convert(TfliteFunctions(run).trace(["encode_image"]), "float32")
    assert not any('"' in operator for operator in operators(lite))  # all are builtin
    encode = Interpreter(model_content=lite).get_signature_runner("encode_image")
    found = encode(image=np.floor(pixels.numpy()))
    np.testing.assert_allclose(found["boxes"], regions.boxes, atol=1e-4)
    np.testing.assert_allclose(found["region_scores"], regions.scores, atol=1e-4)
    np.testing.assert_allclose(found["region_features"], regions.region_features, atol=1e-2)
    np.testing.assert_allclose(found["region_embeddings"], embeddings, atol=1e-3)
