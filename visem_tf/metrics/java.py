"""The Java programs of pycocoevalcap: whether Java is there, and the PTB tokenizer."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_OPTIONS = "JAVA_TOOL_OPTIONS"


class JavaError(RuntimeError):
    """Java, or a scorer that runs in it, is missing or fails; the message says which and why."""


def java_reason() -> str | None:
    """Returns why Java cannot be used; None where it can."""
    java = shutil.which("java")
    if java is None:
        return "no `java` on the PATH; install a Java runtime, 8 or later"
    try:  # macOS has a `java` that only reports that there is no Java
        done = subprocess.run([java, "-version"], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"`java -version` failed: {error}"
    if done.returncode:
        return f"`java -version` failed: {last_line(done.stderr)}"
    return None


@contextlib.contextmanager
def decimal_points() -> Iterator[None]:
    """Lets Java programs that the block starts write numbers with a point, whatever the locale."""
    before = os.environ.get(_OPTIONS)
    os.environ[_OPTIONS] = " ".join([before or "", "-Duser.language=en -Duser.country=US"]).strip()
    try:
        yield
    finally:
        del os.environ[_OPTIONS]
        if before is not None:
            os.environ[_OPTIONS] = before


def last_line(stderr: bytes) -> str:
    """Returns the last line of what a program wrote to its standard error."""
    return "".join(stderr.decode(errors="replace").strip().splitlines()[-1:])


def run_java(name: str, *arguments: str, **options: Any) -> bytes:
    """Runs a Java program.

    Args:
        name: Name of the program for messages.
        *arguments: Arguments of `java`.
        **options: Options of `subprocess.run`.

    Returns:
        What the program wrote to its standard output.

    Raises:
        JavaError: If the program cannot be started, fails, or takes too long.
    """
    try:
        with decimal_points():
            done = subprocess.run(["java", *arguments], check=True, capture_output=True, **options)
    except subprocess.CalledProcessError as error:
        raise JavaError(f"{name} failed: {last_line(error.stderr) or error}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise JavaError(f"{name} failed: {error}") from error
    return done.stdout


def ptb_tokenize(sentences: Sequence[str]) -> list[str]:
    """Splits sentences into lower-case words without punctuation, as pycocoevalcap does.

    Calls the same program with the same options. The wrapper of pycocoevalcap writes a file beside
    its code, which fails where packages are read-only, and assigns sentences to the wrong images
    when one of them contains a line break.

    Args:
        sentences: Texts; line breaks count as blanks.

    Returns:
        The words of every sentence, joined by blanks; "" where there are none.

    Raises:
        JavaError: If pycocoevalcap or Java is missing, or the program fails.
    """
    try:
        from pycocoevalcap.tokenizer import ptbtokenizer
    except ImportError as error:
        raise JavaError(f"pycocoevalcap, which holds it, is missing ({error})") from error

    jar = Path(ptbtokenizer.__file__).with_name(ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR)
    lines = [" ".join(sentence.split()) for sentence in sentences]
    text = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
    program = ["edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    output = run_java("the PTB tokenizer", "-cp", str(jar), *program, input=text)
    tokenized = output.decode().split("\n")[:-1]
    if len(tokenized) != len(lines):
        raise JavaError(f"the PTB tokenizer gave {len(tokenized)} lines for {len(lines)} sentences")
    dropped = {"", *ptbtokenizer.PUNCTUATIONS}
    return [" ".join(w for w in line.split(" ") if w not in dropped) for line in tokenized]
