"""`--dataset auto`: the dataset of a folder is recognised by what is in it."""

import dataclasses

import pytest

import dummy_data
from visem_tf.cli import make_parser, parse_arguments
from visem_tf.config import Config
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
    assert recognise(folder.parent)[0] == name or name in ("coco", "image_folder", "sidecar_txt")


def test_other_names_of_files_are_recognised_by_ending_and_content(folder, write):
    for name, file, other in (
        ("captions_txt", "captions.txt", "mine.csv"),
        ("karpathy_json", "dataset.json", "mine.json"),
    ):
        write(name, folder)
        (folder / file).rename(folder / other)
        assert recognise(folder) == (name, other)
        (folder / other).unlink()


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
