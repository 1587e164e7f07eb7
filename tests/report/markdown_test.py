"""The score sheet: intervals, published figures where they belong, and comparisons."""

from typing import Any

from visem_tf.report.markdown import score_sheet

DIFFERENCE = {"first": 20.0, "second": 15.0, "difference": 5.0, "low": 1.0, "high": 9.04, "p": 0.02}


def metrics(**changed: Any) -> dict[str, Any]:
    recalls = {"r1": 20.04, "r5": 50.0, "r10": 60.0, "median_rank": 5.0}
    scores = {f"bleu{n}": 60.0 - 10 * n for n in (1, 2, 3, 4)}
    scores |= {"meteor": None, "rouge_l": 40.0, "cider": 30.0, "spice": None}
    scores |= {"distinct_captions": 9, "vocabulary_used": 31, "mean_length": 8.0, "copied": 25.0}
    return {
        "dataset": "flickr8k",
        "split": "test",
        "images": 1000,
        "sentences": 5000,
        "published_split": None,
        "ranking": {"image_annotation": recalls, "image_search": recalls},
        "ranking_chance": {"image_annotation": recalls, "image_search": recalls},
        "captions": {"greedy": scores, "beam": {**scores, "beam_size": 7}},
        "regions": None,
        "intervals": {
            "ranking.image_search.r1": [18.0, 22.0],
            "captions.beam.bleu1": [48.76, 51.0],
        },
        "timing": {"align_s": 61.0},
        "notes": {
            "regions": "the data set has no boxes of phrases",
            "captions.greedy.meteor": "no java",
            "captions.beam.meteor": "no java",
        },
        **changed,
    }


def line(sheet: str, start: str) -> str:
    return next(text for text in sheet.splitlines() if text.strip(" |").startswith(start))


def test_intervals_stand_beside_their_numbers_only():
    sheet = score_sheet(metrics())
    assert "20.0 [18.0 to 22.0]" in line(sheet, "Image search")
    assert "[" not in line(sheet, "Image annotation")
    assert "50.0 [48.8 to 51.0]" in line(sheet, "Beam search, 7 beams")
    assert "[" not in line(sheet, "Greedy search")


def test_published_figures_stand_beside_the_same_split_only():
    assert "published" not in score_sheet(metrics())
    sheet = score_sheet(metrics(published_split="flickr8k"))
    assert "16.5" in line(sheet, "published: BRNN")
    assert "57.9" in line(sheet, "published: the paper")
    assert "not published" in sheet  # METEOR of the paper's Flickr8K


def test_what_is_missing_says_why_and_is_no_zero():
    sheet = score_sheet(metrics())
    assert "– (1)" in line(sheet, "Greedy search")
    assert "(1) no java" in sheet
    assert "SPICE" not in sheet  # a column without any value
    assert "Alignment of words and regions: the data set has no boxes of phrases" in sheet


def test_folds_have_a_table_of_their_own():
    assert "folds" not in score_sheet(metrics())
    recalls = {"r1": 38.0, "r5": 70.0, "r10": 80.0, "median_rank": 1.4}
    both = {"image_annotation": recalls, "image_search": recalls}
    folds = {"folds": 5, "fold_size": 1000, "mean": both, "first": both}
    sheet = score_sheet(metrics(ranking_folds=folds, published_split="coco"))
    assert "Ranking in folds of 1,000 images" in sheet
    assert "38.4" in sheet.split("Ranking in folds")[1].split("Full-frame")[0]
    assert "16.5" in sheet.split("Ranking in folds")[0]


def test_mean_precision_without_meteor_says_why():
    figures = {"map": None, "detection_map": 17.7, "word_accuracy": 1.0}
    sheet = score_sheet(metrics(regions=figures, notes={"regions.map": "there is no Java"}))
    assert line(sheet, "Proposed regions").split()[-3:] == ["–", "(1)", "17.7"]
    assert "(1) there is no Java" in sheet


def test_markdown_is_tables():
    sheet = score_sheet(metrics(), markdown=True)
    assert sheet.startswith("# flickr8k, split test: 1,000 images, 5,000 sentences\n")
    row = line(sheet, "Image search")
    assert row == "| Image search | 20.0 [18.0 to 22.0] | 50.0 | 60.0 | 5 |"
    assert "Not measured: the data set has no boxes of phrases." in sheet


def test_comparisons_are_shown():
    recalls = metrics()["ranking"]
    against = {
        "with": "v.npz",
        "ranking": recalls,
        "ranking_chance": recalls,
        "intervals": {"ranking.image_search.r1": [1.0, 2.0]},
        "figures": {"ranking.image_search.r1": DIFFERENCE},
    }
    captions = {
        "with": "c.json",
        "scores": {"bleu1": 11.1, "meteor": None, "cider": 0.0},
        "notes": {"meteor": "no java", "cider": "a single image"},
        "intervals": {"bleu1": [10.0, 12.0]},
    }
    other = {"with": "runs/b", "figures": {"captions.beam.bleu4": DIFFERENCE}}
    sheet = score_sheet(metrics(comparison=other, against=against, captions_file=captions))
    words = line(sheet, "Captions beam B-4").split()
    assert words[-7:] == ["20.0", "15.0", "+5.0", "+1.0", "to", "+9.0", "0.020"]
    assert "Compared with runs/b" in sheet
    assert "20.0 [1.0 to 2.0]" in sheet.split("Ranking by v.npz")[1]
    assert "11.1 [10.0 to 12.0]" in sheet
    assert "CIDEr: a single image" in sheet
