"""Precomputed features: matching them to images, problems of the files, and conversion."""

import json
import os

import numpy as np
import pytest
import tensorflow as tf

import dummy_data
from dummy_data import precomputed as features_of
from tests.conftest import quick_stages
from visem_tf import convert, fit
from visem_tf.config import DataConfig
from visem_tf.config.presets import preset
from visem_tf.datasets.loading import load_dataset
from visem_tf.errors import UserError
from visem_tf.regions.extractor import PRETRAINED, RegionWeights
from visem_tf.runs.run_directory import RunDirectory
from visem_tf.stages import features

PICTURES = dummy_data.draw_images(train=6, val=3, test=3)
SPLITS = ("train", "val", "test")


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "features"
    path.mkdir()
    return path


def load(folder, **options):
    return load_dataset(
        "precomputed", cache_dir=folder / "cache", data_dir=folder, options=DataConfig(**options)
    )


def regions(split, start=0):
    """The regions of a split from a picture on: features, boxes and mask."""
    blocks = list(split.regions.blocks(start))
    return [np.concatenate([block[part] for block in blocks]) for part in range(3)]


def rows(split, name=lambda picture: picture.name):
    """The numbers of the pictures of a split in `PICTURES`."""
    number = {name(picture): row for row, picture in enumerate(PICTURES)}
    return [number[file_name] for file_name in split.file_names]


def check_sentences(split, own):
    references = split.references()
    for image_id, row in zip(split.image_ids, own, strict=True):
        assert references[image_id] == PICTURES[row].sentences


def test_a_column_of_vgg_feats_is_a_picture(folder):
    expected = features_of.write_vgg_feats(folder, PICTURES)
    data = load(folder)
    assert data.problems == []
    for split in data.splits.values():
        features, boxes, mask = regions(split)
        np.testing.assert_allclose(features[:, 0], expected[rows(split)], rtol=1e-6)
        assert features.shape[1] == 1 and mask.all()
        np.testing.assert_array_equal(boxes, np.broadcast_to([0, 0, 1, 1], boxes.shape))
        check_sentences(split, rows(split))


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "loop"])
@pytest.mark.parametrize("form", ["write_vgg_feats", "write_bottom_up"])
def test_what_is_not_a_file_is_not_read(folder, form, kind):
    getattr(features_of, form)(folder, PICTURES)
    [path] = [path for path in folder.iterdir() if path.suffix in (".mat", ".tsv")]
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path.name)
    with pytest.raises(UserError, match="has no features in a known format"):
        load(folder)


def test_the_imgid_is_the_column_where_pictures_stand_in_another_order(folder):
    expected = features_of.write_vgg_feats(folder, PICTURES)
    content = json.loads((folder / "dataset.json").read_text())
    for number, image in enumerate(content["images"]):
        image["imgid"] = number
    content["images"].reverse()
    (folder / "dataset.json").write_text(json.dumps(content))
    for split in load(folder).splits.values():
        np.testing.assert_allclose(regions(split)[0][:, 0], expected[rows(split)], rtol=1e-6)


def test_columns_are_taken_where_there_are_as_many_features_as_pictures(folder):
    import scipy.io

    features_of.write_vgg_feats(folder, PICTURES)
    feats = np.arange(len(PICTURES) ** 2, dtype=float).reshape(len(PICTURES), -1)
    scipy.io.savemat(folder / "vgg_feats.mat", {"feats": feats})
    split = load(folder).splits["train"]
    np.testing.assert_array_equal(regions(split)[0][:, 0], feats[:, rows(split)].T)


def test_rows_are_taken_only_where_columns_cannot_be_meant_and_it_is_said(folder):
    import scipy.io

    expected = features_of.write_vgg_feats(folder, PICTURES)
    scipy.io.savemat(folder / "vgg_feats.mat", {"feats": expected[:, :5]})
    data = load(folder)
    assert data.problems == ["vgg_feats.mat has a row for each image instead of a column"]
    split = data.splits["train"]
    np.testing.assert_allclose(regions(split)[0][:, 0], expected[rows(split), :5], rtol=1e-6)
    scipy.io.savemat(folder / "vgg_feats.mat", {"feats": expected[:-1].T[:5]})
    with pytest.raises(UserError, match="is 5 x 11, but there are 12 images"):
        load(folder)


def test_version_7_3_of_matlab_is_read(folder):
    import h5py

    expected = features_of.write_vgg_feats(folder, PICTURES)
    (folder / "vgg_feats.mat").unlink()
    with h5py.File(folder / "vgg_feats.mat", "w") as file:
        file["feats"] = expected  # MATLAB's columns are HDF5's rows
    split = load(folder).splits["test"]
    np.testing.assert_allclose(regions(split)[0][:, 0], expected[rows(split)], rtol=1e-6)


@pytest.mark.parametrize("content", [b"", b"no matlab", b"MATLAB 7.3 MAT-file, broken" + bytes(99)])
def test_what_is_no_matlab_file_is_said(folder, content):
    features_of.write_vgg_feats(folder, PICTURES)
    (folder / "vgg_feats.mat").write_bytes(content)
    with pytest.raises(UserError, match=r"vgg_feats\.mat"):
        load(folder)


def test_a_matlab_file_that_declares_more_than_it_has_is_refused_before_memory_is_taken(folder):
    import h5py

    features_of.write_vgg_feats(folder, PICTURES)
    with h5py.File(folder / "vgg_feats.mat", "w") as file:
        file.create_dataset("feats", (12, 1_700_000_000), "f4", chunks=(1, 1000))
    with pytest.raises(UserError, match="feats declares 81,600,000,000 bytes, and the file has 0"):
        load(folder)
    with h5py.File(folder / "vgg_feats.mat", "w") as file:
        file.create_group("feats")
    with pytest.raises(UserError, match="feats is no array"):
        load(folder)


@pytest.mark.parametrize("has_regions", [True, False])
@pytest.mark.parametrize("repeated", [True, False])
def test_precomp_in_all_four_shapes(folder, has_regions, repeated):
    expected = features_of.write_precomp(folder, PICTURES, regions=has_regions, repeated=repeated)
    data = load(folder)
    for split in data.splits.values():
        own = [row for row, picture in enumerate(PICTURES) if picture.split == split.name]
        features, _, mask = regions(split)
        if has_regions:
            np.testing.assert_array_equal(features[:, 1:], expected[own])
            np.testing.assert_allclose(features[:, 0], expected[own].mean(axis=1), rtol=1e-5)
        else:
            np.testing.assert_array_equal(features[:, 0], expected[own, 0])
        assert mask.all()
        check_sentences(split, own)
    assert any("no boxes" in line for line in data.problems) == has_regions


def test_a_region_of_zeros_is_none_and_counts_in_no_mean(folder):
    expected = features_of.write_precomp(folder, PICTURES)
    ims = np.load(folder / "train_ims.npy")
    ims[0, 2:] = 0
    np.save(folder / "train_ims.npy", ims)
    features, _, mask = regions(load(folder).splits["train"])
    assert mask[0].tolist() == [True, True, True, False, False]
    np.testing.assert_allclose(features[0, 0], expected[0, :2].mean(axis=0), rtol=1e-5)


def test_precomp_whose_numbers_do_not_fit_is_an_error(folder):
    features_of.write_precomp(folder, PICTURES)
    lines = (folder / "dev_caps.txt").read_text().splitlines()
    (folder / "dev_caps.txt").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(UserError, match="3 rows and there are 14 captions"):
        load(folder)
    (folder / "dev_caps.txt").unlink()
    with pytest.raises(UserError, match=r"dev_caps\.txt is missing"):
        load(folder)


def test_nothing_is_unpickled(folder):
    features_of.write_precomp(folder, PICTURES)
    np.save(folder / "train_ims.npy", np.array([{"code": 1}] * 6, object), allow_pickle=True)
    with pytest.raises(UserError, match="as a NumPy array"):
        load(folder)


def test_bottom_up_lines_belong_to_their_ids_and_have_their_boxes(folder):
    expected = features_of.write_bottom_up(folder, PICTURES)
    data = load(folder)
    assert data.problems == []
    for split in data.splits.values():
        own = rows(split)
        features, boxes, mask = regions(split)
        for place, row in enumerate(own):
            count = 3 if row == 0 else 4
            assert mask[place].tolist() == [True] * (1 + count) + [False] * (4 - count)
            np.testing.assert_array_equal(features[place, 1 : 1 + count], expected[row, :count])
            width, height = PICTURES[row].size
            pixels = np.array([[2 * n, n, height - 2 * n, width - n] for n in range(count)])
            np.testing.assert_allclose(
                boxes[place, 1 : 1 + count], pixels / [height, width, height, width], rtol=1e-5
            )
        check_sentences(split, own)


def test_bottom_up_features_without_captions_are_an_error(folder):
    features_of.write_bottom_up(folder, PICTURES)
    [path] = [path for path in folder.iterdir() if path.suffix == ".json"]
    path.write_text('{"images": [3]}')
    with pytest.raises(UserError, match="has features, but no captions of images; add them"):
        load(folder)


def test_reading_can_begin_anywhere(folder):
    features_of.write_bottom_up(folder, PICTURES)
    split = load(folder).splits["train"]
    for whole, rest in zip(regions(split), regions(split, start=4), strict=True):
        np.testing.assert_array_equal(whole[4:], rest)


def test_bad_lines_of_bottom_up_features_are_listed_and_their_pictures_skipped(folder):
    features_of.write_bottom_up(folder, PICTURES)
    path = folder / "features.tsv"
    lines = path.read_text().splitlines()
    fields = lines[-1].split("\t")  # of the first picture
    lines[-1] = "\t".join([*fields[:4], "!!!", fields[5]])
    lines.append("text")
    lines += ["\t".join([*fields[:2], height, *fields[3:]]) for height in ("inf", "nan", "1e300")]
    path.write_text("\n".join(lines) + "\n")
    data = load(folder)
    assert data.skipped == [f"train: {PICTURES[0].name}: no features"]
    [note] = [line for line in data.problems if "lines of features" in line]
    assert "line 12: broken base64" in note and "line 13: 1 fields instead of 6" in note
    assert f"line 14: 3 boxes in an image of {fields[1]} x inf" in note
    assert note.startswith("skipped 5 lines")


def test_two_kinds_of_features_are_an_error_that_names_the_option(folder):
    features_of.write_bottom_up(folder, PICTURES)
    features_of.write_vgg_feats(folder, PICTURES)
    with pytest.raises(UserError, match=r"several formats .*--data\.features"):
        load(folder)
    assert regions(load(folder, features="vgg_feats.mat").splits["val"])[0].shape[1] == 1
    assert regions(load(folder, features="features.tsv").splits["val"])[0].shape[1] == 5
    with pytest.raises(UserError, match="has no features ims"):
        load(folder, features="ims")


def test_without_features_the_message_says_what_is_read(folder):
    with pytest.raises(UserError, match=r"vgg_feats\.mat.*_ims\.npy.*tsv"):
        load(folder)


SMOKE = ["--preset", "smoke", "--align.epochs", "1", "--generate.epochs", "1"]


@pytest.mark.slow
def test_a_run_trains_without_boxes_and_says_what_it_cannot_do(folder, tmp_path, capsys):
    features_of.write_precomp(folder, PICTURES)
    run = tmp_path / "run"
    data = ["--dataset", "precomputed", "--data-dir", str(folder)]
    with quick_stages():
        fit.main([*SMOKE, *data, "--run-dir", str(run), "--cache-dir", str(tmp_path / "cache")])
    said = capsys.readouterr().err
    assert "the features have no boxes" in said
    exported = json.loads((run / "saved_model/1/export.json").read_text())
    assert "computed elsewhere" in exported["left_out"]["greedy"]
    model = tf.saved_model.load(str(run / "saved_model/1"))
    assert set(model.signatures) == set(exported["signatures"])
    vectors = np.load(folder / "test_ims.npy")
    frames = np.concatenate([vectors.mean(axis=1, keepdims=True), vectors], axis=1)
    found = model.signatures["greedy_from_features"](region_features=tf.constant(frames))
    written = json.loads((run / "captions_test_greedy.json").read_text())
    texts = {item["image_id"]: item["caption"] for item in written}
    assert [text.decode() for text in found["captions"].numpy()] == [
        texts[f"test-{row}"] for row in range(len(frames))
    ]
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["ranking"]["image_search"]["r10"] == 100.0
    assert metrics["regions"] is None
    lines = [json.loads(line) for line in (run / "alignments.jsonl").open()]
    assert all(segment["box"] is None for line in lines for segment in line["segments"])
    assert "without pictures" in (run / "report.html").read_text()


@pytest.fixture(scope="module")
def own_data(tmp_path_factory):
    root = tmp_path_factory.mktemp("own")
    dummy_data.write("coco_json", root / "data", PICTURES)
    return root


SMALL = ["--regions.picture_size", "64", "--regions.frame_size", "32", "--regions.crop_size", "32"]


def converted(root, form):
    target = root / form
    if not target.exists():
        data = ["--dataset", "coco_json", "--data-dir", str(root / "data")]
        paths = ["--cache-dir", str(root / "prepared"), "--to", str(target)]
        convert.main(["--preset", "smoke", *SMALL, *data, *paths, "--format", form])
    return target


def original(root):
    return load_dataset("coco_json", cache_dir=root / "prepared", data_dir=root / "data")


@pytest.mark.slow
def test_our_own_features_come_back_with_sentences_and_boxes(own_data):
    before = original(own_data)
    after = load(converted(own_data, "cache"))
    for name in SPLITS:
        one, other = before.splits[name], after.splits[name]
        assert (one.image_ids, one.sentences) == (other.image_ids, other.sentences)
        np.testing.assert_array_equal(one.image_index, other.image_index)
        assert one.phrases.text == other.phrases.text
        for part in ("sentence_index", "first", "last", "object", "boxes"):
            np.testing.assert_array_equal(getattr(one.phrases, part), getattr(other.phrases, part))
        assert other.regions.has_boxes


@pytest.mark.slow
def test_scan_files_hold_our_features_and_come_back(own_data):
    scan, cache = converted(own_data, "scan"), converted(own_data, "cache")
    for name, theirs in zip(SPLITS, ("train", "dev", "test"), strict=True):
        features, _, mask = regions(load(cache).splits[name])
        ims = np.load(scan / f"{theirs}_ims.npy")
        assert ims.dtype == np.float32
        np.testing.assert_array_equal(ims, np.where(mask[..., None], features, 0))
        captions = (scan / f"{theirs}_caps.txt").read_text().splitlines()
        assert len(captions) == 5 * len(ims)
        assert captions == original(own_data).splits[name].sentences
    assert load(scan).splits["val"].image_ids == original(own_data).splits["val"].image_ids


@pytest.mark.slow
def test_coco_comes_back_as_the_same_data_set(own_data):
    before, target = original(own_data), converted(own_data, "coco")
    after = load_dataset("coco_json", cache_dir=own_data / "prepared", data_dir=target)
    assert after.problems == []
    for name in SPLITS:
        one, other = before.splits[name], after.splits[name]
        assert (one.file_names, one.sentences) == (other.file_names, other.sentences)
        assert list(one.pictures().as_numpy_iterator()) == list(
            other.pictures().as_numpy_iterator()
        )
        assert one.phrases.text == other.phrases.text
        np.testing.assert_allclose(one.phrases.boxes, other.phrases.boxes, atol=1e-5)


def test_features_are_those_of_the_run(own_data, tmp_path, monkeypatch):
    run = RunDirectory(tmp_path / "run")
    run.claim(preset("smoke").updated({"regions.proposer": "trained"}))
    (run / "checkpoints" / "propose").mkdir(parents=True)
    proposer = run / "checkpoints" / "propose" / "proposer.npz"
    proposer.write_bytes(b"")
    seen = []

    def fill_caches(config, data, *, weights):
        seen.append(weights)
        return {}

    monkeypatch.setattr(features, "fill_caches", fill_caches)
    data = ["--dataset", "coco_json", "--data-dir", str(own_data / "data")]
    paths = ["--cache-dir", str(own_data / "prepared"), "--to", str(tmp_path / "new")]
    options = ["--preset", "smoke", "--regions.proposer", "trained", "--format", "scan"]
    command = [*data, *paths, *options, "--run-dir"]
    convert.main([*command, str(run.path)])
    convert.main([*command, str(tmp_path / "none")])
    assert seen == [RegionWeights(proposer=proposer), PRETRAINED]
    convert.main([*command, str(run.path), "--propose.epochs", "3"])
    with pytest.raises(UserError, match="run has other options --regions"):
        convert.main([*command, str(run.path), "--regions.num_regions", "3"])
    with pytest.raises(UserError, match="none has not trained; run .* --stages propose with this"):
        convert.main([*command, str(tmp_path / "none"), "--propose.epochs", "3"])


def test_mistakes_of_converting_are_the_users(own_data, folder, tmp_path):
    command = ["--dataset", "coco_json", "--data-dir", str(own_data / "data")]
    with pytest.raises(UserError, match="--format: invalid choice: 'xml'"):
        convert.main([*command, "--format", "xml", "--to", str(tmp_path / "new")])
    with pytest.raises(UserError, match="required: --to; see --help"):
        convert.main([*command, "--format", "coco"])
    with pytest.raises(UserError, match="is not empty"):
        convert.main([*command, "--format", "coco", "--to", str(own_data)])
    features_of.write_bottom_up(folder, PICTURES)
    with pytest.raises(UserError, match="has features and no images"):
        data = ["--dataset", "precomputed", "--data-dir", str(folder)]
        convert.main([*data, "--format", "coco", "--to", str(tmp_path / "new")])
