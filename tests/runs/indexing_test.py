"""`search --index`: built from images, added to, continued after an interruption, and searched."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from untrained import make_run

import visem_tf
from visem_tf import search
from visem_tf.errors import UserError
from visem_tf.images.sources import as_sources
from visem_tf.regions.extractor import Regions
from visem_tf.runs import indexing
from visem_tf.runtime.storage import as_path

pytestmark = pytest.mark.usefixtures("quick")


def of_file(name: str, num_features: int) -> Regions:
    """Regions that depend on the name of a file only."""
    generator = np.random.default_rng(ord(Path(name).stem[0]))
    return Regions(
        generator.normal(size=(1, 4, num_features)).astype(np.float32),
        generator.uniform(size=(1, 4, 4)).astype(np.float32),
        generator.uniform(size=(1, 4)).astype(np.float32),
        np.arange(4)[np.newaxis] < generator.integers(2, 5),
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> "visem_tf.loaded_model.LoadedModel":
    folder = tmp_path_factory.mktemp("untrained") / "run"
    return visem_tf.load(make_run(folder, "align", **{"infer.hubness_scale": 0.5}).run.path)


@pytest.fixture(autouse=True)
def no_cnn(model, monkeypatch) -> list[str]:
    """Regions without a CNN, in batches of two; returns the names of the images that were read."""
    kernel = model.run.alignment_model.region_encoder.projection.kernel
    read: list[str] = []

    def extract(run, sources, failures=None, boxes_of=None):
        for start in range(0, len(sources), 2):
            batch = sources[start : start + 2]
            read.extend(Path(source.name).stem for source in batch)
            parts = zip(*(of_file(each.name, kernel.shape[0]) for each in batch), strict=True)
            yield list(batch), Regions(*map(np.concatenate, parts))

    monkeypatch.setattr(indexing, "extract_regions", extract)
    monkeypatch.setattr(indexing, "SHARD_SIZE", 4)
    monkeypatch.setattr("visem_tf.loaded_model.extract_regions", extract)
    return read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "images"
    path.mkdir()
    for name in "abcdefghij":
        Image.new("RGB", (8, 8)).save(path / f"{name}.png")
    return path


def test_a_search_of_all_candidates_is_exact(model, folder, tmp_path):
    assert model.add_to_index(tmp_path / "index", folder) == 10
    for sentence in ("a red dog", "ball"):
        found = model.search(sentence, index=tmp_path / "index", top=6, candidates=10)
        expected = model.search(sentence, folder, top=6)
        # More images than candidates may be asked for where their number is not given.
        for place in ({"images": folder}, {"index": tmp_path / "index"}):
            assert len(model.search(sentence, **place, top=2000).images) == 10
        assert found.searched == expected.searched == 10
        assert [each.image for each in found.images] == [each.image for each in expected.images]
        for one, other in zip(found.images, expected.images, strict=True):
            assert one.score == pytest.approx(other.score, abs=2e-3)  # 16 bits
            for a, b in zip(one.words, other.words, strict=True):
                assert (a.text, a.box) == (b.text, b.box)
    few = model.search(["a red dog", "ball"], index=tmp_path / "index", top=2, candidates=2)
    assert [len(each.images) for each in few] == [2, 2]


def test_only_new_and_changed_images_are_read(model, folder, tmp_path, no_cnn):
    index = tmp_path / "index"
    paths = sorted(folder.iterdir())
    assert model.add_to_index(index, paths[:3]) == 3
    assert model.add_to_index(index, paths[:5]) == 2
    os.utime(paths[1], ns=(1, 1))
    assert model.add_to_index(str(index), folder) == 6
    assert no_cnn == [*"abc", *"de", *"bfghij"]
    found = model.search("a dog", index=index, top=20)
    assert found.searched == len(found.images) == 10
    assert len({each.image for each in found.images}) == 10


def test_an_interrupted_build_is_continued(model, folder, tmp_path, monkeypatch, no_cnn):
    """A kill leaves the shards before it; Ctrl-C also what was embedded since then."""
    kill = indexing.SearchIndex.add
    calls = []

    def add(*arguments):
        calls.append(1)
        if len(calls) > 1:
            raise SystemExit("killed")
        kill(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(indexing.SearchIndex, "add", add)
        with pytest.raises(SystemExit):
            model.add_to_index(tmp_path / "index", folder)
    assert len(calls) == 2
    assert model.search("a dog", index=tmp_path / "index", candidates=10).searched == 4
    no_cnn.clear()
    assert model.add_to_index(tmp_path / "index", folder) == 6
    assert no_cnn == [*"efghij"]
    whole = tmp_path / "whole"
    model.add_to_index(whole, folder)
    found, expected = (
        model.search("a red dog", index=each, top=10).to_dict()
        for each in (tmp_path / "index", whole)
    )
    assert found == expected


def test_a_full_disk_loses_nothing(model, folder, tmp_path, monkeypatch):
    from visem_tf.regions import index_shards

    index = tmp_path / "index"
    paths = sorted(folder.iterdir())
    model.add_to_index(index, paths[:4])

    def fail(path, array):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(index_shards, "save_array", fail)
    with pytest.raises(OSError, match="No space left"):
        model.add_to_index(index, folder)
    assert model.search("a dog", index=index, candidates=10).searched == 4


def test_an_index_on_another_storage(model, folder):
    place = "memory://indexes/one"
    assert model.add_to_index(place, folder) == 10
    names = [path.name for path in as_path(place).iterdir()]
    assert "index.json" in names and sum(name.startswith("shard-") for name in names) == 3
    assert model.search("a dog", index=place, candidates=10).searched == 10


@pytest.mark.parametrize("score", ["cosine", "hard_alignment"])
def test_scores_of_unit_vectors(score, folder, tmp_path, no_cnn):
    path = make_run(tmp_path / "run", "align", **{"align.score": score}).run.path
    model = visem_tf.load(path)
    model.add_to_index(tmp_path / "index", folder)
    found = model.search("a red dog", index=tmp_path / "index")
    expected = model.search("a red dog", folder)
    scores = [[each.score for each in result.images] for result in (found, expected)]
    np.testing.assert_allclose(scores[0], scores[1], atol=2e-3)
    opened = indexing.index_of(model.run, tmp_path / "index").gather(np.arange(3))
    np.testing.assert_allclose(np.linalg.norm(opened.embeddings, axis=2), 1, atol=1e-2)


def test_the_command_builds_adds_and_searches(model, folder, tmp_path, capsys):
    options = ["--run-dir", str(model.run.run.path), "--index", str(tmp_path / "index")]
    search.main([*options, "--images", str(folder / "a.png")])
    assert "1 images added, 1 in all" in capsys.readouterr().out
    out = tmp_path / "out.json"
    search.main([*options, "--images", str(folder), "a dog", "--json", str(out), "--top", "3"])
    assert json.loads(out.read_text())[0]["searched"] == 10
    found = model.search("a dog", index=tmp_path / "index", top=3)
    assert json.loads(out.read_text()) == [found.to_dict()]
    search.main([*options, "a dog", "ball"])
    assert "“ball” in 10 images" in capsys.readouterr().out


def test_mistakes_are_named(model, folder, tmp_path):
    options = ["--run-dir", str(model.run.run.path)]
    index = tmp_path / "index"
    for arguments, message in (
        (["--index", index], "there is no sentence to search for"),
        (["--images", folder], "there is no sentence to search for"),
        (["--images", folder, "a dog", "--candidates", 9], "--candidates is for an index"),
        (["--index", index, "a dog", "--candidates", 9], r"at least --top \(10\), not 9"),
        (["--index", index, "a dog"], "index .* does not exist; build one"),
        (["--index", folder, "a dog"], r"is not an index \(it has no index\.json\)"),
        (["--index", folder / "a.png", "a dog"], "is a file; give a folder"),
    ):
        with pytest.raises(UserError, match=message):
            search.main([*options, *map(str, arguments)])
    with pytest.raises(ValueError, match="give images or index, and not both"):
        model.search("a dog", folder, index=index)
    with pytest.raises(ValueError, match="candidates must be at least top"):
        model.search("a dog", index=index, candidates=3)
    with pytest.raises(ValueError, match="must be paths of files"):
        model.add_to_index(index, np.zeros([9, 9, 3], np.uint8))
    assert not index.exists()
    model.add_to_index(index, folder)
    other = visem_tf.load(make_run(tmp_path / "other", "align", seed=1).run.path)
    with pytest.raises(UserError, match=r"another model or other regions \(by run\) than other"):
        other.search("a dog", index=index)
    sources, _ = as_sources(folder)
    with pytest.raises(UserError, match="another model or other regions"):
        indexing.add_to_index(other.run, index, sources)
