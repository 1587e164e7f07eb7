"""The benchmarks run, compare like with like, and their table and page are made of the figures."""

import argparse
import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.__main__ import main
from benchmarks.measuring import Case, measure
from benchmarks.paths import PATHS, SIZES, line
from benchmarks.scale import AMOUNTS, page

ROOT = Path(__file__).resolve().parents[2]
FIGURES = json.loads((ROOT / "docs" / "benchmarks.json").read_text(encoding="utf-8"))


def cases(name, count=None, **given):
    """Yields the cases of a path, of the size `quick` by default."""
    path = getattr(importlib.import_module(f"benchmarks.{PATHS[name].module}"), name)
    return path(count or PATHS[name].counts[0], argparse.Namespace(**given))


def run_all(name, count=None, **given):
    """Runs our code, the floor and the peer of all cases once; returns the names of the cases."""
    names = []
    for case in cases(name, count, **given):
        case.run()
        for make in (case.floor, case.peer):
            if make:
                make()()
        assert all(np.isfinite(list(case.notes().values())))
        names.append(case.path)
    assert len(set(names)) == len(names)
    return names


def test_every_path_has_a_function_that_says_what_it_yields():
    for name, path in PATHS.items():
        function = getattr(importlib.import_module(f"benchmarks.{path.module}"), name)
        assert function.__doc__.startswith("Yields")


@pytest.mark.parametrize("name", ["mrf", "ranking"])
def test_cheap_paths_run(name):
    assert len(run_all(name)) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("alignment", 3), ("generator", 8), ("attention", 4), ("training", 2), ("decoding", 4),
        ("features", 7), ("proposals", 4),
    ],
)  # fmt: skip
def test_other_paths_run(name, number, monkeypatch):
    monkeypatch.setattr("benchmarks.training.STEPS", 2)
    tf.keras.backend.clear_session()
    assert len(run_all(name)) == number


@pytest.mark.slow
def test_an_index_finds_the_best_images_if_all_are_candidates(tiny_run):
    few, many = cases("index", 30, run_dir=str(tiny_run.path))
    assert few.notes()["recall"] == many.notes()["recall"] > 0.9  # 16 bits may swap two images


def test_ratios_are_those_of_the_amounts(monkeypatch):
    done = []
    case = Case(
        "sleep", "", "naps", 4, lambda: done.append("ours"),
        floor=lambda: lambda: done.append("floor"), floor_share=0.5,
        peer=lambda: lambda: done.append("peer"),
        notes=lambda: {"dreams": 3.0},
    )  # fmt: skip
    took = {"ours": 1.0, "floor": 0.25, "peer": 2.0}

    def seconds(work):
        work()
        return took[done[-1]]

    monkeypatch.setattr("benchmarks.measuring.seconds", seconds)
    figures = measure(case, "small", rounds=3)
    assert done[-9:] == ["ours", "floor", "peer"] * 3  # in turn
    assert figures["seconds"] == 1 and figures["per_second"] == 4
    assert figures["times_floor"] == 2 and figures["times_floor_spread"] == [2, 2]
    assert figures["times_peer"] == 2 and figures["peer_per_second"] == 2
    assert figures["dreams"] == 3
    assert "1,000.0 ms" in line(figures) and "2.00 (2.00 to 2.00)" in line(figures)


@pytest.mark.slow
def test_the_command_writes_what_it_prints(tmp_path, capfd):
    file = tmp_path / "figures.json"
    main(["mrf", "--sizes", "quick,40", "--rounds", "2", "--json", str(file)])
    found = json.loads(file.read_text())
    quick, forty = found["results"]
    assert quick["path"] == "MRF" and quick["size"] == "quick" and forty["amount"] == 40
    printed = capfd.readouterr().out
    assert line(forty).rstrip() in printed and str(file) in printed
    assert found["machine"]["cores"] and found["rounds"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mfr"], "PATH must be of alignment, generator"),
        (["mrf", "--sizes", "tiny"], "--sizes must be of quick,small,middle,large, or numbers"),
        (["mrf", "--rounds", "0"], "--rounds must be at least 1"),
        (["index"], "index needs --run-dir"),
    ],
)
def test_mistakes_are_named(arguments, message, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err


def test_the_page_of_scale_is_made_of_the_figures():
    assert (ROOT / "docs" / "scale.md").read_text(encoding="utf-8") == page(FIGURES)
    assert {result["size"] for result in FIGURES["results"]} == set(SIZES[1:])
    assert {path for path, _ in AMOUNTS.values()} <= {each["path"] for each in FIGURES["results"]}
    faster = json.loads(json.dumps(FIGURES))
    for result in faster["results"]:
        result["per_second"] *= 10
    assert page(faster) != page(FIGURES)
