"""`python -m visem_tf.publish`: folders, buckets and hubs, and reading from them."""

import errno
import json
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from untrained import make_run, random_bank
from upath import UPath

from visem_tf import publish
from visem_tf.errors import UserError
from visem_tf.export.description import read_models
from visem_tf.models.weight_files import write_arrays
from visem_tf.regions.backbone import FEATURE_DIM, TrainableCNN, load_backbone
from visem_tf.regions.extractor import Regions
from visem_tf.runs import unpacking
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.runs.unpacking import unpack
from visem_tf.runtime import model_places, published

pytestmark = pytest.mark.usefixtures("quick")

FILES = {
    *("alignment.npz", "full_frame.npz", "regions.npz", "vocabulary.txt", "config.json"),
    *("bank.npz", "card.json", "card.md", "SHA256SUMS"),
}

ROUNDING = {"rtol": 2**-7 + 2**-11, "atol": 1e-6}  # of published weights


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> TrainedRun:
    folder = tmp_path_factory.mktemp("trained") / "run"
    changes = {"data_dir": "/private", "infer.hubness_scale": 0.5}
    return make_run(folder, "align", "generate/full_frame", "generate/regions", **changes)


@pytest.fixture(scope="module")
def model(run, tmp_path_factory) -> Path:
    """A published model; tests that change it copy it first."""
    place = tmp_path_factory.mktemp("published") / "dogs"
    (place.parent / "about.md").write_text("Drawn by hand.")
    card = ["--card", str(place.parent / "about.md")]
    publish.main(["--run-dir", str(run.run.path), "--to", str(place), *card])
    return place


def regions() -> Regions:
    random = np.random.default_rng(0)
    features = random.uniform(size=(2, 4, FEATURE_DIM)).astype(np.float32)
    boxes, scores = random.uniform(size=(2, 4, 4)), random.uniform(size=(2, 4))
    return Regions(features, boxes.astype(np.float32), scores, np.ones([2, 4], bool))


def test_a_published_model_is_read_like_its_run(run, model, tmp_path):
    assert {path.name for path in model.iterdir()} == FILES
    read = TrainedRun(model)
    assert read.run.name == "dogs"
    assert read.vocabulary.words == run.vocabulary.words
    assert read.config == run.config.updated({"run_dir": "", "data_dir": ""})
    for name in ("alignment_model", "full_frame_generator", "region_generator"):
        before, after = getattr(run, name).weights, getattr(read, name).weights
        for a, b in zip(before, after, strict=True):
            assert b.dtype == "float32"
            np.testing.assert_allclose(a, b, **ROUNDING)
    # The rounded weights are the model: published again, they are the same to the last bit.
    publish.main(["--run-dir", str(model), "--to", str(tmp_path / "again")])
    again = TrainedRun(tmp_path / "again")
    for a, b in zip(read.describe(regions()), again.describe(regions()), strict=True):
        assert (a.caption, a.region_captions) == (b.caption, b.region_captions)
        np.testing.assert_array_equal(a.log_prob, b.log_prob)


def test_an_unpacked_model_scores_like_the_published_one(model, tmp_path):
    published = TrainedRun(model)
    unpacked = TrainedRun(
        unpack(model, published.config.updated({"run_dir": str(tmp_path / "run")})).path
    )
    dim = published.alignment_model.region_encoder.embedding_dim
    random = np.random.default_rng(0)
    regions, words = random.normal(size=[2, 3, 4, dim]).astype(np.float32)
    mask = np.ones([3, 4], bool)
    for a, b in zip(
        published.score_embeddings(regions, words, mask, mask),
        unpacked.score_embeddings(regions, words, mask, mask),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_an_interrupted_unpacking_is_repeated(model, tmp_path, monkeypatch):
    config = TrainedRun(model).config.updated({"run_dir": str(tmp_path / "run")})
    with monkeypatch.context() as patch:
        patch.setattr(unpacking, "save_model", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            unpack(model, config)
    run = unpack(model, config)
    assert run.alignment_model.exists() and run.is_done("align")
    before = run.alignment_model.stat().st_mtime_ns
    assert unpack(model, config).alignment_model.stat().st_mtime_ns == before  # nothing to do
    (tmp_path / "run" / "published_model.sha256").write_text("of another model")
    with pytest.raises(UserError, match="is another run; give a new folder to --to"):
        unpack(model, config)


@pytest.mark.parametrize("damage", ["removed", "another model's"])
def test_a_bank_that_does_not_fit_is_named(run, tmp_path, damage):
    copy = tmp_path / "run"
    shutil.copytree(run.run.path, copy)
    bank = copy / "checkpoints" / "align" / "bank.npz"
    if damage == "removed":
        bank.unlink()
        message = "--stages align --infer.hubness_scale 0.5 first, or give --infer.hubness_scale 0"
    else:
        arrays = random_bank(0)._asdict()
        write_arrays(bank, {**arrays, "word_projection": np.zeros([9, 4])})
        message = r"bank\.npz cannot be used \(it is of another alignment model\)"
    with pytest.raises(UserError, match=message):
        publish.main(["--run-dir", str(copy), "--to", str(tmp_path / "model")])
    with pytest.raises(UserError, match=message):
        read_models(TrainedRun(copy))
    assert TrainedRun(copy).word_grounder.read("a dog").words == ["a", "dog"]


def test_the_card_names_data_versions_and_format_but_no_paths(run, model):
    card = json.loads((model / "card.json").read_text())
    assert (card["name"], card["format"], card["dataset"]) == ("dogs", 1, "scenes")
    assert card["versions"]["keras"]
    assert card["parameters"]["alignment"] == run.alignment_model.count_params()
    text = (model / "card.md").read_text()
    assert "Drawn by hand." in text
    assert text.startswith("---\nlibrary_name: visem_tf\n")
    for path in model.iterdir():
        assert b"/private" not in path.read_bytes()


def test_a_cnn_of_the_run_is_published_and_counted(run, tmp_path):
    copy, published = tmp_path / "run", tmp_path / "published"
    shutil.copytree(run.run.path, copy)
    cnn = TrainableCNN(load_backbone("efficientnet_lite0"), 8)
    [kernel] = cnn.trainable_variables
    kernel.assign(kernel * 1.5)
    (copy / "checkpoints" / "finetune").mkdir()
    cnn.write(copy / "checkpoints" / "finetune" / "cnn.npz")
    publish.main(["--run-dir", str(copy), "--to", str(published)])
    card = json.loads((published / "card.json").read_text())
    assert card["parameters"]["cnn"] == kernel.shape[2] * kernel.shape[3]
    read = load_backbone("efficientnet_lite0", TrainedRun(published).run.tuned_cnn)
    layer = read.cnn.get_layer(kernel.path.split("/")[0])
    np.testing.assert_allclose(layer.kernel, kernel, **ROUNDING)


def test_figures_are_on_the_card_without_compared_files(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run.run.path, copy)
    sides = {"r1": 10.0, "r5": 20.0, "r10": 30.0, "median_rank": 9.0}
    ranking = {"image_annotation": sides, "image_search": sides}
    metrics = {"dataset": "scenes", "split": "test", "images": 5, "sentences": 25}
    metrics |= {"ranking": ranking, "captions": None, "regions": None, "notes": {}, "timing": {}}
    (copy / "metrics.json").write_text(json.dumps({**metrics, "against": {"file": "/private"}}))
    publish.main(["--run-dir", str(copy), "--to", str(tmp_path / "first")])
    publish.main(["--run-dir", str(tmp_path / "first"), "--to", str(tmp_path / "second")])
    card = json.loads((tmp_path / "second" / "card.json").read_text())
    assert card["metrics"] == metrics
    assert "| image annotation" in (tmp_path / "second" / "card.md").read_text().lower()


def test_members_of_an_ensemble_are_published_together(tmp_path):
    other = make_run(tmp_path / "other", "generate/full_frame", seed=1)
    names = ("generate/full_frame", "generate/full_frame_2")
    run = make_run(tmp_path / "run", *names, **{"generate.members": 2})
    together = ["--generate.ensemble", str(other.run.path), "--to", str(tmp_path / "all")]
    publish.main(["--run-dir", str(run.run.path), *together])
    read = TrainedRun(tmp_path / "all")
    assert read.config.generate.members == 3
    assert read.config.generate.ensemble == ()
    third = read.full_frame_generator.members[2].weights
    for a, b in zip(other.full_frame_generator.weights, third, strict=True):
        np.testing.assert_allclose(a, b, **ROUNDING)
    with pytest.raises(UserError, match=r"published without alignment\.npz"):
        _ = read.alignment_model


@pytest.mark.parametrize("name", ["alignment.npz", "vocabulary.txt", "config.json"])
@pytest.mark.parametrize("damage", ["changed", "truncated", "removed"])
def test_a_damaged_file_is_named(model, tmp_path, name, damage):
    copy = tmp_path / "copy"
    shutil.copytree(model, copy)
    content = (copy / name).read_bytes()
    if damage == "removed":
        (copy / name).unlink()
    else:
        (copy / name).write_bytes(content[:-9] + (b"x" * 9 if damage == "changed" else b""))
    with pytest.raises(UserError, match=rf"{name} is (damaged|missing)") as raised:
        TrainedRun(copy)
    assert "\n" not in str(raised.value)


def test_an_incomplete_and_a_newer_model_are_refused(model, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(model, copy)
    (copy / "SHA256SUMS").unlink()
    with pytest.raises(UserError, match="has no readable SHA256SUMS"):
        TrainedRun(copy)
    card = json.loads((copy / "card.json").read_text())
    newer = {**card, "format": 2, "published_with": "9.0"}
    (copy / "card.json").write_text(json.dumps(newer))
    with pytest.raises(UserError, match=r"with visem_tf 9\.0 in format 2.* install a newer"):
        TrainedRun(copy)
    (copy / "card.json").write_text("{")
    with pytest.raises(UserError, match=r"card\.json is damaged"):
        TrainedRun(copy)


def test_the_nearest_model_is_named(model, monkeypatch):
    monkeypatch.setattr(model_places, "packaged_models", lambda: {"flickr8k": model})
    assert model_places.find_model() == model
    assert TrainedRun("flickr8k").run.name == "dogs"
    with pytest.raises(UserError, match="did you mean flickr8k"):
        TrainedRun("flicker8k")
    with pytest.raises(UserError, match=r"is not a run directory .* did you mean .*dogs\?"):
        TrainedRun(model.parent / "dog")
    monkeypatch.setattr(model_places, "packaged_models", dict)
    with pytest.raises(UserError, match="this installation has no packaged model"):
        model_places.find_model()


def test_folders_with_files_are_kept(run, model, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").touch()
    with pytest.raises(UserError, match="taken exists; give a new folder"):
        publish.main(["--run-dir", str(run.run.path), "--to", str(tmp_path / "taken")])
    with pytest.raises(UserError, match="--to is missing"):
        publish.main(["--run-dir", str(run.run.path)])
    with pytest.raises(UserError, match=r"align\.score cannot change"):
        options = ["--align.score", "cosine"]
        publish.main(["--run-dir", str(run.run.path), "--to", str(tmp_path / "new"), *options])
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_nothing_is_left_of_an_interrupted_copy(model, tmp_path, monkeypatch):
    copy = shutil.copyfile

    def fill_disk(source, target):
        if Path(source).name == "config.json":
            raise OSError(errno.ENOSPC, "No space left on device", str(source), None, str(target))
        copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", fill_disk)
    place = tmp_path / "new" / "dogs"
    with pytest.raises(OSError, match="No space left") as raised:
        published.deliver(model, str(place))
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(place))
    assert not list(place.parent.iterdir())


def test_a_bucket_has_all_files_or_none(model, monkeypatch):
    published.deliver(model, "memory://models/dogs")
    assert {path.name for path in UPath("memory://models/dogs").iterdir()} == FILES
    read = TrainedRun("memory://models/dogs")
    local = TrainedRun(model)
    assert read.describe(regions())[0].caption == local.describe(regions())[0].caption
    with pytest.raises(UserError, match=r"memory://models/dogs exists"):
        published.deliver(model, "memory://models/dogs")
    upload, sent = published.upload, []

    def fail(file, target):
        if len(sent) == 3:
            raise OSError("the bucket is full")
        sent.append(upload(file, target))

    monkeypatch.setattr(published, "upload", fail)
    with pytest.raises(OSError, match="full"):
        published.deliver(model, "memory://models/other")
    assert not list(UPath("memory://models").glob("other/*"))


class StandIn(types.ModuleType):
    """The calls of `huggingface_hub` that are used, on a folder of the disk."""

    def __init__(self, folder: Path) -> None:
        super().__init__("huggingface_hub")
        self.folder = folder
        self.reachable = True

    def create_repo(self, repo_id, *, exist_ok=False):
        (self.folder / repo_id).mkdir(parents=True, exist_ok=exist_ok)

    def upload_folder(self, *, repo_id, folder_path, commit_message, revision, delete_patterns):
        assert self.reachable, "no connection"
        shutil.copytree(folder_path, self.folder / repo_id, dirs_exist_ok=True)

    def snapshot_download(self, repo_id, *, revision=None, allow_patterns):
        if not self.reachable:
            raise ConnectionError("no\nconnection")
        return str(self.folder / repo_id)


def test_a_hub(run, model, tmp_path, monkeypatch):
    hub = StandIn(tmp_path / "hub")
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    publish.main(["--run-dir", str(model), "--to", "hf://someone/dogs"])
    read = TrainedRun("hf://someone/dogs")
    assert read.run.name == "dogs"
    assert (hub.folder / "someone" / "dogs" / "README.md").read_text().startswith("---")
    local = TrainedRun(model)
    assert read.describe(regions())[0].caption == local.describe(regions())[0].caption
    hub.reachable = False
    with pytest.raises(UserError, match="cannot download hf://someone/dogs: no connection"):
        TrainedRun("hf://someone/dogs")
    with pytest.raises(UserError, match="cannot upload to hf://someone/dogs: no connection"):
        published.deliver(tmp_path / "hub" / "someone" / "dogs", "hf://someone/dogs")
    with pytest.raises(UserError, match="must have the form hf://owner/name"):
        TrainedRun("hf://someone")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 'visem_tf\[hub\]'"):
        TrainedRun("hf://someone/dogs")
