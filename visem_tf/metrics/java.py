"""The Java programs of pycocoevalcap: whether Java is there, and the PTB tokenizer."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path


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


def last_line(stderr: bytes) -> str:
    """Returns the last line of what a program wrote to its standard error."""
    return "".join(stderr.decode(errors="replace").strip().splitlines()[-1:])


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
    command = ["java", "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer"]
    lines = [" ".join(sentence.split()) for sentence in sentences]
    try:
        done = subprocess.run(
            [*command, "-preserveLines", "-lowerCase"],
            input="".join(f"{line}\n" for line in lines).encode("utf-8", "replace"),
            capture_output=True,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise JavaError(f"the PTB tokenizer failed: {last_line(error.stderr)}") from error
    except OSError as error:
        raise JavaError(f"the PTB tokenizer failed: {error}") from error
    tokenized = done.stdout.decode().split("\n")[:-1]
    if len(tokenized) != len(lines):
        raise JavaError(f"the PTB tokenizer gave {len(tokenized)} lines for {len(lines)} sentences")
    dropped = {"", *ptbtokenizer.PUNCTUATIONS}
    return [" ".join(w for w in line.split(" ") if w not in dropped) for line in tokenized]
