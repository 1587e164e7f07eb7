"""Serving: requests to a server, changing versions, and the C API."""

import concurrent.futures
import io
import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text
from google.protobuf import text_format
from PIL import Image

from visem_tf.errors import UserError
from visem_tf.export.client import connect, predict_request, rest_outputs
from visem_tf.export.description import Export
from visem_tf.export.parity import SessionModel
from visem_tf.export.saved_model.serving_files import (
    BATCH_SIZES,
    WARM_UP,
    docker_command,
    write_configuration,
)
from visem_tf.export.versions import new_version

pytest.importorskip("tensorflow_serving")
from served_model import ServedModel
from stand_in import StandIn

SESSION_C = Path(__file__).with_name("session.c")


@pytest.fixture(scope="module")
def folder(exported: Export, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions of its own, which a test may add to."""
    folder = tmp_path_factory.mktemp("served")
    copy_version(exported, folder / "1", "greedy")
    return folder


def copy_version(exported: Export, to: Path, *warm: str) -> None:
    """Copies an export, with warm-up requests for some of its signatures alone: they take time."""
    from tensorflow_serving.apis import prediction_log_pb2

    shutil.copytree(exported.path, to)
    records = list(tf.data.TFRecordDataset(str(exported.path / WARM_UP)).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(to / WARM_UP)) as writer:
        for record in records:
            log = prediction_log_pb2.PredictionLog.FromString(record).predict_log
            if log.request.model_spec.signature_name in warm:
                writer.write(record)


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[StandIn]:
    server = StandIn(ServedModel(folder, poll_seconds=0.1))
    yield server
    server.stop()


def addresses(server: StandIn) -> dict[str, str]:
    return {
        "grpc": f"127.0.0.1:{server.grpc_port}",
        "rest": f"http://127.0.0.1:{server.rest_port}",
    }


def asked(server: StandIn, protocol: str) -> Any:
    address = addresses(server)[protocol]
    return connect(address, model="captions", protocol="auto", timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["grpc", "rest"])
@pytest.mark.parametrize("signature", ["describe_regions_beam", "embed_image"])
def test_both_protocols_give_what_the_model_gives(
    server: StandIn, session: SessionModel, pictures: list[bytes], protocol: str, signature: str
):
    batch = [*pictures, b"no picture"]
    found = asked(server, protocol).predict(signature, {"image_bytes": batch})
    expected = session(signature, image_bytes=batch)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if value.dtype == object:
            np.testing.assert_array_equal(found[name], value)
        else:
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_images_and_sentences_may_differ_in_number(
    server: StandIn, session: SessionModel, pictures: list[bytes], protocol: str
):
    inputs = {"image_bytes": pictures[:2], "sentences": [b"a dog", "naïve ball".encode(), b""]}
    found = asked(server, protocol).predict("score", inputs)
    assert next(iter(found.values())).shape == (2, 3)
    expected = session("score", **inputs)["scores"]
    np.testing.assert_allclose(next(iter(found.values())), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_refused_requests(server: StandIn, pictures: list[bytes]):
    grpc = asked(server, "grpc")
    for signature, inputs, message in (
        ("nothing", {"image_bytes": pictures}, 'Serving signature key "nothing" not found'),
        ("greedy", {"images": pictures}, "greedy takes ..image_bytes.., not ..images.."),
        ("align", {"image_bytes": pictures, "sentences": [b"a"]}, "one sentence per image"),
    ):
        with pytest.raises(UserError, match=message):
            grpc.predict(signature, inputs)
        with pytest.raises(UserError, match=message):
            asked(server, "rest").predict(signature, inputs)


def rest(server: StandIn, body: Any) -> Any:
    url = f"{addresses(server)['rest']}/v1/models/captions:predict"
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, content)) as response:
        return json.load(response)


@pytest.mark.slow
def test_rows_as_tensorflow_serving_takes_them(server: StandIn, session: SessionModel):
    found = rest(server, {"signature_name": "embed_text", "instances": [{"sentences": "a dog"}]})
    assert found["predictions"][0]["tokens"] == ["a", "dog"]
    for body in (b"{", b"[]", {"inputs": {}, "instances": []}, {"instances": [{"a": 1}, {"b": 2}]}):
        with pytest.raises(urllib.error.HTTPError) as caught:
            rest(server, body)
        assert caught.value.code == 400 and "error" in json.load(caught.value)
    assert rest_outputs([["a"], ["ü"]])[""].tolist() == [[b"a"], ["ü".encode()]]


@pytest.mark.slow
def test_many_clients_get_their_own_answers_while_versions_change(
    server: StandIn, folder: Path, session: SessionModel, exported: Export
):
    rng = np.random.default_rng(0)
    batch = []
    for _ in range(12):
        buffer = io.BytesIO()
        patches = rng.integers(0, 256, [3, 4, 3], dtype=np.uint8)
        Image.fromarray(patches).resize((60, 45)).save(buffer, "PNG")
        batch.append(buffer.getvalue())
    expected = session("beam", image_bytes=batch)["captions"]
    assert len({*expected[:, 0]}) > 1

    def ask(number: int) -> bool:
        row = number % len(batch)
        protocol = asked(server, ("grpc", "rest")[number % 2])
        answer = protocol.predict("beam", {"image_bytes": [batch[row]]})["captions"]
        return answer.tolist() == expected[row : row + 1].tolist()

    with concurrent.futures.ThreadPoolExecutor(8) as clients:
        first = clients.map(ask, range(24))
        with new_version(folder) as paths:
            copy_version(exported, paths[0], "greedy")
        assert all(first)
        until = time.monotonic() + 240
        while server.model.version == 1 and time.monotonic() < until:
            assert all(clients.map(ask, range(8)))
    assert server.model.version == 2
    assert server.model.versions() == [1, 2]


@pytest.mark.slow
def test_a_version_that_cannot_be_loaded_is_not_served(
    exported: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    copy_version(exported, tmp_path / "1")
    model = ServedModel(tmp_path, poll_seconds=0.05)
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "saved_model.pb").write_bytes(b"no model")
    until, said = time.monotonic() + 60, ""
    while "version 2 cannot be loaded" not in said and time.monotonic() < until:
        time.sleep(0.05)
        said += capsys.readouterr().err
    time.sleep(0.3)
    said += capsys.readouterr().err
    model.close()
    assert said.count("version 2 cannot be loaded") == 1
    assert model.version == 1


def test_the_configuration_is_what_the_server_reads(tmp_path: Path):
    from tensorflow_serving.config import model_server_config_pb2

    models, batching = write_configuration(tmp_path)
    config = text_format.Parse(models.read_text(), model_server_config_pb2.ModelServerConfig())
    assert config.model_config_list.config[0].name == "captions"
    assert config.model_config_list.config[0].base_path == "/models/captions"
    text = batching.read_text()
    assert [int(line.split()[1]) for line in text.splitlines() if "allowed" in line] == [
        *BATCH_SIZES
    ]
    assert f"max_batch_size {{ value: {BATCH_SIZES[-1]} }}" in text
    models.write_text("mine")
    assert write_configuration(tmp_path)[0].read_text() == "mine"
    assert f"{tmp_path}:/models/captions:ro" in docker_command(tmp_path)


@pytest.mark.slow
def test_warm_up_records_are_answered(exported: Export, session: SessionModel):
    from tensorflow_serving.apis import prediction_log_pb2

    path = exported.path / "assets.extra" / "tf_serving_warmup_requests"
    names = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        outputs = session(request.model_spec.signature_name, **inputs)
        assert all(len(value) == 1 for value in outputs.values())
        names.append(request.model_spec.signature_name)
    signatures = exported.description["signatures"]
    assert names == [name for name in signatures if "_from_" not in name]


def test_requests_are_the_real_proto():
    request = predict_request("m", 3, "greedy", {"image_bytes": [b"a\x00", b"b"]})
    assert (request.model_spec.name, request.model_spec.version.value) == ("m", 3)
    assert tf.make_ndarray(request.inputs["image_bytes"]).tolist() == [b"a\x00", b"b"]


@pytest.mark.slow
def test_saved_model_cli(
    exported: Export, session: SessionModel, pictures: list[bytes], tmp_path: Path
):
    np.save(tmp_path / "images.npy", np.array(pictures[:1]))
    source = (
        "import tensorflow_text; from tensorflow.python.tools.saved_model_cli import main; main()"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-c", source, "run", "--dir", str(exported.path)),
            *("--tag_set", "serve", "--signature_def", "greedy"),
            *("--inputs", f"image_bytes={tmp_path / 'images.npy'}"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert repr(session("greedy", image_bytes=pictures[:1])["captions"][0]) in done.stdout


WITHOUT_TEXT = """
import json, sys
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

model = saved_model_pb2.SavedModel()
with open(complete + "/saved_model.pb", "rb") as file:
    model.ParseFromString(file.read())
[graph] = model.meta_graphs
nodes = {node.name: node for node in graph.graph_def.node}
functions = {each.signature.name: each.node_def for each in graph.graph_def.library.function}


def unknown(operations, seen):
    found = set()
    for node in operations:
        if node.op not in functions and op_def_registry.get(node.op) is None:
            found.add(node.op)
        called = {attribute.func.name for attribute in node.attr.values()}
        for name in ({node.op} | called) & set(functions) - seen:
            seen.add(name)
            found |= unknown(functions[name], seen)
    return found


needs = {
    name: sorted(unknown([nodes[each.outputs[key].name.split(":")[0]]], set()))
    for name, each in graph.signature_def.items()
    for key in list(each.outputs)[:1]
}
images = tf.stack([tf.io.read_file(picture) for picture in pictures])
served = tf.saved_model.load(of_images)
captions = served.signatures["greedy"](image_bytes=images)["captions"].numpy()
try:
    tf.saved_model.load(complete)
    error = ""
except Exception as raised:
    error = str(raised)
assert "tensorflow_text" not in sys.modules
print(json.dumps([needs, [text.decode() for text in captions], error]))
"""


@pytest.mark.slow
def test_only_signatures_of_sentences_need_tensorflow_text(
    exported: Export,
    exported_images: Path,
    session: SessionModel,
    pictures: list[bytes],
    tmp_path: Path,
    run_python: Callable[..., str],
):
    paths = [tmp_path / f"{number}.jpg" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        path.write_bytes(picture)
    places = f"complete, of_images = {str(exported.path)!r}, {str(exported_images)!r}\n"
    places += f"pictures = {[str(path) for path in paths]!r}\n"
    printed = run_python(places + WITHOUT_TEXT)
    needs, captions, error = json.loads(printed.splitlines()[-1])
    for name, signature in session.signatures.items():
        assert bool(needs[name]) == ("sentences" in signature.inputs), name
    expected = session("greedy", image_bytes=pictures)["captions"]
    assert captions == [text.decode() for text in expected]
    assert "not registered" in error


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler")
def test_the_c_api(exported: Export, session: SessionModel, pictures: list[bytes], tmp_path: Path):
    libraries = Path(tf.sysconfig.get_lib())
    program = tmp_path / "session"
    command = ["gcc", str(SESSION_C), "-o", str(program), "-I", tf.sysconfig.get_include()]
    command += [f"-L{libraries}", "-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
    command += [f"-Wl,-rpath,{libraries}", "-Wl,--allow-shlib-undefined"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (tmp_path / "picture").write_bytes(pictures[0])
    definition = session.signatures["greedy"]
    names = [definition.inputs["image_bytes"].name, definition.outputs["captions"].name]
    text_ops = sorted(Path(tensorflow_text.__file__).parent.rglob("_normalize_ops.so"))
    done = subprocess.run(
        [str(program), str(exported.path), *names, str(tmp_path / "picture"), *map(str, text_ops)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = session("greedy", image_bytes=pictures[:1])["captions"][0].decode()
    assert done.stdout == f"{expected}\n"
