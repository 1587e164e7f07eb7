"""Pictures of their own aspect ratio in the export, and a CNN that the run has trained."""

import io

import numpy as np
import pytest
from PIL import Image

from visem_tf.errors import UserError
from visem_tf.export.saved_model.writer import export_saved_model
from visem_tf.export.tflite.writer import export_tflite
from visem_tf.images.decode import read_image
from visem_tf.regions.backbone import TrainableCNN, load_backbone
from visem_tf.runs.trained_run import TrainedRun


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


def turned() -> bytes:
    """A JPEG that is to be shown turned by a quarter."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((96, 60)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


@pytest.mark.slow
def test_features_equal_those_of_python(run, serve, pictures, tmp_path):
    assert run.run.tuned_cnn is not None
    pictures = [*pictures, turned()]
    served = serve(export_saved_model(run, tmp_path / "served", names=["embed_image"]).path)
    found = served("embed_image", image_bytes=pictures)
    read = [read_image(picture) for picture in pictures]
    regions = run.extractor.extract(read)
    np.testing.assert_allclose(found["boxes"], regions.boxes, atol=1e-5)
    expected = run.alignment_model.encode_regions(regions.region_features).numpy()
    np.testing.assert_allclose(found["embeddings"], expected, atol=1e-3)
    pretrained = type(run.extractor)(run.config.regions).extract(read)
    assert np.abs(pretrained.region_features - regions.region_features).max() > 0.1


def test_tflite_is_refused(make_run, tmp_path):
    run = make_run(tmp_path / "run", "align", **{"regions.resolution": "own"})
    with pytest.raises(UserError, match="regions.resolution own cannot be written as TFLite"):
        export_tflite(run, tmp_path / "lite", calibration=lambda count: [])
    assert not (tmp_path / "lite").exists()
