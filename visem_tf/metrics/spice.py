"""SPICE by pycocoevalcap, where its files are: it never fetches them.

P. Anderson et al., "SPICE: Semantic Propositional Image Caption Evaluation" (ECCV 2016). The wheel
of pycocoevalcap holds the program but not the two files of Stanford CoreNLP 3.6.0 (half a gigabyte)
that it parses with, and its own wrapper fetches them unasked and writes beside its code.
"""

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from visem_tf.metrics.caption_tokens import JavaError, java_reason

_FILES = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
_SECONDS = 7200


def spice_reason() -> str | None:
    """Why SPICE cannot be computed; None where it can."""
    folder = _folder() / "lib"
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        return (
            f"SPICE needs {' and '.join(missing)} in the folder spice/lib of pycocoevalcap; "
            "`python -m pycocoevalcap.spice.get_stanford_models`, run in its folder, fetches them"
        )
    return (reason := java_reason()) and f"SPICE needs Java: {reason}"


def spice_scores(
    captions: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> np.ndarray:
    """SPICE of every caption, 0 to 1, in the order of `captions`; NaN where it has no tuple.

    Args:
      captions: tokenized, by image id.
      references: tokenized, by image id.

    Raises:
      JavaError: a file or Java is missing, or the program fails.
    """
    if reason := spice_reason():
        raise JavaError(reason)
    data = [
        {"image_id": image_id, "test": caption, "refs": list(references[image_id])}
        for image_id, caption in captions.items()
    ]
    with tempfile.TemporaryDirectory() as temporary:
        given, found, cache = (Path(temporary) / name for name in ("in.json", "out.json", "cache"))
        given.write_text(json.dumps(data), encoding="utf-8")
        cache.mkdir()
        command = ["java", "-Xmx8G", "-jar", "spice-1.0.jar", str(given), "-cache", str(cache)]
        try:
            subprocess.run(
                [*command, "-out", str(found), "-subset", "-silent"],
                cwd=_folder(),
                check=True,
                capture_output=True,
                timeout=_SECONDS,
            )
            results = json.loads(found.read_text(encoding="utf-8"))
            scores = {item["image_id"]: item["scores"]["All"]["f"] for item in results}
            return np.array([float(scores[image_id]) for image_id in captions])
        except subprocess.CalledProcessError as error:
            last = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise JavaError(f"SPICE failed: {' '.join(last) or error}") from error
        except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
            raise JavaError(f"SPICE failed: {error}") from error


def _folder() -> Path:
    import pycocoevalcap.spice

    return Path(next(iter(pycocoevalcap.spice.__path__)))
