"""Where the seconds of a command go: the innermost call of a part counts."""

import sys

import pytest

from benchmarks.startup import PARTS, measure_parts, part_of


def called_by(*names):
    """The part that the last of these functions finds, of which each calls the next."""
    source = "import sys\nfrom benchmarks.startup import part_of\n"
    call = "part_of(sys._getframe())"
    for name in reversed(names):
        source += f"def {name}():\n    return {call}\n"
        call = f"{name}()"
    variables = {}
    exec(f"{source}found = {call}", variables)
    return variables["found"]


@pytest.mark.parametrize(
    ("names", "part"),
    [
        (("describe",), "rest"),
        (("describe", "func_graph_from_py_func", "call"), "tracing"),
        (("load_backbone", "layer"), "building"),
        (("load_backbone", "read_torch_weights", "read"), "weights"),
    ],
)
def test_the_innermost_call_decides(names, part):
    assert called_by(*names) == part


def test_an_import_in_a_graph_is_an_import(tmp_path, monkeypatch):
    (tmp_path / "looking_up.py").write_text(
        "import sys\nfrom benchmarks.startup import part_of\nfound = part_of(sys._getframe())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def func_graph_from_py_func():
        import looking_up

        return looking_up.found, part_of(sys._getframe())

    assert func_graph_from_py_func() == ("imports", "tracing")


def test_the_parts_of_a_command_are_all_of_its_time():
    parts = measure_parts("describe", "--help")
    assert list(parts) == [*PARTS, "process"]
    assert min(parts.values()) >= 0 < parts["imports"]
