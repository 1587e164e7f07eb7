"""Writes dummy images with texts into tar files of two images, `train-000000.tar` and so on."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from dummy_data.images import DummyImage


def write(folder: Path, images: Sequence[DummyImage]) -> None:
    """Writes the images in the format of the dataset, every other one with JSON instead of text.

    Args:
        folder: Existing folder to write into.
        images: Images to write.
    """
    for split in ("train", "val", "test"):
        part = [image for image in images if image.split == split]
        for start in range(0, len(part), 2):
            members = {}
            for number, image in enumerate(part[start : start + 2]):
                stem = Path(image.name).stem
                members[image.name] = image.jpeg
                if number:
                    members[f"{stem}.json"] = json.dumps({"captions": image.sentences}).encode()
                else:
                    members[f"{stem}.txt"] = "\n".join(image.sentences).encode()
            write_tar(folder / f"{split}-{start // 2:06d}.tar", members)


def write_tar(path: Path, members: Mapping[str, bytes]) -> None:
    """Writes a tar file.

    Args:
        path: Path of the file.
        members: Content of each member, by name.
    """
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
