"""A client that is not Python: @tensorflow/tfjs-node loads exports, with TensorFlow's libraries.

The test downloads nothing; docs/serving.md says how to install what it needs.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import tensorflow as tf
import tensorflow_text

from visem_tf.export.description import Export
from visem_tf.export.parity import SessionModel

SCRIPT = Path(__file__).with_name("tfjs_node.js")
LIBRARIES = [
    Path(tf.sysconfig.get_lib()) / f"libtensorflow_{name}.so.2" for name in ("cc", "framework")
]
[TEXT_OPERATIONS] = Path(tensorflow_text.__file__).parent.rglob("_normalize_ops.so")


def in_node(expression: str) -> str:
    """Returns what Node.js computes in the folder of the script; "" if it fails."""
    command = ["node", "-p", expression]
    done = subprocess.run(command, cwd=SCRIPT.parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


@pytest.fixture(scope="module")
def addon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled part of @tensorflow/tfjs-node, with the libraries of the package tensorflow."""
    if shutil.which("node") is None or shutil.which("g++") is None:
        pytest.skip("there is no Node.js, or no C++ compiler")
    if not all(library.exists() for library in LIBRARIES):
        pytest.skip("this package tensorflow has no libtensorflow_cc.so.2")
    headers = Path(in_node("process.execPath")).resolve().parents[1] / "include" / "node"
    if not (headers / "node_api.h").exists():
        pytest.skip(f"the headers of Node.js are not in {headers}")
    main = in_node("require.resolve('@tensorflow/tfjs-node')")
    if not main:
        pytest.skip("@tensorflow/tfjs-node is not installed where NODE_PATH says")
    package = Path(main).parents[1]
    addon = tmp_path_factory.mktemp("addon") / "tfjs_binding.node"
    command = ["g++", "-shared", "-fPIC", "-std=c++17", "-DNAPI_VERSION=8", "-o", str(addon)]
    command += [f"-I{folder}" for folder in (headers, tf.sysconfig.get_include(), package)]
    command += map(str, sorted((package / "binding").glob("*.cc")))
    command += [*map(str, LIBRARIES), "-Wl,--allow-shlib-undefined"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return addon


def run_node(
    addon: Path, model: Path, images: list[Path], *libraries: Path
) -> subprocess.CompletedProcess[str]:
    """Asks a SavedModel for captions, with libraries of operations."""
    return subprocess.run(
        ["node", str(SCRIPT), str(addon), str(model), "greedy", "captions", *map(str, images)],
        env={**os.environ, "LD_PRELOAD": " ".join(map(str, [*LIBRARIES, *libraries]))},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_tfjs_node_needs_tensorflow_text_for_signatures_of_sentences_alone(
    addon: Path,
    exported: Export,
    exported_images: Path,
    session: SessionModel,
    pictures: list[bytes],
    tmp_path: Path,
):
    images = [tmp_path / str(number) for number in range(len(pictures))]
    for path, picture in zip(images, pictures, strict=True):
        path.write_bytes(picture)
    captions = session("greedy", image_bytes=pictures)["captions"]
    expected = [text.decode() for text in captions]

    of_images = run_node(addon, exported_images, images)
    assert of_images.returncode == 0, of_images.stderr
    assert json.loads(of_images.stdout) == [["beam", "greedy"], expected]

    without_text = run_node(addon, exported.path, images)
    assert without_text.returncode == 1
    assert "Op type not registered" in without_text.stderr

    complete = run_node(addon, exported.path, images, TEXT_OPERATIONS)
    assert complete.returncode == 0, complete.stderr
    names, found = json.loads(complete.stdout)
    assert set(names) == set(session.signatures)
    assert found == expected
