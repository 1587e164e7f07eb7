from typing import Any

import pytest

from visem_tf.report.page import headline
from visem_tf.report.table import Table
from visem_tf.report.tables import metric_tables

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


def test_a_run_of_captions_alone_has_no_ranking():
    reason = "the alignment was not trained"
    alone = metrics(ranking=None, regions=None, notes={"ranking": reason, "regions": reason})
    found = by_title(metric_tables(alone))
    assert found["Ranking"].absent == found["Region descriptions"].absent == reason
    assert texts(found["Full-frame descriptions"], "Greedy search")[0] == "50.0"
    assert headline(alone) == ""


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


def grounding(**changed: Any) -> dict[str, Any]:
    hits = {"pointing": 75.0, "r1": 44.0, "r5": 60.0, "r10": 70.0}
    known = {"ceiling": 80.0, "centre_pointing": 54.5, "random_pointing": 30.0, "frame_r1": 25.3}
    readouts = {"word": {**hits, "r1": 14.0}, "mrf": hits, "phrase": hits}
    return {
        "readout": "phrase",
        "taught_by": "images and sentences alone",
        "phrases": 1234,
        "boxes": 567,
        **hits,
        **known,
        "readouts": readouts,
        "by_type": {"people": {**hits, **known, "phrases": 1000}},
        "proposal_recall": {"10": 57.0, "20": 66.0, "50": None},
        "proposal_recall_iou70": {"10": 28.0, "20": 32.0, "50": None},
        **changed,
    }


def test_phrases_stand_beside_answers_that_know_nothing() -> None:
    notes = {"regions.grounding.proposal_recall.50": "the run has 20 regions an image"}
    intervals = {"regions.grounding.r1": [41.0, 47.0]}
    changed = metrics(notes=notes, intervals=intervals)
    changed["regions"]["grounding"] = grounding()
    tables = by_title(metric_tables(changed))
    table = tables["Grounding of phrases, trained on images and sentences alone"]
    assert "1,234 phrases" in table.about
    chosen = "By phrase: largest expected overlap, highest point"
    assert texts(table, chosen) == ["75.0", "44.0", "60.0", "70.0"]
    assert table.rows[0][1][1].interval == "41.0 to 47.0"
    assert [label for label, _ in table.rows].count(chosen) == 1
    assert texts(table, "By word: the region with the largest sum")[1] == "14.0"
    assert texts(table, "the centre of the image") == ["54.5", "", "", ""]
    assert texts(table, "the whole frame") == ["", "25.3", "", ""]
    assert texts(table, "the best of the regions") == ["", "80.0", "", ""]
    types = tables["Grounding by type of phrase"]
    assert texts(types, "People, 1,000 phrases")[:2] == ["75.0", "44.0"]
    proposals = tables["Recall of the proposals"]
    assert texts(proposals, "IoU of at least 0.5") == ["57.0", "66.0", ""]
    assert proposals.notes[0] == "the run has 20 regions an image"


def test_types_are_shown_only_where_phrases_have_them() -> None:
    changed = metrics()
    assert "Recall of the proposals" not in by_title(metric_tables(changed))
    changed["regions"]["grounding"] = grounding(by_type={})
    assert "Grounding by type of phrase" not in by_title(metric_tables(changed))
    changed["published_split"] = "flickr30k_entities"
    table = metric_tables(changed)[
        [t.title for t in metric_tables(changed)].index(
            "Grounding of phrases, trained on images and sentences alone"
        )
    ]
    assert texts(table, "published: the centre of the image")[0] == "47.4"
