"""The documentation does what it says: commands parse, code runs, links lead somewhere."""

import argparse
import importlib
import inspect
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from visem_tf.config import Config
from visem_tf.config.options import Parser
from visem_tf.runtime import model_places

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path for pattern in ("*.md", "docs/*.md", "datasets/*/README.md") for path in ROOT.glob(pattern)
)
COMMAND = re.compile(r"python3? -m (visem_tf\.[\w.]+)(.*)")
RUN_WORDS = ("R", "A", "B", "RUN")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def pieces(text: str) -> Iterator[str]:
    """The lines of code blocks, and code within lines."""
    text = text.replace("\\\n", " ")
    fenced = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
    for block in fenced.findall(text):
        yield from block.splitlines()
    text = fenced.sub("", text)
    yield from re.findall(r"^ {4}(.*)$", text, re.MULTILINE)
    for code in re.findall(r"`([^`]+)`", text):
        yield " ".join(code.split())


def commands() -> Iterator[tuple[str, str, str]]:
    """Page, module and arguments of every command that is written out with its options."""
    for page in PAGES:
        for piece in pieces(page.read_text(encoding="utf-8")):
            for module, rest in COMMAND.findall(piece):
                arguments = re.split(r"\s#\s| &&|;", rest)[0]
                for sign in "[]":  # what may be left out
                    arguments = arguments.replace(sign, "")
                if " -" in arguments:
                    yield str(page.relative_to(ROOT)), module, arguments.strip()


class Parsed(Exception):  # noqa: N818
    """The command line was understood."""


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory; nothing but its configuration is read before the arguments are."""
    path = tmp_path_factory.mktemp("run")
    (path / "config.json").write_text(Config().to_json())
    return path


def stop_after(parse: Callable[..., object]) -> Callable[..., NoReturn]:
    def parsed(*arguments, **options):
        parse(*arguments, **options)
        raise Parsed

    return parsed


@pytest.mark.parametrize(("page", "module", "arguments"), sorted(set(commands())))
def test_commands_are_understood(page, module, arguments, run_dir, monkeypatch):
    monkeypatch.setattr(model_places, "packaged_models", lambda: {"flickr8k": run_dir})
    command = importlib.import_module(module)
    if hasattr(command, "__path__"):
        command = importlib.import_module(f"{module}.__main__")
    given = shlex.split(arguments.replace("…", "x"))
    for position, word in enumerate(given):
        run_wanted = given[position - 1] in ("--run-dir", "--compare") or word in RUN_WORDS
        if run_wanted and module != "visem_tf.fit":
            given[position] = str(run_dir)
    if hasattr(command, "parse_arguments"):
        monkeypatch.setattr(command, "parse_arguments", stop_after(command.parse_arguments))
    else:
        for parser, name in ((argparse.ArgumentParser, "parse_args"), (Parser, "parse")):
            monkeypatch.setattr(parser, name, stop_after(getattr(parser, name)))
    with pytest.raises(Parsed):
        command.main(given)


def test_commands_are_found():
    found = list(commands())
    assert {"visem_tf.fit", "visem_tf.describe", "visem_tf.search", "visem_tf.demo"} <= {
        module for _, module, _ in found
    }
    assert len(found) > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_code_runs_and_prints_what_it_says(page: Path, capsys: pytest.CaptureFixture[str]):
    for code in blocks(page.read_text(encoding="utf-8"), "python"):
        names: dict[str, object] = {}
        exec(compile(code, str(page), "exec"), names)
        printed = capsys.readouterr().out.split()
        expected = re.findall(r"^print\(.*#\s*(.*)$", code, re.MULTILINE)
        if all(re.fullmatch(r"[\[\]\d ]+", each) for each in expected):
            assert printed == " ".join(expected).split()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in anchors, target


def test_every_page_can_be_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            linked = (page.parent / target).resolve()
            if linked.exists():
                waiting.append(linked)
    assert set(ROOT.glob("docs/*.md")) <= reached


def test_options_that_the_pages_name_exist():
    fields = {name for name, _ in Config().flat()}
    for page in PAGES:
        for name in re.findall(r"--([a-z]+\.[a-z_]+)", page.read_text(encoding="utf-8")):
            assert name in fields, (page, name)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path):
    nbformat = pytest.importorskip("nbformat", reason="the extra `notebook` is not installed")
    nbclient = pytest.importorskip("nbclient", reason="the extra `notebook` is not installed")
    notebook = nbformat.read(ROOT / "docs" / "tutorial.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "commit it without outputs"
    client = nbclient.NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    printed = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])
    )
    assert "report.html" in printed and "regions by the MRF" in printed


def test_the_api_reference_is_made_of_the_docstrings(tmp_path: Path):
    pdoc = pytest.importorskip("pdoc", reason="the extra `docs` is not installed")
    render = pytest.importorskip("pdoc.render")

    import visem_tf

    render.configure(docformat="google")
    pdoc.pdoc("visem_tf.alignment.mrf", "visem_tf.alignment.scores", output_directory=tmp_path)
    page = (tmp_path / "visem_tf" / "alignment" / "mrf.html").read_text(encoding="utf-8")
    assert "smooth_alignment" in page
    assert inspect.getdoc(visem_tf.smooth_alignment).splitlines()[0] in page
