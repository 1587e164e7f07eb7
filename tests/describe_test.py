"""`python -m visem_tf.describe`: text, JSON and drawings of images, folders and given boxes."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from untrained import WORDS, make_run

from visem_tf import describe
from visem_tf.errors import UserError

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images in a folder, of which one has markup in its name."""
    path = tmp_path / "images"
    (path / "below").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name in ("a.png", "<b>[red]&.jpg", "below/a.png"):
        pixels = generator.integers(0, 255, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(path / name)
    return path


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options of an untrained run."""
    folder = tmp_path_factory.mktemp("untrained")
    make_run(folder / "run", "align", "generate/full_frame", "generate/regions")
    return ["--run-dir", str(folder / "run"), "--cache-dir", str(folder / "cache")]


@pytest.fixture
def words() -> list[str]:
    return list(WORDS[4:])


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    path = tmp_path / "own picture.png"
    Image.fromarray(pixels).save(path)
    return path


def test_describe(options, picture, tmp_path, capsys):
    json_file, folder = tmp_path / "out.json", tmp_path / "drawn"
    describe.main(
        [
            *options,
            str(picture),
            "--json",
            str(json_file),
            "--picture",
            str(folder),
        ]
    )
    out = capsys.readouterr().out
    assert str(picture) in out
    [described] = json.loads(json_file.read_text())
    assert described["caption"] in out
    assert len(described["regions"]) == 4
    assert all(0 <= edge <= 1 for region in described["regions"] for edge in region["box"])
    [drawn] = folder.iterdir()
    assert Image.open(io.BytesIO(drawn.read_bytes())).width >= 480


@pytest.mark.slow
def test_pictures_described_together_get_what_each_gets_alone(options, picture, tmp_path):
    other = tmp_path / "other.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (90, 50, 3), np.uint8)).save(other)

    def texts(*pictures):
        described = tmp_path / "out.json"
        describe.main([*options, *map(str, pictures), "--json", str(described)])
        return [
            [d["image"], d["caption"], *(region["caption"] for region in d["regions"])]
            for d in json.loads(described.read_text())
        ]

    assert texts(picture, other) == texts(picture) + texts(other)


@pytest.mark.slow
def test_a_run_without_region_generator_still_describes_pictures(
    options, picture, tmp_path, capsys
):
    run, boxes = tmp_path / "run", tmp_path / "boxes.json"
    make_run(run, "align", "generate/full_frame", generate={"regions": False})
    describe.main(["--run-dir", str(run), str(picture)])
    found = capsys.readouterr()
    assert f"{picture}: " in found.out
    assert "has no generator of region descriptions" in found.err
    boxes.write_text("[[0, 0, 0.5, 0.5]]")
    with pytest.raises(UserError, match=r"trained with --generate\.regions false"):
        describe.main(["--run-dir", str(run), str(picture), "--boxes", str(boxes)])


@pytest.mark.slow
def test_describe_goes_on_after_a_bad_picture(options, picture, tmp_path, capsys):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"bad\.jpg"):
        describe.main([*options, str(bad), str(picture)])
    assert str(picture) in capsys.readouterr().out


def test_describe_names_a_missing_picture_and_a_missing_run(options, tmp_path):
    with pytest.raises(UserError, match=r"there is no image .*absent\.jpg"):
        describe.main([*options, str(tmp_path / "absent.jpg")])
    with pytest.raises(UserError, match="is not a run directory"):
        describe.main(["--run-dir", str(tmp_path), str(tmp_path / "absent.jpg")])


@pytest.mark.slow
def test_describe_takes_folders_boxes_and_a_sentence(
    options, folder: Path, words: list[str], tmp_path: Path, capsys
):
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"a.png": [[0, 0, 30, 20], [10, 10, 50, 30]]}))
    command = [*options, str(folder), "--json", str(tmp_path / "out.json")]
    describe.main([*command, "--beam", "1", "--picture", str(tmp_path / "drawn")])
    proposed = json.loads((tmp_path / "out.json").read_text())
    command += ["--boxes", str(boxes), "--box-format", "xyxy"]
    describe.main([*command, "--sentence", " ".join(words[:3]), "--beta", "100"])
    names = {"a-described.jpg", "a-described-2.jpg", "<b>[red]&-described.jpg"}
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == names
    assert [len(result["regions"]) for result in proposed] == [4, 4, 4]
    given = json.loads((tmp_path / "out.json").read_text())
    assert [len(result["regions"]) for result in given] == [1, 3, 3]
    box = given[1]["regions"][1]["box"]
    np.testing.assert_allclose(box, [0, 0, 0.5, 0.5], atol=1e-3)
    # So large a reward for staying gives one region to all words.
    assert [len(result["looks"]["segments"]) for result in given] == [1, 1, 1]
    printed = capsys.readouterr()
    assert "<b>[red]&.jpg" in printed.out
    assert "has no boxes for" in printed.err and "<b>[red]&.jpg" in printed.err


def test_boxes_for_other_pictures_are_refused(options, folder: Path, tmp_path: Path):
    boxes = tmp_path / "boxes.json"
    boxes.write_text('{"other.jpg": [[0, 0, 1, 1]]}')
    with pytest.raises(UserError, match=r"has no boxes for .*a\.png"):
        describe.main([*options, str(folder / "a.png"), "--boxes", str(boxes)])


@pytest.mark.slow
def test_describe_shows_what_the_generator_attended_to(tmp_path, capsys):
    attention = {"model": "attention", "regions": False}
    make_run(tmp_path / "run", "align", "generate/full_frame", generate=attention)
    picture, drawn = tmp_path / "a.png", tmp_path / "drawn"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)).save(picture)
    command = ["--run-dir", str(tmp_path / "run"), str(picture), "--picture", str(drawn)]
    describe.main([*command, "--json", str(tmp_path / "out.json")])
    [described] = json.loads((tmp_path / "out.json").read_text())
    words = described["attention"]["words"]
    assert " ".join(word["word"] for word in words) == described["caption"]
    assert all(1 / 4 <= word["weight"] <= 1 for word in words)
    boxes = [region["box"] for region in described["regions"]]
    assert all(word["box"] == boxes[word["region"]] for word in words)
    assert sorted(path.name for path in drawn.iterdir()) == ["a-attention.jpg", "a-described.jpg"]
    assert "attended to" in capsys.readouterr().out
