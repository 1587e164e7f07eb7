"""`visem_tf.load`: results for images of any kind, one for one and a list for a list."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from untrained import make_run

import visem_tf
from visem_tf import describe, search
from visem_tf.errors import UserError
from visem_tf.images.sources import as_sources
from visem_tf.runs import user_images

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    models = ("align", "generate/full_frame", "generate/regions")
    return make_run(folder, *models, **{"regions.batch_size": 3})


@pytest.fixture(scope="module")
def model(run):
    return visem_tf.load(run.run.path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("images")
    for seed in range(3):
        image = np.random.default_rng(seed).integers(0, 255, (40 + seed, 60, 3), np.uint8)
        Image.fromarray(image).save(path / f"{seed}.png")
    return path


@pytest.fixture(scope="module")
def arrays(folder):
    return [np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]


def test_descriptions_are_those_of_the_command(run, model, folder, arrays, tmp_path):
    command = ["--run-dir", str(run.run.path), str(folder), "--json", str(tmp_path / "a.json")]
    describe.main([*command, "--sentence", "a red dog"])
    written = json.loads((tmp_path / "a.json").read_text())
    found = model.describe(folder)
    looks = [each.pop("looks") for each in written]
    assert [each.to_dict() for each in found] == written
    grounded = model.ground(folder, ["a red dog"] * 3)
    assert [each.to_dict() for each in grounded] == looks
    of_arrays = [each.to_dict() for each in model.describe(arrays)]
    for n, each in enumerate(of_arrays):
        assert each.pop("image") == f"images[{n}]"
        assert each == {name: value for name, value in written[n].items() if name != "image"}


def test_a_description(model, arrays):
    found = model.describe(arrays[0])
    expected = found.to_dict()
    assert found.caption == expected["caption"]
    assert len(found.regions) == len(found.boxes) == 4
    assert found.regions[0].box == (0.0, 0.0, 1.0, 1.0)
    for region, written in zip(found.regions, expected["regions"], strict=True):
        np.testing.assert_allclose(region.box, written["box"], atol=1e-3)
        assert region.caption == written["caption"]
        numbers = (region.log_prob, region.score, region.fit)
        names = ("log_prob", "region_score", "fit")
        np.testing.assert_allclose(numbers, [written[name] for name in names], atol=1e-4)
    plain = found.source.image()
    scale = 480 / 40
    assert found.plot(0).crop((0, 0, 720, 480)).tobytes() == (
        plain.resize((round(60 * scale), 480), Image.Resampling.LANCZOS).tobytes()
    )
    assert found.plot().tobytes() != found.plot(0).tobytes()
    assert found._repr_png_().startswith(b"\x89PNG")
    assert found.caption in repr(found)


def test_boxes_and_beam_size(model, arrays):
    box = [0.0, 0.0, 0.5, 0.5]
    found = model.describe(arrays[0], boxes=[box])
    assert [region.box for region in found.regions[1:]] == [tuple(box)]
    greedy, beam = (model.describe(arrays[0], beam_size=size) for size in (1, 3))
    assert beam.log_prob >= greedy.log_prob - 1e-5
    found = model.describe(arrays[:2], boxes=[[box], [box, box]])
    assert [len(each.regions) for each in found] == [2, 3]
    for boxes, message in (
        ([[0, 0, 1]], r"boxes must be arrays \[N, 4\]"),
        ([[0, 0, 0, 1]], "has no area"),
        ([[0, 0, np.nan, 1]], "must be four numbers"),
    ):
        with pytest.raises((ValueError, UserError), match=message):
            model.describe(arrays[0], boxes=boxes)
    with pytest.raises(ValueError, match="boxes has 1 entries for 2 images"):
        model.describe(arrays[:2], boxes=[[box]])
    with pytest.raises(UserError, match=r"generate\.beam_size must be"):
        model.describe(arrays[0], beam_size=0)


def test_sentences_and_phrases_are_grounded(model, arrays):
    one = model.ground(arrays[0], "A dog runs.", ["dog runs"])
    assert [word.text for word in one.words] == ["a", "dog", "runs"]
    assert " ".join(segment.text for segment in one.segments) == "a dog runs"
    [phrase] = one.phrases
    assert phrase.text == "dog runs"
    assert phrase.box in [region.box for region in rounded(model.describe(arrays[0]))]
    assert all(0 <= edge <= 1 for edge in phrase.point)
    assert one.plot().size[0] >= 480
    many = model.ground(arrays[0], ["a dog", "a ball"], [["dog"], []])
    assert [[p.text for p in each.phrases] for each in many] == [["dog"], []]
    nested = model.ground(arrays[:2], ["a dog runs", ["a ball", "red"]], [["dog runs"], [[], []]])
    assert nested[0].phrases == one.phrases
    assert [each.sentence for each in nested[1]] == ["a ball", "red"]
    assert nested[1][1].image == "images[1]"
    alone = model.ground(arrays[1], "red")
    np.testing.assert_allclose(nested[1][1].score, alone.score, atol=1e-3)
    with pytest.raises(ValueError, match="an entry for each of the 2 images"):
        model.ground(arrays[:2], "a dog")
    with pytest.raises(ValueError, match="sentences is empty"):
        model.ground(arrays[:2], ["a dog", []])
    with pytest.raises(ValueError, match="phrases must have a list of texts for each sentence"):
        model.ground(arrays[0], "a dog", "dog")
    with pytest.raises(UserError, match="is not a part of the sentence"):
        model.ground(arrays[0], "a dog", ["ball"])
    with pytest.raises(UserError, match="no word of the sentence"):
        model.ground(arrays[0], "zebra")


def rounded(description):
    from visem_tf.report.results import RegionDescription

    return [
        RegionDescription(tuple(region["box"]), "", 0, 0)
        for region in description.to_dict()["regions"]
    ]


def test_search_is_that_of_the_command(run, model, folder, arrays, tmp_path, monkeypatch):
    monkeypatch.setattr("visem_tf.runs.user_images.SHARD_SIZE", 2)
    command = ["--run-dir", str(run.run.path), "--images", str(folder), "a dog", "red zebra"]
    caches = ["--cache-dir", str(tmp_path / "cache")]
    search.main([*command, *caches, "--json", str(tmp_path / "a.json"), "--top", "2"])
    written = json.loads((tmp_path / "a.json").read_text())
    found = model.search(["a dog", "red zebra"], folder, 2, cache_dir=tmp_path / "cache")
    assert [each.to_dict() for each in found] == written
    assert found[1].unknown_words == ("zebra",)
    assert found[0].searched == 3
    fresh = model.search("a dog", arrays, 2)
    order = [arrays_name(each["image"]) for each in written[0]["pictures"]]
    assert [each.image for each in fresh.images] == order
    scores = [each.score for each in fresh.images]
    np.testing.assert_allclose(scores, [p["score"] for p in written[0]["pictures"]], atol=0.01)
    assert fresh._repr_html_().count("<img") == 2
    with pytest.raises(ValueError, match="top must be at least 1"):
        model.search("a dog", arrays, 0)


def arrays_name(path):
    return f"images[{path[-5]}]"


def test_embeddings_give_the_scores(model, arrays):
    image, other = model.embed_images(arrays[:2])
    sentence = model.embed_sentences("a dog")
    assert image.embeddings.shape == (4, 8) and image.boxes.shape == (4, 4)
    assert sentence.words == ("a", "dog") and sentence.embeddings.shape == (2, 8)
    score = np.sum(np.max(sentence.embeddings @ image.embeddings.T, axis=1))
    np.testing.assert_allclose(score, model.ground(arrays[0], "a dog").score, atol=1e-3)
    alone = model.embed_images(arrays[1])
    np.testing.assert_allclose(alone.embeddings, other.embeddings, atol=1e-4)
    assert [each.words for each in model.embed_sentences(["a", "red ball"])] == [
        ("a",),
        ("red", "ball"),
    ]


def test_what_was_trained_cannot_change(run):
    config = run.config.updated({"infer.beta": 0.3, "regions.num_regions": 3, "infer.trim": True})
    assert visem_tf.load(run.run.path, config).config == config
    for change in ({"regions.backbone": "efficientnet_lite2"}, {"generate.hidden_dim": 99}):
        with pytest.raises(UserError, match=f"trained, so {next(iter(change))} cannot change"):
            visem_tf.load(run.run.path, run.config.updated(change))
    with pytest.raises(UserError, match=r"are trained, so .*align\.embedding_dim.* and --preset"):
        describe.main(["--run-dir", str(run.run.path), "--preset", "paper", __file__])


def test_the_number_of_threads_is_set_before_tensorflow_starts(run, run_python):
    source = """
import visem_tf, tensorflow as tf
from visem_tf.runs.run_directory import RunDirectory
config = RunDirectory({0!r}).recorded_config()
visem_tf.load({0!r}, config.updated({{"compute.threads": 1}}))
assert tf.config.threading.get_intra_op_parallelism_threads() == 1
visem_tf.load({0!r}, config.updated({{"compute.threads": 2}}))  # too late, and no error
"""
    run_python(source.format(str(run.run.path)))


def test_an_empty_list_of_sentences_is_refused(model, folder):
    with pytest.raises(ValueError, match="sentences is empty"):
        model.embed_sentences([])
    with pytest.raises(ValueError, match="sentence is an empty list"):
        model.search([], folder)


def test_only_a_few_images_are_read_ahead(model, arrays, monkeypatch):
    """However many images there are, only some batches of pixels are in memory at a time."""
    read, described = [], []
    place = user_images.place_images
    monkeypatch.setattr(user_images, "place_images", lambda *a: read.append(1) or place(*a))
    batches = model.batches(as_sources([arrays[0]] * 15)[0])
    ahead = []
    for sources, _ in batches:
        described += sources
        ahead.append(len(read) - len(described))
    assert len(described) == 15
    assert max(ahead) <= 3 * model.config.regions.batch_size


def test_an_unreadable_image_is_named(model, arrays, tmp_path):
    with pytest.raises(UserError, match=r"images\[1\]: not an image in a known format"):
        model.describe([arrays[0], b"nothing"])
    with pytest.raises(ValueError, match="images is empty"):
        model.describe([])
    with pytest.raises(UserError, match=r"floats are read as 0\.\.1"):
        model.describe(arrays[0].astype(float))


def test_a_read_only_run_is_enough(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run.run.path, copy)
    for path in [*copy.rglob("*"), copy]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        model = visem_tf.load(copy)
        assert model.name == "copy"
        assert model.card["dataset"] == model.config.dataset == "scenes"
        assert model.describe(np.zeros([9, 9, 3], np.uint8)).caption
    finally:
        for path in [*copy.rglob("*"), copy]:
            path.chmod(0o755)


def test_without_a_packaged_model_load_says_so(monkeypatch):
    from visem_tf.runtime import model_places

    monkeypatch.setattr(model_places, "packaged_models", dict)
    with pytest.raises(UserError, match="this installation has no packaged model"):
        visem_tf.load()
