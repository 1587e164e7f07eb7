"""The ways to use the package: check-out, editable install, wheel; in the root and elsewhere.

All of them use a copy of the source tree, so that nothing is left in it.
"""

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAPPED = ("datasets", "export")

WHERE = """
import sys, visem_tf, visem_tf.datasets.schema
print(visem_tf.__file__, visem_tf.datasets.schema.__file__, sep="\\n")
assert visem_tf.datasets.__name__ == "visem_tf.datasets"
assert "tensorflow" not in visem_tf.__dict__
try:
    import datasets
except ModuleNotFoundError:
    pass
else:
    print(datasets.__file__)
try:
    import visem_tf.visem_tf
except ModuleNotFoundError:
    pass
else:
    raise AssertionError("visem_tf has two names")
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source tree."""
    copy = tmp_path_factory.mktemp("source") / "repository"
    copy.mkdir()
    for name in ("visem_tf", *MAPPED):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def run(python: Path | str, cwd: Path, source: str = WHERE, **environment: str) -> list[str]:
    done = subprocess.run(
        [str(python), "-c", source],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of its own: setuptools leaves a folder behind."""
    source = tmp_path_factory.mktemp("build") / "repository"
    shutil.copytree(checkout, source)
    to = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(to), str(source))
    return next(to.glob("*.whl"))


def environment(folder: Path, *arguments: str) -> Path:
    """Installs into a new environment that sees this one's packages; returns its Python."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    site = next((folder / "lib").glob("python*/site-packages"))
    (site / "parent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip("--python", str(python), "install", "--no-deps", "--no-build-isolation", *arguments)
    return python


@pytest.fixture(scope="module")
def wheel_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("wheel_env"), "--no-index", str(wheel))


@pytest.fixture(scope="module")
def editable_python(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("editable_env"), "--no-index", "-e", str(checkout))


@pytest.mark.slow
def test_the_wheel_holds_every_file_and_no_other_top_level_package(wheel: Path, checkout: Path):
    inside = set(zipfile.ZipFile(wheel).namelist())
    expected = set()
    for folder in ("visem_tf", *MAPPED):
        for file in (checkout / folder).rglob("*"):
            if file.is_file():
                name = file.relative_to(checkout).as_posix()
                expected.add(name if folder == "visem_tf" else f"visem_tf/{name}")
    assert expected - inside == set()
    tops = {name.split("/")[0] for name in inside}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"visem_tf"}


@pytest.mark.slow
def test_a_wheel_used_elsewhere(wheel_python: Path, tmp_path: Path):
    lines = run(wheel_python, tmp_path)
    site = wheel_python.parents[1]
    assert all(Path(line).is_relative_to(site) for line in lines)
    assert len(lines) == 2


@pytest.mark.slow
def test_a_wheel_used_in_the_root(wheel_python: Path, checkout: Path):
    assert run(wheel_python, checkout) == [
        str(checkout / "visem_tf" / "__init__.py"),
        str(checkout / "datasets" / "schema.py"),
    ]


@pytest.mark.slow
def test_an_editable_install(editable_python: Path, checkout: Path, tmp_path: Path):
    for place in (checkout, tmp_path):
        assert run(editable_python, place) == [
            str(checkout / "visem_tf" / "__init__.py"),
            str(checkout / "datasets" / "schema.py"),
        ]


def test_a_bare_checkout(checkout: Path, tmp_path: Path):
    expected = [
        str(checkout / "visem_tf" / "__init__.py"),
        str(checkout / "datasets" / "schema.py"),
    ]
    assert run(sys.executable, checkout) == expected
    assert run(sys.executable, tmp_path, PYTHONPATH=str(checkout)) == expected


@pytest.mark.parametrize("first", ["import visem_tf", "pass"])
def test_the_library_named_datasets_is_not_shadowed(checkout: Path, tmp_path: Path, first: str):
    library = tmp_path / "datasets"
    library.mkdir()
    (library / "__init__.py").write_text("load_dataset = 'the library'")
    source = f"{first}\nimport datasets, visem_tf.datasets\nprint(datasets.load_dataset)"
    assert run(sys.executable, checkout, source, PYTHONPATH=str(tmp_path)) == ["the library"]


def test_libraries_may_ask_for_a_library_named_datasets(checkout: Path, tmp_path: Path):
    (tmp_path / "visem_tf").symlink_to(checkout / "visem_tf")  # found without the root
    source = """
import importlib.util, visem_tf.datasets
print(visem_tf.datasets.__file__)
print(*map(importlib.util.find_spec, ("datasets", "export")))
"""
    assert run(sys.executable, tmp_path, source) == [
        str(checkout / "datasets" / "__init__.py"),
        "None None",
    ]


def test_no_module_has_two_names(checkout: Path):
    source = """
try:
    import datasets.schema
except ModuleNotFoundError:
    import sys, visem_tf.datasets.schema
    print([name for name in sys.modules if name.endswith("schema") and "datasets" in name])
"""
    assert run(sys.executable, checkout, source)[0].count("visem_tf.datasets.schema") == 1


def test_the_public_names_are_there_and_cheap(checkout: Path):
    source = """
import sys, visem_tf
assert set(visem_tf.__all__) <= set(dir(visem_tf))
try:
    visem_tf.nothing
except AttributeError as error:
    print(error)
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
"""
    assert run(sys.executable, checkout, source) == ["module 'visem_tf' has no attribute 'nothing'"]

    import visem_tf

    for name in visem_tf.__all__:
        assert getattr(visem_tf, name).__name__ == name
