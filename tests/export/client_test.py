"""The client, against a server with a stub in place of the model."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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
        (["--server", "http://127.0.0.1:9", files[0]], "127.0.0.1:9 did not answer"),
        (["--server", "127.0.0.1:9", "--protocol", "grpc", files[0]], "UNAVAILABLE"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            client.main(arguments)
        assert "\n" not in str(caught.value)


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
