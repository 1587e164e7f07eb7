"""Mutations of files, as users damage, convert and edit them; used by `tests/fuzz.py`."""

import io
import json
import os
import random
import shutil
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Mutation = Callable[[Path, random.Random], None]

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 2**31, -(2**63), 10**400, 0.5, -0.0, 1e308),
    *(float("nan"), float("inf"), "", " ", "a", "0", "nan", "train", "../x", "/dev/zero", "a\0b"),
    *("\ud800", "e\u0301", "\u202e", "狗在跑", "🐕", "%s%n", "x" * 100_000, [], {}, [[]], [None]),
    *({"a": []}, [1, 2, 3, 4], [1e400, 0, 0, 0], ["a"] * 1000),
)
"""Values of any type for fields and options."""

TEXTS = (
    *("\0", "\t", ",", ";", '"', "\\", "\r", "\n", "\n\n", "\ufeff", "\u2028", "#0", "|", "é"),
    *("🐕", "\x1a", "x" * 200_000, "狗", "\u0301", "1e999", "-1", " NaN "),
)
"""Texts to insert."""

ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "utf-7")

_OF_DAMAGED_FILES = (
    *(OSError, ValueError, SyntaxError, EOFError, RecursionError),
    *(zipfile.BadZipFile, zlib.error),
)
"""Errors of reading files that were damaged before."""


def mutate(path: Path, rng: random.Random) -> str:
    """Changes a file in a way that fits it; returns the name of the mutation.

    Args:
        path: A file.
        rng: Decides on the mutation.
    """
    fitting = _BY_SUFFIX.get(path.suffix.lower(), [])
    mutations: list[Mutation] = [*fitting, *fitting, *fitting, damage, damage, replace]
    mutation = rng.choice(mutations)
    try:
        mutation(path, rng)
    except _OF_DAMAGED_FILES:  # by an earlier mutation
        damage(path, rng)
    return mutation.__name__


def damage(path: Path, rng: random.Random) -> None:
    """Changes bytes: cuts, inserts, repeats or overwrites some."""
    data = bytearray(path.read_bytes()) if path.is_file() else bytearray()
    start = rng.randrange(len(data) + 1)
    stop = min(len(data), start + rng.choice([1, 2, 16, 300, len(data) // 2 + 1]))
    kind = rng.randrange(6)
    if kind == 0:
        del data[start:]
    elif kind == 1:
        del data[start:stop]
    elif kind == 2:
        data[start:start] = rng.randbytes(rng.choice([1, 4, 100]))
    elif kind == 3:
        data[start:start] = data[start:stop] * rng.choice([1, 3])
    elif kind == 4:
        data[start:stop] = bytes([rng.choice([0, 255, 32, 10])]) * (stop - start)
    elif data:
        for _ in range(rng.choice([1, 5, 50])):
            data[rng.randrange(len(data))] = rng.randrange(256)
    _write(path, bytes(data))


def replace(path: Path, rng: random.Random) -> None:
    """Puts something else in the place of a file: nothing, a folder, a link, a pipe, a device."""
    other = rng.choice(sorted(each for each in path.parent.iterdir() if each.is_file()) or [path])
    content = other.read_bytes() if other.is_file() else b""
    path.unlink(missing_ok=True)
    kind = rng.randrange(9)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        path.symlink_to(path.name)
    elif kind == 2:
        path.symlink_to("nowhere")
    elif kind == 3:
        os.mkfifo(path)
    elif kind == 4:
        path.symlink_to("/dev/zero")
    elif kind == 5:
        path.write_bytes(content)
    elif kind == 6:
        path.write_bytes(b"")
    elif kind == 7:
        name = rng.choice([path.name.upper(), unicodedata.normalize("NFD", f"é{path.name}"), "._a"])
        path.with_name(name).write_bytes(content)


def edit_text(path: Path, rng: random.Random) -> None:
    """Edits lines, separators, quotes or the encoding of a text file."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True) or [""]
    row = rng.randrange(len(lines))
    kind = rng.randrange(8)
    if kind == 0:
        del lines[row]
    elif kind == 1:
        lines.insert(row, lines[rng.randrange(len(lines))])
    elif kind == 2:
        rng.shuffle(lines)
    elif kind == 3:
        place = rng.randrange(len(lines[row]) + 1)
        lines[row] = lines[row][:place] + rng.choice(TEXTS) + lines[row][place:]
    elif kind == 4:
        lines = [line.replace(rng.choice("\t,# "), rng.choice(TEXTS)) for line in lines]
    elif kind == 5:
        lines = [line.replace("\n", rng.choice(["\r\n", "\r", " "])) for line in lines]
    elif kind == 6:
        lines = lines[: rng.randrange(2)]
    data = "".join(lines).encode("utf-8")
    if kind == 7:
        data = text.encode(rng.choice(ENCODINGS), "replace")
    _write(path, data)


def edit_json(path: Path, rng: random.Random) -> None:
    """Replaces, removes, repeats or adds a value in a JSON file, or in one of its lines."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines() if path.suffix == ".jsonl" else [text]
    row = rng.randrange(len(lines)) if lines else 0
    content = [json.loads(lines[row])]
    node: Any = content
    for _ in range(rng.randrange(1, 7)):  # down to some depth
        key = _key(node, rng)
        if not isinstance(node[key], dict | list) or not node[key]:
            break
        node = node[key]
    key = _key(node, rng)
    kind = rng.randrange(6)
    if kind <= 2:
        node[key] = rng.choice(VALUES)
    elif kind == 3 and node is not content:
        del node[key]
    elif kind == 4 and isinstance(node, list):
        node.append(node[key])
    elif isinstance(node, dict):
        node[str(rng.choice(["x", "id", "split", "version"]))] = node[key]
    lines[row] = json.dumps(content[0])
    if rng.randrange(30) == 0:
        lines[row] = "[" * 100_000 + lines[row]
    _write(path, "\n".join(lines).encode("utf-8", "surrogatepass"))


def edit_arrays(path: Path, rng: random.Random) -> None:
    """Gives an array of an .npz or .npy file other values, another shape or another type."""
    loaded = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    is_archive = isinstance(loaded, np.lib.npyio.NpzFile)
    arrays = dict(loaded) if is_archive else {"array": np.asarray(loaded)}
    name = rng.choice(sorted(arrays))
    array = arrays[name]
    kind = rng.randrange(7)
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[name] = array[..., :-1] if array.ndim else array
    elif kind == 2:
        arrays[name] = array[:-1] if array.ndim else array[np.newaxis]
    elif kind == 3:
        arrays[name] = np.full(array.shape, rng.choice([np.nan, np.inf, -1, 1e30]))
    elif kind == 4:
        arrays[name] = np.full(array.shape, "text")
    elif kind == 5:
        arrays[name] = np.zeros([0, *array.shape[1:]], array.dtype)
    else:
        arrays["further"] = array
    buffer = io.BytesIO()
    if is_archive:
        np.savez(buffer, **arrays)
    else:
        np.save(buffer, next(iter(arrays.values()), np.zeros(1)))
    _write(path, buffer.getvalue())


def edit_image(path: Path, rng: random.Random) -> None:
    """Writes an image in another mode, size and format, below the same name."""
    with Image.open(path) as opened:
        image = opened.convert(
            rng.choice(["RGB", "L", "RGBA", "P", "CMYK", "I;16", "1", "LA", "F"])
        )
    image = image.resize(rng.choice([(1, 1), (1, 900), (900, 1), (33, 7), image.size]))
    kind = rng.choice(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "ICO", "PDF"])
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"exif": rng.randbytes(40)} if rng.randrange(4) == 0 else {}))
    _write(path, buffer.getvalue())


def _key(node: Any, rng: random.Random) -> Any:
    return rng.choice(sorted(node)) if isinstance(node, dict) else rng.randrange(len(node))


def _write(path: Path, data: bytes) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.write_bytes(data)


_BY_SUFFIX: dict[str, list[Mutation]] = {
    suffix: mutations
    for suffixes, mutations in (
        ((".txt", ".csv", ".tsv", ".token"), [edit_text]),
        ((".json", ".jsonl"), [edit_json, edit_json, edit_text]),
        ((".npz", ".npy"), [edit_arrays]),
        ((".jpg", ".png"), [edit_image]),
    )
    for suffix in suffixes
}
