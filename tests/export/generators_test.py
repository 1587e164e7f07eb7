"""Every kind of generator can be exported: other cells, attention over regions, ensembles."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from visem_tf.errors import UserError
from visem_tf.export.parity import SessionModel
from visem_tf.export.saved_model.writer import export_saved_model
from visem_tf.export.tflite.writer import export_tflite
from visem_tf.runs.trained_run import TrainedRun

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_cnn")]
MakeRun = Callable[..., TrainedRun]
EVERYTHING = {"identical": 3, "texts": 3}
ATTENTION = {"generate.model": "attention", "generate.cell": "lstm", "generate.deep_output": True}


@pytest.fixture(scope="module")
def attending(make_run: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    folder = tmp_path_factory.mktemp("attending") / "run"
    return make_run(folder, "generate/full_frame", seed=3, **ATTENTION)


@pytest.fixture(scope="module", params=["attention", "ensemble"])
def run(
    request: pytest.FixtureRequest,
    make_run: MakeRun,
    attending: TrainedRun,
    tmp_path_factory: pytest.TempPathFactory,
) -> TrainedRun:
    folder = tmp_path_factory.mktemp(request.param) / "run"
    if request.param == "attention":
        # An alignment model ranks its beams, by similarities that count more than probabilities.
        search = {
            "block_ngrams": 2,
            "block_content_words": True,
            "length_normalisation": 1.0,
            "alignment_weight": 50.0,
        }
        changes = {f"generate.{name}": value for name, value in search.items()}
        return make_run(folder, "align", "generate/full_frame", seed=3, **ATTENTION, **changes)
    # A member with gated units that reads the whole frame, and one that reads regions.
    run = make_run(folder, "generate/full_frame", **{"generate.cell": "gru"})
    members = {"generate.ensemble": [str(attending.run.path)]}
    return TrainedRun(folder, run.config.updated(members))


def test_texts_equal_those_of_python(run: TrainedRun, pictures: list[bytes], tmp_path: Path):
    names = ["greedy", "beam", "beam_from_features", "describe_regions"]
    export = export_saved_model(run, tmp_path, names=names, images=pictures)
    assert set(export.description["left_out"]) == {"describe_regions"}
    assert export.description["parity"] == {"greedy": EVERYTHING, "beam": EVERYTHING}
    assert export.description["options"]["ensemble"] == list(run.config.generate.ensemble)

    model = SessionModel(export.path)
    batch = [pictures[0], b"no picture", *pictures[1:]]
    for name in ("greedy", "beam"):
        together = model(name, image_bytes=batch)
        alone = [model(name, image_bytes=[picture]) for picture in pictures]
        np.testing.assert_array_equal(
            together["captions"][[0, 2, 3]], np.concatenate([one["captions"] for one in alone])
        )
        assert np.all(together["captions"][1] == b"")
        assert np.all(together["log_probs"][1] == -np.inf)
        assert model(name, image_bytes=[])["captions"].shape[0] == 0
    each = [run.extractor.extract([picture]) for picture in pictures]
    features = np.concatenate([regions.region_features for regions in each])
    found = model("beam_from_features", region_features=features)
    np.testing.assert_array_equal(
        found["captions"], model("beam", image_bytes=pictures)["captions"]
    )


def test_tflite_writes_the_same_texts(run: TrainedRun, pictures: list[bytes], tmp_path: Path):
    pytest.importorskip("ai_edge_litert")
    export = export_tflite(
        run,
        tmp_path,
        variants=["float32"],
        images=pictures,
        calibration=lambda count: [],
    )
    files = export.description["files"]
    parity = files["captions-float32.tflite"]["parity"]
    assert parity == {"greedy": EVERYTHING, "beam": EVERYTHING}
    for about in files.values():
        assert not any('"' in operator for operator in about["operators"])  # a custom one
    takes = {"region_features", "region_mask"} if run.full_frame_generator.reads_regions else None
    signatures = json.loads((export.path / "export.json").read_text())["signatures"]
    assert set(signatures["beam"]["inputs"]) == (takes or {"image_features"})
    assert ("encode_frame" in export.description["left_out"]) == bool(takes)


def test_a_member_that_is_gone(attending: TrainedRun, tmp_path: Path):
    config = attending.config.updated({"generate.ensemble": [str(tmp_path / "gone")]})
    with pytest.raises(UserError, match=r"generate\.ensemble: .*gone has no full-frame generator"):
        export_saved_model(TrainedRun(attending.run.path, config), tmp_path / "to")
    assert not [path for path in tmp_path.rglob("*") if path.name.isdecimal()]
