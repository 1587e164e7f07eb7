import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def modules() -> list[str]:
    """The dotted names of all modules as users import them."""
    names = []
    for folder, package in [("visem_tf", ""), ("datasets", "visem_tf."), ("export", "visem_tf.")]:
        for file in sorted((ROOT / folder).rglob("*.py")):
            if file.name != "__main__.py":
                parts = file.relative_to(ROOT).with_suffix("").parts
                names.append(package + ".".join(parts).removesuffix(".__init__"))
    return names


@pytest.mark.parametrize("name", modules())
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0
