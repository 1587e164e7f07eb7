"""Words as the COCO caption scorer counts them: by its PTB tokenizer, or nearly so without Java."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
# What pycocoevalcap drops, and the quotation marks that its tokenizer turns into `` and ''.
_PUNCTUATION = frozenset("\"“”‘«».?!,:;-'`") | {"''", "``", "--", "..."}
_CLITIC = re.compile(r"(?<=\w)(n't|'(?:s|m|d|re|ve|ll))(?!\w)")
_WORD = re.compile(
    r"-[lr][rsc]b-|n't(?!\w)|'(?:s|m|d|re|ve|ll)(?!\w)|\w+(?:[-.,/&'_]\w+)*|\.\.\.|--|[^\w\s]"
)


class JavaError(RuntimeError):
    """Java, or a scorer that runs in it, is missing or fails; the message says which and why."""


def java_reason() -> str | None:
    """Why Java cannot be used; None where it can."""
    java = shutil.which("java")
    if java is None:
        return "no `java` on the PATH; install a Java runtime, 8 or later"
    try:  # macOS has a `java` that only says that there is none
        done = subprocess.run([java, "-version"], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"`java -version` failed: {error}"
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return f"`java -version` failed: {' '.join(last)}"
    return None


def tokenize_for_scoring(sentences: Sequence[str]) -> tuple[list[str], str | None]:
    """Splits sentences into lower-case words without punctuation, as pycocoevalcap does.

    Args:
      sentences: any text; line breaks count as blanks.

    Returns:
      For every sentence its words joined by one blank ("" where there are none), and a note where
      the tokenizer of pycocoevalcap could not be used and `tokenize_without_java` stood in.
    """
    reason = java_reason()
    if reason is None:
        try:
            return _tokenize_with_java(sentences), None
        except JavaError as error:
            reason = str(error)
    return [tokenize_without_java(sentence) for sentence in sentences], (
        f"PTB tokenizer replaced by one in Python, scores may differ slightly: {reason}"
    )


def tokenize_without_java(sentence: str) -> str:
    """Nearly what the PTB tokenizer does: lower case, clitics split off, punctuation dropped.

    Brackets become "-lrb-" and the like and are counted as words, because pycocoevalcap does so.
    Abbreviations lose their last full stop here and keep it there, and "cannot" stays one word.
    Of 35,000 sentences of Flickr8K, 16 came out different from the PTB tokenizer's.

    Example:
        >>> tokenize_without_java("The dog's red-ball (a toy), isn't here.")
        "the dog 's red-ball -lrb- a toy -rrb- is n't here"
    """
    text = sentence.lower().replace("’", "'")
    for bracket, name in _BRACKETS.items():
        text = text.replace(bracket, f" {name} ")
    words = _WORD.findall(_CLITIC.sub(r" \1", text))
    return " ".join(word for word in words if word not in _PUNCTUATION)


def _tokenize_with_java(sentences: Sequence[str]) -> list[str]:
    """The PTB tokenizer of pycocoevalcap, called as it calls it.

    Its own wrapper writes a file beside its code, which fails where packages are read-only, and
    shifts sentences against pictures when one holds a line break that it does not know of.
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
        last = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise JavaError(f"the PTB tokenizer failed: {' '.join(last)}") from error
    except OSError as error:
        raise JavaError(f"the PTB tokenizer failed: {error}") from error
    tokenized = done.stdout.decode().split("\n")[:-1]
    if len(tokenized) != len(lines):
        raise JavaError(f"the PTB tokenizer gave {len(tokenized)} lines for {len(lines)} sentences")
    dropped = frozenset(ptbtokenizer.PUNCTUATIONS)
    return [" ".join(w for w in line.split(" ") if w and w not in dropped) for line in tokenized]
