import os
from pathlib import Path

import pytest

from visem_tf.errors import UserError
from visem_tf.images.find import find_images


def test_folders_are_searched_in_order_and_named_files_taken_as_they_are(tmp_path: Path):
    (tmp_path / "below" / ".thumbnails").mkdir(parents=True)
    for name in ("b.PNG", "below/a.jpeg", "below/.thumbnails/x.jpg", "read.me", "z.webp"):
        (tmp_path / name).touch()
    found = find_images([tmp_path / "read.me", tmp_path, tmp_path / "z.webp"])
    names = [path.relative_to(tmp_path).as_posix() for path in found]
    assert names == ["read.me", "b.PNG", "below/a.jpeg", "z.webp"]


@pytest.mark.skipif(os.name != "posix", reason="links need rights on other systems")
def test_links_to_folders_are_followed_and_circles_are_not(tmp_path: Path):
    root, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    for folder in (root / "real", elsewhere / "part"):
        folder.mkdir(parents=True)
    for name in ("data/real/a.jpg", "elsewhere/b.jpg", "elsewhere/part/c.jpg", "outside.jpg"):
        (tmp_path / name).touch()
    links = {"here": "real", "linked": elsewhere, "again": elsewhere, "up": "..", "self": "."}
    for name, target in links.items():
        (root / name).symlink_to(target)
    (elsewhere / "back").symlink_to(root)
    (elsewhere / "part" / "above").symlink_to("../..")
    (root / "broken").symlink_to("absent")
    names = [path.relative_to(root).as_posix() for path in find_images([root])]
    assert names == ["again/b.jpg", "again/part/c.jpg", "real/a.jpg"]
    assert len(find_images([root / "linked"])) == 3


def test_mistakes_are_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"there is no image .*absent"):
        find_images([tmp_path / "absent"])
    with pytest.raises(UserError, match=r"no image in the folder .*\.jpg"):
        find_images([tmp_path])


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read all folders")
def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path):
    tmp_path.chmod(0)
    with pytest.raises(UserError, match="cannot read the folder"):
        find_images([tmp_path])
