"""`--dataset auto`: the dataset of a folder is recognised by what is in it."""

import dataclasses

import pytest

import dummy_data
from dummy_data import precomputed
from visem_tf.cli import parse_arguments
from visem_tf.config import Config, DataConfig
from visem_tf.config.options import make_parser
from visem_tf.datasets import builder_class
from visem_tf.datasets.precomputed.loading import load_precomputed
from visem_tf.datasets.preparing import check_folder
from visem_tf.datasets.recognising import recognise, recognised
from visem_tf.errors import UserError

PICTURES = dummy_data.draw_images(train=4, val=2, test=2)
NAMES = ["flickr8k", "flickr30k", "coco", "visual_genome", "coco_json", "karpathy_json"]


@pytest.mark.parametrize(
    "name", [*NAMES, "captions_txt", "json_lines", "image_folder", "sidecar_txt", "webdataset"]
)
def test_every_format_is_recognised(folder, write, name):
    write(name, folder)
    assert recognise(folder)[0] == name
    assert recognise(folder.parent)[0] == name or name in ("image_folder", "sidecar_txt")
    builder = builder_class(name)
    outer = folder.parent if name != "sidecar_txt" else folder
    assert builder.source_files(check_folder(builder, Config(data_dir=str(outer))), DataConfig())


@pytest.mark.parametrize(
    ("form", "sign"),
    [("vgg_feats", "vgg_feats.mat"), ("precomp", "train_ims.npy"), ("bottom_up", "features.tsv")],
)
def test_features_are_recognised(folder, form, sign):
    folder.mkdir()
    getattr(precomputed, f"write_{form}")(folder, PICTURES)
    assert recognise(folder) == recognise(folder.parent) == ("precomputed", sign)
    for root in (folder, folder.parent):
        data = load_precomputed(Config(dataset="precomputed", data_dir=str(root)))
        assert len(data.splits["train"].image_ids) == 4
    if form == "bottom_up":  # its usual names differ, and large files come in parts
        text = (folder / sign).read_text()
        (folder / "train.tsv.0").write_text("image_id\timage_w\n" + text)
        (folder / sign).unlink()
        assert recognise(folder) == ("precomputed", "train.tsv.0")


def test_features_in_a_folder_that_is_not_read_are_not_recognised(folder, write):
    write("captions_txt", folder)
    (folder / "images" / "vgg_feats.mat").touch()
    assert recognise(folder) == ("captions_txt", "captions.txt")


def test_features_of_this_package_are_recognised(folder):
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "sentences.jsonl").touch()
    assert recognise(folder) == ("precomputed", "sentences.jsonl")


def test_other_names_of_files_are_recognised_by_ending_and_content(folder, write):
    for name, file, other in (
        ("captions_txt", "captions.txt", "mine.csv"),
        ("karpathy_json", "dataset.json", "mine.json"),
    ):
        write(name, folder)
        (folder / file).rename(folder / other)
        assert recognise(folder) == (name, other)
        (folder / other).unlink()


def test_the_option_for_captions_decides(folder, write):
    write("captions_txt", folder)
    (folder / "captions.txt").rename(folder / "one.csv")
    (folder / "two.csv").write_bytes((folder / "one.csv").read_bytes())
    with pytest.raises(UserError, match=r"may be in one\.csv, two\.csv; choose a file with --data"):
        recognise(folder)
    assert recognise(folder, DataConfig(captions="two.csv")) == ("captions_txt", "two.csv")
    for name, content in (
        ("x.jsonl", "{}"),
        ("x.json", '{"images": [{"filename": "a.jpg"}]}'),
        ("y.json", '{"images": [{"file_name": "a.jpg"}]}'),
    ):
        (folder / name).write_text(content)
    for name, expected in (
        ("x.jsonl", "json_lines"),
        ("x.json", "karpathy_json"),
        ("y.json", "coco_json"),
        ("absent.json", "coco_json"),
    ):
        assert recognise(folder, DataConfig(captions=name)) == (expected, name)
    assert recognise(folder, DataConfig(features="x.tsv")) == ("precomputed", "x.tsv")
    (folder / "val2017").mkdir()
    assert recognise(folder)[0] == "coco"
    assert recognise(folder, DataConfig(captions="y.json")) == ("coco_json", "y.json")
    (folder / "results.csv").touch()
    (folder / "val2017").rmdir()
    given = DataConfig(captions="results.csv")
    assert recognise(folder, given) == ("flickr30k", "results.csv")


def test_files_beside_captions_of_another_name_are_none(folder, write):
    write("coco_json", folder)
    (folder / "captions.json").rename(folder / "mine.json")
    (folder / "instances.json").write_text("{}")
    assert recognise(folder) == ("coco_json", "mine.json")


def test_what_is_open_or_unknown_is_said(folder, write):
    write("captions_txt", folder)
    (folder / "captions.jsonl").write_text("{}")
    with pytest.raises(UserError, match=r"may be json_lines \(captions\.jsonl\) or captions_txt"):
        recognise(folder)
    for name in ("captions.jsonl", "captions.txt"):
        (folder / name).unlink()
    with pytest.raises(UserError, match=r"no captions that are recognised \(it has images"):
        recognise(folder)


def test_auto_is_the_default_of_a_folder_and_prints_its_guess(folder, write, capsys):
    write("captions_txt", folder)
    config, _ = parse_arguments(make_parser("fit", ""), ["--data-dir", str(folder)])
    assert config.dataset == "auto" and config.run_dir.endswith("runs/data-default")
    config = recognised(config)
    assert config.dataset == "captions_txt"
    printed = capsys.readouterr().err
    assert printed.endswith(
        "has captions.txt and is read as captions_txt; --dataset names another\n"
    )
    named, _ = parse_arguments(
        make_parser("fit", ""), ["--data-dir", str(folder), "--dataset", "coco_json"]
    )
    assert recognised(named) is named
    assert parse_arguments(make_parser("fit", ""), [])[0].dataset == "scenes"


def test_auto_needs_a_folder(tmp_path):
    auto = dataclasses.replace(Config(), dataset="auto")
    with pytest.raises(UserError, match="needs a folder"):
        recognised(auto)
    with pytest.raises(UserError, match="is not a folder; correct --data-dir"):
        recognised(dataclasses.replace(auto, data_dir=str(tmp_path / "nowhere")))
