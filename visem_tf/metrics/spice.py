"""SPICE by pycocoevalcap, where its files are; they are never downloaded.

P. Anderson et al., "SPICE: Semantic Propositional Image Caption Evaluation" (ECCV 2016). The wheel
of pycocoevalcap holds the program but not the two files of Stanford CoreNLP 3.6.0 (half a gigabyte)
that it parses with. The wrapper of pycocoevalcap downloads them and writes beside its code.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from visem_tf.metrics.java import JavaError, java_reason, run_java
from visem_tf.runtime.files import temporary_folder

MODEL_FILES = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
"""Files of Stanford CoreNLP that SPICE needs in its folder `lib`."""

_TIMEOUT_S = 7200


def spice_reason() -> str | None:
    """Returns why SPICE cannot be computed; None where it can."""
    missing = [name for name in MODEL_FILES if not (spice_folder() / "lib" / name).is_file()]
    if missing:
        return (
            f"SPICE needs {' and '.join(missing)} in the folder spice/lib of pycocoevalcap; "
            "`python -m pycocoevalcap.spice.get_stanford_models`, run in its folder, fetches them"
        )
    reason = java_reason()
    return f"SPICE needs Java: {reason}" if reason else None


def spice_scores(
    captions: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> np.ndarray:
    """Computes SPICE of every caption.

    Args:
        captions: Tokenized captions by image id.
        references: Tokenized references by image id.

    Returns:
        Float array in the order of `captions`, 0 to 1; NaN where a caption has no tuple.

    Raises:
        JavaError: If a file or Java is missing, or the program fails.
    """
    if reason := spice_reason():
        raise JavaError(reason)
    data = [
        {"image_id": image_id, "test": caption, "refs": list(references[image_id])}
        for image_id, caption in captions.items()
    ]
    with temporary_folder() as temporary:
        given, found, cache = (temporary / name for name in ("in.json", "out.json", "cache"))
        given.write_text(json.dumps(data), encoding="utf-8")
        cache.mkdir()
        program = ["-Xmx8G", "-jar", "spice-1.0.jar", str(given), "-cache", str(cache)]
        output = ["-out", str(found), "-subset", "-silent"]
        run_java("SPICE", *program, *output, cwd=spice_folder(), timeout=_TIMEOUT_S)
        try:
            results = json.loads(found.read_text(encoding="utf-8"))
            scores = {item["image_id"]: item["scores"]["All"]["f"] for item in results}
            return np.array([float(scores[image_id]) for image_id in captions])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise JavaError(f"SPICE failed: {error}") from error


def spice_folder() -> Path:
    """Returns the folder of SPICE in the installed pycocoevalcap."""
    import pycocoevalcap.spice

    return Path(next(iter(pycocoevalcap.spice.__path__)))
