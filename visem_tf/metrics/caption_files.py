"""Files of captions: COCO's results format and neuraltalk's `result_struct.json`.

[{"image_id": 42, "caption": "a dog"}]                                       COCO results
{"imgblobs": [{"img_path": "a.jpg", "candidate": {"text": "a dog"}}]}        neuraltalk
"""

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, TypedDict

from visem_tf.errors import UserError
from visem_tf.runtime.files import write_atomically
from visem_tf.runtime.json_files import parse_json
from visem_tf.runtime.storage import as_path, read_regular, reason_of

_NUMBER = re.compile("0|[1-9][0-9]{0,17}")  # fits into 64 bits


class _Caption(TypedDict):
    image_id: int | str
    caption: str


class _Annotations(TypedDict):
    annotations: list[_Caption]


class _Candidate(TypedDict):
    text: str


class _RequiredOfBlob(TypedDict):
    candidate: _Candidate


class _Blob(_RequiredOfBlob, total=False):
    img_path: str
    imgid: int | str


class _Neuraltalk(TypedDict):
    imgblobs: list[_Blob]


def read_captions(path: str | os.PathLike[str]) -> dict[str, str]:
    """Reads captions by the names of their images in the file: image ids, or file names.

    Raises:
        UserError: If the file is missing, is not JSON, has none of the two forms, is empty, names
            an image twice, or has an empty caption.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "results.json"
        >>> _ = path.write_text('[{"image_id": 7, "caption": "a dog"}]')
        >>> read_captions(path)
        {'7': 'a dog'}
    """
    form = 'a list of {"image_id", "caption"} (COCO results) or have "imgblobs" (neuraltalk)'
    data = _read_json(path, list[_Caption] | _Neuraltalk, form)
    if isinstance(data, dict):
        pairs = [_neuraltalk(blob) for blob in data["imgblobs"]]
    else:
        pairs = [(str(entry["image_id"]), entry["caption"]) for entry in data]
    if not pairs:
        raise UserError(f"{path} holds no caption")
    if any(not key for key, _ in pairs):
        raise UserError(
            f"{path} has captions without the name of their image; add img_path or imgid"
        )
    _refuse_duplicates(path, [key for key, _ in pairs])
    empty = [key for key, text in pairs if not text.strip()]
    if empty:
        raise UserError(
            f"{path}: {len(empty)} captions are empty, the first is that of image {empty[0]}; "
            "write a caption for every image, or leave these images out of the references too"
        )
    return dict(pairs)


def read_references(path: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Reads the sentences of images by image id from COCO's annotations format.

        {"annotations": [{"image_id": 42, "caption": "A dog."}, …]}

    Raises:
        UserError: If the file is missing, is not JSON, or does not have this form.
    """
    form = '{"annotations": [{"image_id", "caption"}]} (COCO captions)'
    found: dict[str, list[str]] = {}
    for entry in _read_json(path, _Annotations, form)["annotations"]:
        found.setdefault(str(entry["image_id"]), []).append(entry["caption"])
    if not found:
        raise UserError(f"{path} holds no sentence")
    return found


def match_captions(
    captions: Mapping[str, str],
    image_ids: Sequence[str],
    file_names: Sequence[str],
    where: str,
) -> dict[str, str]:
    """Assigns captions to the image ids of a split.

    Captions may name an image by its image id, by its file name with or without the ending, or, as
    COCO does, by the number at the end of that name.

    Args:
        captions: Captions from `read_captions`.
        image_ids: I ids.
        file_names: I file names.
        where: Names of the captions and the split for messages, e.g. "results.json, split test".

    Returns:
        A caption for each of `image_ids`, in their order.

    Raises:
        UserError: If a caption is of an unknown image, an image has no caption, or several.
    """
    known = _names(image_ids, file_names)
    unknown = [key for key in captions if key not in known]
    if unknown:
        raise UserError(
            f"{where}: {len(unknown)} captions are of images without references, the first of "
            f"{unknown[0]}; choose the right --split, or remove them"
        )
    found = [known[key] for key in captions]
    _refuse_duplicates(where, found)
    matched = dict(zip(found, captions.values(), strict=True))
    missing = [image_id for image_id in image_ids if image_id not in matched]
    if missing:
        raise UserError(
            f"{where}: {len(missing)} of {len(image_ids)} images have no caption, the first is "
            f"{missing[0]}; scores of some images do not compare with those of all"
        )
    return {image_id: matched[image_id] for image_id in image_ids}


def write_coco_results(path: str | os.PathLike[str], captions: Mapping[str, str]) -> None:
    """Writes captions by image id in COCO's results format.

    As in COCO, whose tools compare them with the ids of annotations, ids that are whole numbers are
    written as numbers.
    """
    results = [
        {"image_id": _number_or_text(key), "caption": text} for key, text in captions.items()
    ]
    write_atomically(path, json.dumps(results, ensure_ascii=False, indent=0) + "\n")


def write_result_struct(
    path: str | os.PathLike[str],
    captions: Mapping[str, str],
    log_probs: Sequence[float],
    references: Mapping[str, Sequence[str]],
    file_names: Sequence[str],
    params: Mapping[str, Any],
    perplexity: float | None,
) -> None:
    """Writes neuraltalk's `result_struct.json`, which its viewer shows.

    Args:
        path: Path of the file.
        captions: Captions by image id.
        log_probs: Log-probabilities of the captions.
        references: Sentences by image id.
        file_names: File names of the images, in the order of `captions`.
        params: Settings of the search to record.
        perplexity: Perplexity of the references; None if unknown.
    """
    blobs = [
        {
            "img_path": file_name,
            "imgid": _number_or_text(image_id),
            "references": [{"text": sentence} for sentence in references[image_id]],
            "candidate": {"text": text, "logprob": round(float(log_prob), 4)},
        }
        for (image_id, text), log_prob, file_name in zip(
            captions.items(), log_probs, file_names, strict=True
        )
    ]
    struct = {
        "params": dict(params),
        "checkpoint_params": {},
        "gtppl": perplexity,
        "imgblobs": blobs,
    }
    write_atomically(path, json.dumps(struct, ensure_ascii=False) + "\n")


def _number_or_text(image_id: str) -> int | str:
    """An id as a number, if it is the usual text of one: 42, but neither "042" nor "a.jpg"."""
    return int(image_id) if _NUMBER.fullmatch(image_id) else image_id


def _read_json(path: str | os.PathLike[str], kind: Any, form: str) -> Any:
    """The content of a file, which must be of a type; `form` describes it in messages."""
    try:
        return parse_json(read_regular(as_path(path)), kind)
    except OSError as error:
        raise UserError(f"cannot read {path}: {reason_of(error)}") from error
    except ValueError as error:
        raise UserError(f"{path} must be {form}: {error}") from error


def _neuraltalk(blob: _Blob) -> tuple[str, str]:
    name = PurePosixPath(blob.get("img_path", "")).name
    return name or str(blob.get("imgid", "")), blob["candidate"]["text"]


def _names(image_ids: Sequence[str], file_names: Sequence[str]) -> dict[str, str]:
    """Returns the image ids by all names that belong to one image only; ids have precedence."""
    others: list[tuple[str, str]] = []
    for image_id, file_name in zip(image_ids, file_names, strict=True):
        name = PurePosixPath(file_name)
        digits = name.stem[len(name.stem.rstrip("0123456789")) :]
        number = [str(int(digits))] if digits else []
        others += [(alias, image_id) for alias in {name.name, name.stem, *number}]
    count = Counter(alias for alias, _ in others)
    aliases = {alias: image_id for alias, image_id in others if count[alias] == 1}
    return {**aliases, **{image_id: image_id for image_id in image_ids}}


def _refuse_duplicates(where: object, keys: Sequence[str]) -> None:
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise UserError(
            f"{where}: {len(twice)} images have several captions, the first is {twice[0]}; "
            "give one each"
        )
