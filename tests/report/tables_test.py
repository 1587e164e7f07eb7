from typing import Any

import pytest

from visem_tf.report.tables import Table, metric_tables

NO_JAVA = "there is no Java"


def metrics(**changed: Any) -> dict[str, Any]:
    recalls = {"r1": 12.34, "r5": 30.0, "r10": 50.0, "median_rank": 9.5}
    bleu = {"bleu1": 50.0, "bleu2": 30.0, "bleu3": 20.0, "bleu4": 0.0}
    captions = {**bleu, "meteor": None, "rouge_l": 31.0, "cider": 11.0}
    captions |= {"distinct_captions": 2, "mean_length": 7.0}
    shares = {"word_accuracy": 9.6, "phrase_iou50": 9.7, "pointing": None}
    return {
        "images": 40,
        "ranking": {"image_annotation": recalls, "image_search": recalls},
        "ranking_chance": {"image_annotation": recalls, "image_search": recalls},
        "captions": {"greedy": captions, "beam": {**captions, "beam_size": 7}},
        "regions": {
            **shares,
            "without_mrf": shares,
            "whole_frame": shares,
            "chance": shares,
            "described_boxes": 133,
            **dict.fromkeys(bleu),
            "full_frame_on_crop": bleu,
        },
        "timing": {"align_s": 61.0},
        "notes": {
            "captions.greedy.meteor": NO_JAVA,
            "captions.beam.meteor": NO_JAVA,
            "captions.greedy.references": "2 images left out",
            "regions.bleu.regions": "this generator was not trained",
        },
        **changed,
    }


def by_title(found: list[Table]) -> dict[str, Table]:
    return {table.title: table for table in found}


def texts(table: Table, label: str) -> list[str]:
    return next([cell.text for cell in cells] for name, cells in table.rows if name == label)


def test_numbers_stand_beside_chance():
    table = by_title(metric_tables(metrics()))["Ranking"]
    labels = [label for label, _ in table.rows]
    assert labels == ["Image annotation", "by chance", "Image search", "by chance"]
    assert texts(table, "Image search") == ["12.3", "30.0", "50.0", "9.5"]


def test_an_absent_number_is_never_zero_and_says_why():
    table = by_title(metric_tables(metrics()))["Full-frame descriptions"]
    for label, cells in table.rows:
        meteor = dict(zip(table.columns, cells, strict=True))["METEOR"]
        assert meteor.text == "", label
        assert meteor.note == 1
    assert table.notes == [NO_JAVA]
    assert table.remarks == ["references: 2 images left out"]
    assert texts(table, "Beam search, 7 beams")[3] == "0.0"  # A real zero stays one.


def test_a_generator_that_was_not_trained_has_no_scores():
    table = by_title(metric_tables(metrics()))["Region descriptions"]
    assert texts(table, "Region-level generator") == [""] * 4
    assert table.notes == ["this generator was not trained"]
    assert texts(table, "Full-frame generator on the crop")[0] == "50.0"


def test_an_absent_number_without_a_reason_says_that():
    table = by_title(metric_tables(metrics()))["Alignment of words and regions"]
    assert table.notes == ["not in metrics.json, which gives no reason"]


@pytest.mark.parametrize(
    ("part", "titles"),
    [
        ("captions", ["Full-frame descriptions"]),
        ("regions", ["Alignment of words and regions", "Region descriptions"]),
    ],
)
def test_an_absent_part_says_why(part: str, titles: list[str]):
    found = by_title(metric_tables(metrics(**{part: None, "notes": {part: "because"}})))
    for title in titles:
        assert found[title].absent == "because"
        assert found[title].rows == []


def test_without_metrics_there_is_one_absent_table():
    (table,) = metric_tables(None)
    assert "evaluate" in table.absent


def test_snippets_stand_beside_those_of_the_paper():
    assert "Snippets" not in by_title(metric_tables(metrics()))
    figures = {"f1": 60.04, "precision": 50.0, "recall": 75.0, "overlap": 90.0}
    figures |= {"function_word_ends": 0.0, "mean_length": 3.26, "snippets": 2779, "phrases": 1}
    changed = metrics()
    changed["regions"]["snippets"] = {**figures, "segments": figures, "without_mrf": figures}
    changed["intervals"] = {"regions.snippets.segments.f1": [55.0, 65.0]}
    table = by_title(metric_tables(changed))["Snippets"]
    assert [label[0].islower() for label, _ in table.rows] == [False, True, True]
    for label, cells in table.rows:
        shown = [cell.text for cell in cells]
        assert shown == ["60.0", "50.0", "75.0", "90.0", "0.0", "3.3", "2779"], label
    assert [cells[0].interval for _, cells in table.rows] == ["", "55.0 to 65.0", ""]
