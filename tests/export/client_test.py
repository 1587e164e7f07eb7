"""The client, against a server with a stub in place of the model."""

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visem_tf.errors import UserError
from visem_tf.export import client

pytest.importorskip("tensorflow_serving")
from stand_in import StandIn


class StubModel:
    """Stands in for a `ServedModel`: says which image of the batch it was given."""

    version = 1
    signatures = dict.fromkeys(("greedy", "describe_regions"))

    def __call__(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        captions = [b"image " + image[-1:] for image in inputs["image_bytes"]]
        log_probs = np.array([-np.inf if c.endswith(b"!") else -1.5 for c in captions])
        if signature == "greedy":
            return {"captions": np.array(captions, object), "log_probs": log_probs}
        count = len(captions)
        return {
            "captions": np.array([[caption, b""] for caption in captions], object),
            "log_probs": np.stack([log_probs, np.full(count, -np.inf)], axis=1),
            "boxes": np.tile([0.0, 0.0, 1.0, 0.5], (count, 2, 1)),
        }

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def stub() -> Iterator[StandIn]:
    server = StandIn(StubModel())  # type: ignore[arg-type]
    yield server
    server.stop()


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"{number}.jpg" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_bytes(b"JPEG \xff\x00" + str(number).encode())
    return [str(path) for path in paths]


def addresses(server: StandIn) -> dict[str, str]:
    return {
        "grpc": f"127.0.0.1:{server.grpc_port}",
        "rest": f"http://127.0.0.1:{server.rest_port}",
    }


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_the_client_prints_captions(
    stub: StandIn,
    files: list[str],
    protocol: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    to = ["--server", addresses(stub)[protocol], "--batch-size", "2"]
    client.main([*to, *files])
    lines = [f"{file}: image {number}" for number, file in enumerate(files)]
    assert capsys.readouterr().out.splitlines() == lines
    client.main([*to, "--signature", "describe_regions", "--json", str(tmp_path / "j"), files[0]])
    printed = capsys.readouterr().out
    assert printed == f"{files[0]}:\n    [0.00 0.00 1.00 0.50] image 0\n"
    [described] = json.loads((tmp_path / "j").read_text(encoding="utf-8"))
    assert described["captions"] == ["image 0", ""]
    assert described["log_probs"] == [-1.5, None]
    assert described["boxes"] == [[0, 0, 1, 0.5]] * 2
    (tmp_path / "broken").write_bytes(b"!")
    with pytest.raises(UserError, match="the server cannot read as JPEG or PNG: .*broken$"):
        client.main([*to, files[0], str(tmp_path / "broken"), files[1]])
    assert capsys.readouterr().out.splitlines() == lines[:2]


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_mistakes_are_one_line(stub: StandIn, files: list[str], protocol: str):
    to = ["--server", addresses(stub)[protocol]]
    for arguments, message in (
        ([*to, "--model", "other", files[0]], "Servable not found for request: other"),
        ([*to, "--version", "9", files[0]], "did not answer for model captions"),
        ([*to, "missing.jpg"], "there is no image missing.jpg"),
        ([*to, "--batch-size", "0", files[0]], "--batch-size must be at least 1"),
        (["--server", "localhost", files[0]], "--server must be HOST:PORT, not 'localhost'"),
        ([*to, "--signature", "gredy", files[0]], "invalid choice: 'gredy'"),
        ([*to, "--signatur", "greedy", files[0]], "unknown option --signatur; did you mean --sig"),
        ([*to, "--timeout", "inf", files[0]], "--timeout must be up to 86400 seconds, not inf"),
        ([*to, "--timeout", "0", files[0]], "--timeout must be up to 86400 seconds, not 0"),
        ([*to, "--version", str(2**70), files[0]], "--version must be the number of a version"),
        (["--server", "http://127.0.0.1:9", files[0]], "127.0.0.1:9 did not answer"),
        (["--server", "127.0.0.1:9", "--protocol", "grpc", files[0]], "UNAVAILABLE"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            client.main(arguments)
        assert "\n" not in str(caught.value)


class Answer(http.server.BaseHTTPRequestHandler):
    """Answers every request with the same bytes."""

    content = b""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: Any) -> None:
        """Prints nothing."""


@pytest.fixture
def answering() -> Iterator[str]:
    """The address of a server that answers with `Answer.content`."""
    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_answers_before_an_error_are_kept(
    stub: StandIn, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    predict = client.RestServer.predict

    def fail_later(self: Any, signature: str, inputs: Any) -> Any:
        if inputs["image_bytes"][0].endswith(b"2"):
            raise UserError("the server has gone")
        return predict(self, signature, inputs)

    monkeypatch.setattr(client.RestServer, "predict", fail_later)
    to = ["--server", addresses(stub)["rest"], "--batch-size", "2"]
    with pytest.raises(UserError, match="has gone"):
        client.main([*to, "--json", str(tmp_path / "j"), *files])
    answers = json.loads((tmp_path / "j").read_text(encoding="utf-8"))
    assert [answer["captions"] for answer in answers] == [["image 0"], ["image 1"]]
    with pytest.raises(UserError, match="has gone"):  # an earlier file is not replaced by nothing
        client.main([*to, "--json", str(tmp_path / "j"), files[2]])
    assert json.loads((tmp_path / "j").read_text(encoding="utf-8")) == answers


def test_other_answers_are_shown(answering: str, files: list[str], monkeypatch: pytest.MonkeyPatch):
    for content, message in (
        (b"<html>\n502 Bad Gateway", r"HTTP 200, not in JSON: <html> 502 Bad Gateway"),
        (b'{"predictions": ["a"]}', r'not with captions \(\{"predictions": \["a"\]\}\)'),
    ):
        monkeypatch.setattr(Answer, "content", content)
        with pytest.raises(UserError, match=message):
            client.main(["--server", answering, files[0]])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"[]",
        b"[" * 100_000,
        b'{"error": ["x"]}',
        b'{"outputs": null}',
        b'{"outputs": 3}',
        b'{"outputs": []}',
        b'{"outputs": {"captions": ["a"]}}',
        b'{"outputs": {"captions": ["a"], "log_probs": [null]}}',
        b'{"outputs": {"captions": ["a", "b"], "log_probs": [-1.0, -1.0]}}',
        b'{"outputs": {"captions": [["a"], []], "log_probs": [-1.0]}}',
        b'{"outputs": {"captions": [3], "log_probs": [-1.0]}}',
        b'{"outputs": {"captions": [[]], "log_probs": [[]]}}',
        b'{"outputs": {"captions": [{"b65": ""}], "log_probs": [-1.0]}}',
        b'{"outputs": {"captions": [[["a"]]], "log_probs": [[[-1.0]]]}}',
        b'{"outputs": {"captions": ["a"], "log_probs": [-1.0], "more": 3}}',
        b'{"outputs": {"captions": ["a"], "log_probs": [-1.0], "more": []}}',
        b'{"outputs": {"captions": ["a"], "log_probs": [-1.0], "more": [null]}}',
        b'{"outputs": ' + b"[" * 700 + b"]" * 700 + b"}",
        b'{"outputs": {"captions": ["a"], "log_probs": [-1.0], "boxes": [[0.0, 1.0]]}}',
    ],
)
def test_any_other_answer_is_one_line(
    answering: str, files: list[str], content: bytes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Answer, "content", content)
    with pytest.raises(UserError, match="did not answer|not with captions") as caught:
        client.main(["--server", answering, files[0]])
    assert "\n" not in str(caught.value)


def test_texts_in_base64_are_understood(
    answering: str, files: list[str], monkeypatch: pytest.MonkeyPatch, capsys
):
    content = b'{"outputs": {"captions": [{"b64": "Y2Fm6Rtb"}], "log_probs": [-1]}}'
    monkeypatch.setattr(Answer, "content", content)
    client.main(["--server", answering, files[0]])
    assert capsys.readouterr().out == f"{files[0]}: caf\ufffd\ufffd[\n"


def test_numbers_that_are_not_finite_are_null(
    answering: str, files: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    content = b'{"outputs": {"captions": ["a"], "log_probs": [NaN], "more": [[[1, Infinity]]]}}'
    monkeypatch.setattr(Answer, "content", content)
    client.main(["--server", answering, "--json", str(tmp_path / "j"), files[0]])
    [answer] = json.loads((tmp_path / "j").read_text(), parse_constant=pytest.fail)
    assert answer.pop("image") == files[0]
    assert answer == {"captions": ["a"], "log_probs": [None], "more": [[1, None]]}


def test_an_answer_by_grpc_that_is_no_tensor(
    stub: StandIn, files: list[str], monkeypatch: pytest.MonkeyPatch
):
    import tensorflow as tf

    as_array = tf.make_ndarray

    def read_texts_only(tensor: Any) -> np.ndarray:
        if tensor.dtype != tf.string.as_datatype_enum:
            raise TypeError("Unsupported tensor type: 99")
        return as_array(tensor)

    monkeypatch.setattr(tf, "make_ndarray", read_texts_only)
    with pytest.raises(UserError, match=r"not with captions \(Unsupported tensor type: 99\)"):
        client.main(["--server", addresses(stub)["grpc"], files[0]])


def test_rest_alone_does_not_import_tensorflow(stub: StandIn, files: list[str]):
    source = (
        "import sys; from visem_tf.export.client import main; main(sys.argv[1:]); "
        "assert 'tensorflow' not in sys.modules"
    )
    command = [sys.executable, "-c", source, "--server", addresses(stub)["rest"], files[0]]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
