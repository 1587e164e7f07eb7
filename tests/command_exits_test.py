import errno
import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from visem_tf.cli import run_command
from visem_tf.errors import UserError
from visem_tf.runtime.startup import without_noise
from visem_tf.runtime.storage import as_path
from visem_tf.runtime.working_copy import working_copy

ROOT = Path(__file__).parents[1]


def status(raised: BaseException) -> tuple:
    def fail() -> None:
        raise raised

    with pytest.raises(SystemExit) as ended:
        run_command(fail)
    return ended.value.code


def test_exit_statuses(capsys: pytest.CaptureFixture):
    assert status(UserError("a is missing; give b")) == 2
    assert capsys.readouterr().err == "visem_tf: error: a is missing; give b\n"
    assert status(OSError(errno.ENOSPC, "No space left on device", "/r/f")) == 2
    assert capsys.readouterr().err == (
        "visem_tf: error: /r/f: No space left on device; free it or choose another\n"
    )
    assert status(OSError(errno.ENOSPC, "No space left on device", "/from", None, "/to")) == 2
    assert "error: /to: No space left" in capsys.readouterr().err
    assert status(PermissionError(errno.EACCES, "Permission denied", "/r/f")) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert status(OSError(errno.EMFILE, "Too many open files", "/i/vectors.npy")) == 2
    assert capsys.readouterr().err == (
        "visem_tf: error: /i/vectors.npy: Too many open files; raise the limit of open files "
        "(ulimit -n, or ulimit -Hn)\n"
    )
    assert status(UserError("there is no image \x1b[2J\udc80 3\u202fPM.jpg")) == 2
    message = "there is no image \ufffd[2J\ufffd 3\u202fPM.jpg"
    assert capsys.readouterr().err == f"visem_tf: error: {message}\n"
    assert status(KeyboardInterrupt()) == 130
    assert "Traceback" not in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        run_command(lambda: None)
    assert ended.value.code == 0


def test_a_command_may_open_as_many_files_as_the_system_allows():
    resource = pytest.importorskip("resource")
    source = """
import resource
from visem_tf.cli import run_command
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
run_command(lambda: print(resource.getrlimit(resource.RLIMIT_NOFILE)))
"""
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=True
    )
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert done.stdout == f"{(most, most)}\n"


def test_a_full_disk_without_room_for_temporary_files(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    def open_file(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(os, "open", open_file)
    with without_noise():  # it holds messages back in a temporary file
        pass
    with pytest.raises(SystemExit) as ended:
        run_command(tempfile.mkdtemp)
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert "No usable temporary directory found in" in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("end", "messages"),
    [("pass", 1), ("raise UserError('wrong')", 2), ("write_atomically(run / 'two.txt', '2')", 2)],
)
@pytest.mark.parametrize("error", ["OSError('Forbidden')", "RuntimeError('Forbidden')"])
def test_files_that_cannot_be_sent(end: str, messages: int, error: str):
    source = textwrap.dedent(
        f"""
        from fsspec.implementations.memory import MemoryFileSystem
        from visem_tf.cli import run_command
        from visem_tf.errors import UserError
        from visem_tf.runtime.files import write_atomically
        from visem_tf.runtime.working_copy import working_copy
        def main():
            run = working_copy("memory://bucket/run")
            (run / "one.txt").write_text("1")
            {end}
        def refuse(*_, **__):
            raise {error}
        MemoryFileSystem.put_file = refuse
        run_command(main)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    *others, last = done.stderr.splitlines()
    assert last == (
        "visem_tf: error: cannot write memory://bucket/run (Forbidden); run the same command again "
        "when it can be written"
    )
    assert len(others) == messages - 1
    assert all(line in (last, "visem_tf: error: wrong") for line in others)


def test_an_interrupted_command_sends_its_files(capsys: pytest.CaptureFixture):
    def main() -> None:
        (working_copy("memory://interrupted/run") / "one.txt").write_text("1")
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        run_command(main)
    assert ended.value.code == 130
    assert (as_path("memory://interrupted/run") / "one.txt").read_text() == "1"
    assert capsys.readouterr().err.count("\n") == 1


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["fit", "--debug"])
    assert status(UserError("a is missing")) == 2
    assert "Traceback" in capsys.readouterr().err


def test_defects_keep_their_traceback():
    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        run_command(fail)


@pytest.mark.parametrize(
    ("redirection", "output", "message"),
    [
        (">&-", "", ""),
        ("2>&- >&-", "", ""),
        ("", "a caf\\xe9 \\udc80\n", ""),
        (
            ">/dev/full",
            "",
            "visem_tf: error: the disk, or standard output: No space left on device; free it or "
            "choose another\n",
        ),
    ],
)
def test_standard_streams_as_users_have_them(redirection: str, output: str, message: str):
    source = (
        "from visem_tf.cli import run_command\n"
        "run_command(lambda: print('a caf\\xe9 \\udc80', flush=True))"
    )
    done = subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" {redirection}', sys.executable, source],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (output, message)
    assert done.returncode == (2 if message else 0)


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("pass", 2),
        ("raise SystemExit(1)", 2),
        ("parse_arguments(make_parser('fit', ''), ['--help'])", 2),
        ("raise UserError('wrong')", 2),
        ("raise KeyboardInterrupt", 130),
    ],
)
@pytest.mark.parametrize("redirection", [">/dev/full", ">/dev/full 2>/dev/full", "2>&1 | true"])
def test_output_that_cannot_be_written_when_a_command_ends(redirection: str, end: str, status: int):
    source = textwrap.dedent(
        f"""
        from visem_tf.cli import parse_arguments, run_command
        from visem_tf.config.options import make_parser
        from visem_tf.errors import UserError
        def main():
            print("a dog")
            {end}
        run_command(main)
        """
    )
    # A pipe whose reader has ended is what `head` leaves.
    shell = f'{{ "$0" -c "$1"; echo $? >&3; }} {redirection}'
    done = subprocess.run(
        ["sh", "-c", f"exec 3>&1; {shell}", sys.executable, source],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": ""},  # the output is written at the end
        capture_output=True,
        text=True,
        check=False,
    )
    expected = 1 if "true" in redirection and status == 2 and "wrong" not in end else status
    assert done.stdout == f"{expected}\n"
    assert done.stderr.count("\n") == (redirection == ">/dev/full")
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
