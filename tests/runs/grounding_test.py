"""Words and regions, against NumPy; and all commands and stages against each other."""

import io
import itertools
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from untrained import make_run

from visem_tf import describe, search
from visem_tf.config.registry import SCORES
from visem_tf.export.saved_model.functions import ModelFunctions
from visem_tf.export.saved_model.signatures import Signatures
from visem_tf.images.sources import ImageSource
from visem_tf.loaded_model import LoadedModel
from visem_tf.regions.backbone import FEATURE_DIM
from visem_tf.regions.extractor import Regions
from visem_tf.runs.grounding import WordGrounding, words_as_json
from visem_tf.runs.opening import open_run
from visem_tf.runs.query import read_query
from visem_tf.runs.run_directory import RunDirectory
from visem_tf.stages import run_stages
from visem_tf.text import Vocabulary

pytestmark = pytest.mark.usefixtures("quick", "small_cnn")

SENTENCE = "a red dog runs"


@pytest.fixture(scope="module", params=SCORES)
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    changes = {
        "align.score": request.param,
        "align.region_context": "frame" if request.param == "cosine" else "none",
        "cache_dir": str(folder / "cache"),
        "dataset": "sidecar_txt",
        "data_dir": str(folder / "data"),
        "stages": ("features", "infer"),
        "infer.function_word_weight": 0.25,
        "infer.boundary": 0.5,
        "infer.split": False,
        "infer.trim": False,
        "infer.readout": "mrf",
    }
    return make_run(folder / "run", "align", "generate/full_frame", **changes)


def reference_similarities(v, s, mask, score):
    """v_i . s_t [B, T, R], or their cosines for the scores that compare vectors of length 1."""
    if score not in ("best_region", "fragments"):
        v, s = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (v, s))
    return np.where(mask[:, np.newaxis], np.einsum("td,brd->btr", s, v), -np.inf)


def reference_score(v, s, score, sharpness):
    """The score of an image with a sentence, from v [R, D] without padding and s [T, D]."""
    if score in ("best_region", "fragments"):
        products = s @ v.T
        return products.max(axis=1).sum() if score == "best_region" else products.clip(0).sum()
    v, s = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (v, s))
    cosines = s @ v.T
    if score == "cosine":
        return cosines.max(axis=1).mean()
    if score == "hard_alignment":
        return np.log(np.exp(sharpness * cosines.max(axis=1)).sum()) / sharpness
    positive = cosines.clip(0)
    weights = np.exp(sharpness * positive / np.sqrt((positive**2).sum(axis=0) + 1e-8))
    weights /= weights.sum(axis=1, keepdims=True)
    attended = weights @ v
    if score == "attention":
        return np.mean((attended * s).sum(axis=1) / np.linalg.norm(attended, axis=1))
    relevance = (weights * cosines).sum(axis=1)
    attended = np.where(cosines > 0, np.exp(sharpness * cosines), 0) @ v
    positive = (attended * s).sum(axis=1) / np.maximum(np.linalg.norm(attended, axis=1), 1e-8)
    return np.mean(cosines.max(axis=1).clip(max=0) + positive + relevance)


def chain_value(chain, similarities, rewards):
    """-E of section 3.1.4, with a reward of its own for every two neighbouring words."""
    fits = sum(similarities[t, region] for t, region in enumerate(chain))
    same = [a == b for a, b in itertools.pairwise(chain)]
    return fits + np.dot(rewards, same)


def best_chain(similarities, rewards):
    """The largest value over all assignments."""
    words, regions = similarities.shape
    chains = itertools.product(range(regions), repeat=words)
    return max(chain_value(chain, similarities, rewards) for chain in chains)


def test_scores_and_regions_agree_with_the_definitions(run):
    grounder, settings = run.grounder, run.config.align
    random = np.random.default_rng(0)
    features = random.uniform(size=(3, 4, FEATURE_DIM)) * random.uniform(0.2, 3, size=(3, 4, 1))
    features = features.astype(np.float32)
    mask = np.array([[True] * 4, [True, True, False, False], [True] * 4])
    boxes = random.uniform(size=(3, 4, 4)).astype(np.float32)
    queries = [grounder.read(text) for text in (SENTENCE, "dog ball", "dog in a ball")]
    v = np.asarray(grounder.model.encode_regions(features))
    embeddings = grounder.embed(features)
    np.testing.assert_allclose(embeddings, v, rtol=1e-4, atol=1e-5)
    scores = grounder.scores(embeddings, mask, queries)
    for column, query in enumerate(queries):
        s = np.asarray(grounder.model.encode_sentences(query.token_ids[np.newaxis]))[0]
        for row in range(3):
            expected = reference_score(v[row][mask[row]], s, settings.score, settings.sharpness)
            assert scores[row, column] == pytest.approx(expected, rel=1e-4, abs=1e-5)
        similarities = reference_similarities(v, s, mask, settings.score)
        words = np.arange(len(s))
        is_function = np.array([word == "a" for word in query.words])  # "in" is not known
        weights = np.where(is_function, 0.25, 1.0)  # as configured above
        after = np.where(is_function[1:] & ~is_function[:-1], 0.5, 1.0)
        for beta in (0.0, 0.7):
            found = grounder.ground(embeddings, mask, boxes, [query] * 3, beta=beta)
            for row, chain in enumerate(found.regions):
                chosen = similarities[row, words, chain]
                np.testing.assert_allclose(found.scores[row], chosen, rtol=1e-4, atol=1e-5)
                np.testing.assert_array_equal(found.boxes[row], boxes[row, chain])
                terms = similarities[row][:, mask[row]] * weights[:, np.newaxis], beta * after
                real = np.flatnonzero(mask[row])
                value = chain_value(np.searchsorted(real, chain), *terms)
                assert value == pytest.approx(best_chain(*terms), abs=1e-4)


def test_texts_of_regions_are_scored_by_the_same_similarities(run):
    random = np.random.default_rng(1)
    features = random.uniform(size=(2, 2, FEATURE_DIM)).astype(np.float32)
    texts = ["a dog", "", "red ball runs", "unheard"]
    found = run.grounder.fits(features, texts)
    model = run.alignment_model
    embeddings = np.asarray(model.encode_regions(features)).reshape(4, 1, -1)
    for n, text in enumerate(texts):
        vector = embeddings[n]
        expected = 0.0
        if text:
            s = np.asarray(model.encode_sentences(run.vocabulary.encode([text]).to_tensor()))[0]
            expected = reference_similarities(
                vector[np.newaxis], s, np.ones([1, 1], bool), model.score
            ).sum()
        assert found.flat[n] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_padding_and_the_company_of_other_sentences_change_nothing(run):
    grounder, random = run.grounder, np.random.default_rng(2)
    embeddings = random.normal(size=(2, 4, 8)).astype(np.float32)
    mask, boxes = np.ones([2, 4], bool), random.uniform(size=(2, 4, 4)).astype(np.float32)
    queries = [grounder.read("dog"), grounder.read(SENTENCE)]
    together = grounder.ground(embeddings, mask, boxes, queries)
    alone = grounder.ground(embeddings[:1], mask[:1], boxes[:1], queries[:1])
    for whole, part in zip(together, alone, strict=True):
        np.testing.assert_allclose(whole[:1, :1], part, rtol=1e-5)
    assert (together.regions[0, 1:] == -1).all()
    assert (together.scores[0, 1:] == 0).all()
    assert (together.boxes[0, 1:] == 0).all()


class OneBatch(NamedTuple):
    """Stands for the feature cache of a split."""

    regions: Regions

    def gather(self, positions):
        return Regions(*(part[positions] for part in self.regions))


def test_all_callers_choose_the_same_regions(run):
    random = np.random.default_rng(4)
    mask = np.array([[True] * 4, [True, True, False, False]])
    features = random.uniform(size=(2, 4, FEATURE_DIM)).astype(np.float32)
    regions = Regions(
        features * random.uniform(0.2, 3, size=(2, 4, 1)).astype(np.float32),
        random.uniform(size=(2, 4, 4)).astype(np.float32),
        np.zeros([2, 4], np.float32),
        mask,
    )
    query = run.grounder.read(SENTENCE)
    token_ids = tf.RaggedTensor.from_tensor([query.token_ids] * 2)
    inferred = run.grounder.ground_split(OneBatch(regions), token_ids, np.arange(2))
    exported = ModelFunctions(run).align(
        Regions(*map(tf.constant, regions)), tf.constant([SENTENCE] * 2)
    )
    np.testing.assert_array_equal(exported["regions"], inferred.regions)
    np.testing.assert_allclose(exported["boxes"], inferred.boxes)
    model = LoadedModel(run)
    sources = [ImageSource(str(row), np.zeros([1, 1, 3], np.uint8)) for row in range(2)]
    [searched] = model.rank([query], (each for each in [(sources, regions)]), top=2)
    grounded = model.ground_batch(sources, regions, [[query], [query]])
    described = [grounding.to_dict() for [grounding] in grounded]
    for answer in searched.to_dict()["pictures"]:
        row = int(answer["image"])
        assert [word["region"] for word in answer["words"]] == inferred.regions[row].tolist()
        assert answer["segments"] == described[row]["segments"]
        assert answer["words"] == described[row]["words"]
        assert answer["score"] == described[row]["score"]


@pytest.mark.slow
@pytest.mark.parametrize("run", ["cosine"], indirect=True)
def test_stage_commands_and_export_choose_the_same_regions(run, tmp_path):
    random, data = np.random.default_rng(3), Path(run.config.data_dir)
    data.mkdir()
    encoded = {}
    for number in range(10):
        buffer = io.BytesIO()
        patches = random.integers(0, 256, [3, 4, 3], dtype=np.uint8)
        Image.fromarray(patches).resize((64, 64), Image.Resampling.NEAREST).save(buffer, "PNG")
        encoded[f"{number}.png"] = buffer.getvalue()
        (data / f"{number}.png").write_bytes(buffer.getvalue())
        (data / f"{number}.txt").write_text(SENTENCE + "\n")
    RunDirectory(run.run.path).mark_done("align", 0.0, {})
    context = open_run(run.config)
    run_stages(context, progress=lambda line: None)
    train = context.data.splits["train"]
    lines = map(json.loads, (run.run / "alignments.jsonl").read_text().splitlines())
    names = dict(zip(train.image_ids, train.file_names, strict=True))
    inferred = {Path(names[line["image_id"]]).name: line for line in lines}

    options = ["--run-dir", str(run.run.path), "--cache-dir", run.config.cache_dir]
    found = tmp_path / "found.json"
    search.main([*options, "--images", str(data), SENTENCE, "--json", str(found)])
    searched = {
        Path(picture["image"]).name: picture
        for picture in json.loads(found.read_text())[0]["pictures"]
    }
    describe.main([*options, str(data), "--sentence", SENTENCE, "--json", str(found)])
    described = {
        Path(result["image"]).name: result["looks"] for result in json.loads(found.read_text())
    }
    align = Signatures(run, names=["align"]).trace()["align"]
    assert len(inferred) >= 4
    exported = align(
        image_bytes=tf.constant([encoded[name] for name in inferred]),
        sentences=tf.constant([SENTENCE] * len(inferred)),
    )
    for row, (name, line) in enumerate(inferred.items()):
        assert exported["regions"][row].numpy().tolist() == line["regions"]
        for answer in (searched[name], described[name]):
            assert [word["region"] for word in answer["words"]] == line["regions"]
            found_segments = [
                {key: value for key, value in segment.items() if key != "point"}
                for segment in answer["segments"]
            ]
            assert found_segments == [
                {**segment, "score": pytest.approx(segment["score"], abs=2e-3)}
                for segment in line["segments"]
            ]
        assert described[name]["score"] == pytest.approx(searched[name]["score"], abs=2e-3)


def test_json_names_every_word():
    vocabulary = Vocabulary.build(["a dog runs", "a cat"], min_count=1)
    query = read_query("a dog runs zebra", vocabulary, 9)
    regions = np.array([[1, 1, 0, 2]])
    boxes = np.array([[0, 0, 1, 1], [0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]])
    grounding = WordGrounding(regions, np.array([[1, 4, 6, 11]]), boxes[regions])
    words = words_as_json(query, grounding, 0)
    assert [word["word"] for word in words] == ["a", "dog", "runs", "zebra"]
    assert [word["score"] for word in words] == [1, 4, 6, 11]
    assert [word["known"] for word in words] == [True, True, True, False]
    assert [word["box"] for word in words] == boxes[regions[0]].tolist()
    assert [word["point"] for word in words][1:] == [[0.25, 0.25], [0.5, 0.5], [0.75, 0.75]]
