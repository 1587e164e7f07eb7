import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from untrained import WORDS, make_run

from visem_tf import search
from visem_tf.errors import UserError

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some pictures, of which one cannot be read and one has markup in its name."""
    path = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    (path / "below").mkdir()
    for name in ("a.png", "<b>[red]&.jpg", "below/a.png"):
        pixels = generator.integers(0, 255, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(path / name)
    (path / "broken.jpg").write_bytes(b"no picture")
    return path


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options of an untrained run."""
    folder = tmp_path_factory.mktemp("untrained")
    make_run(folder / "run", "align", "generate/full_frame", "generate/regions")
    return ["--run-dir", str(folder / "run"), "--cache-dir", str(folder / "cache")]


@pytest.fixture(scope="module")
def words() -> list[str]:
    return list(WORDS[4:])


def run_search(options: list[str], folder: Path, *arguments: object) -> None:
    search.main([*options, "--images", str(folder), *map(str, arguments)])


def test_pictures_are_ranked_and_every_word_has_its_region(
    options, folder: Path, words: list[str], tmp_path: Path, capsys
):
    sentence = f"{words[0]} {words[1]} nowhere"
    with pytest.raises(UserError, match=r"cannot read .*broken\.jpg"):
        run_search(
            options,
            folder,
            sentence,
            words[2],
            "--json",
            tmp_path / "out.json",
            "--picture",
            tmp_path / "drawn",
            "--top",
            2,
        )
    printed = capsys.readouterr()
    assert "nowhere was not among the training words" in printed.err
    results = json.loads((tmp_path / "out.json").read_text())
    assert [result["sentence"] for result in results] == [sentence, words[2]]
    assert results[0]["unknown_words"] == ["nowhere"]
    for result in results:
        assert result["searched"] == 3
        assert len(result["pictures"]) == 2
        scores = [picture["score"] for picture in result["pictures"]]
        assert scores == sorted(scores, reverse=True)
        for picture in result["pictures"]:
            assert picture["image"] in printed.out
            assert [word["word"] for word in picture["words"]] == result["sentence"].split()
            assert " ".join(s["text"] for s in picture["segments"]) == result["sentence"]
    assert len(list((tmp_path / "drawn").iterdir())) == 4


def test_a_found_image_that_is_gone_costs_no_other_result(
    options, folder: Path, words: list[str], tmp_path: Path
):
    place = [*options, "--index", str(tmp_path / "index")]
    images = tmp_path / "images"
    images.mkdir()
    for name in ("a.png", "<b>[red]&.jpg"):
        shutil.copy(folder / name, images)
    search.main([*place, "--images", str(images)])
    (images / "a.png").unlink()
    written = ["--json", str(tmp_path / "out.json"), "--picture", str(tmp_path / "drawn")]
    with pytest.raises(UserError, match=r"cannot read .*a\.png"):
        search.main([*place, words[0], *written])
    [result] = json.loads((tmp_path / "out.json").read_text())
    assert len(result["pictures"]) == 2
    assert len(list((tmp_path / "drawn").iterdir())) == 1


@pytest.mark.slow
def test_the_next_search_describes_only_what_is_new(
    options, folder: Path, words: list[str], tmp_path: Path, monkeypatch, capsys
):
    from visem_tf.images import sources

    asked: list[str] = []
    read = sources.read_pixels

    def record(path: Path, name: str) -> np.ndarray:
        asked.append(path.name)
        return read(path, name)

    monkeypatch.setattr(sources, "read_pixels", record)
    command = (words[0], "--cache-dir", tmp_path / "cache", "--top", 9, "--json")
    for name in ("first.json", "second.json"):
        with pytest.raises(UserError, match=r"broken\.jpg"):
            run_search(options, folder, *command, tmp_path / name)
    assert sorted(asked) == ["<b>[red]&.jpg", "a.png", "a.png", "broken.jpg", "broken.jpg"]
    assert (tmp_path / "first.json").read_text() == (tmp_path / "second.json").read_text()


def test_mistakes_are_named(options, folder: Path, words: list[str], tmp_path: Path):
    with pytest.raises(UserError, match="--images is missing"):
        search.main([*options, words[0]])
    with pytest.raises(UserError, match="no word in the sentence"):
        run_search(options, folder, "?")
    with pytest.raises(UserError, match="--top must be at least 1"):
        run_search(options, folder, words[0], "--top", 0)
    with pytest.raises(UserError, match=r"infer\.beta must be .*at least 0"):
        run_search(options, folder, words[0], "--beta", -1)
    with pytest.raises(UserError, match="there is no image"):
        run_search(options, tmp_path, words[0])
