"""Pictures of their own aspect ratio in the export, and a CNN that the run has trained."""

import numpy as np
import pytest
from visem_tf.export.saved_model import export_saved_model

from visem_tf.regions.backbone import load_backbone
from visem_tf.regions.tuning import TrainableCNN
from visem_tf.trained import TrainedRun


@pytest.fixture(scope="module")
def run(make_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own") / "run"
    regions = {"resolution": "own", "proposer": "grid", "frame_size": 32}
    run = make_run(folder, "align", regions=regions)
    cnn = TrainableCNN(load_backbone("efficientnet_lite0"), from_block=8)
    for variable in cnn.trainable_variables:
        variable.assign(variable * 1.5)
    tuning = folder / "checkpoints" / "finetune"
    tuning.mkdir()
    run.alignment_model.save(tuning / "best.keras")
    cnn.write(tuning / "cnn.npz")  # from here on the other model is the run's
    return TrainedRun(folder)


def test_pictures_are_seen_as_in_python(run, serve, pictures, tmp_path):
    assert run.run.tuned_cnn is not None
    served = serve(export_saved_model(run, tmp_path / "served").path)
    found = served("embed_image", image_bytes=pictures)
    regions = run.extractor.extract(pictures)
    np.testing.assert_allclose(found["boxes"], regions.boxes, atol=1e-5)
    expected = run.alignment_model.encode_regions(regions.region_features).numpy()
    np.testing.assert_allclose(found["embeddings"], expected, atol=1e-3)
    pretrained = type(run.extractor)(run.config.regions).extract(pictures)
    assert np.abs(pretrained.region_features - regions.region_features).max() > 0.1
