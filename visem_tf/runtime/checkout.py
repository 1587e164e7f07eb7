"""Makes `visem_tf.datasets` and `visem_tf.export` importable from a checkout of the repository.

There the two packages are the folders `datasets/` and `export/` beside `visem_tf/`. A wheel
contains them inside the package and an editable install maps them, but `python -m visem_tf.fit` in
the root of a checkout finds the local `visem_tf/` first, whatever is installed. So a checkout maps
them itself, by a finder for exactly these two names: extending `visem_tf.__path__` by the root
would make every folder there importable a second time, `visem_tf.visem_tf` too.

With the root on `sys.path`, `import datasets` must not find this folder: it would shadow a
well-known library of that name, and register the builders of `visem_tf.datasets` twice. The finder
therefore skips the root when it searches for the plain name. Without the root there, it leaves the
name alone: other libraries ask `importlib.util.find_spec` whether there is a library `datasets`.
"""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

MAPPED = ("datasets", "export")


class CheckoutFinder(MetaPathFinder):
    """Finds the two mapped packages, and hides them under their plain names.

    Args:
        root: Root of the checkout, with the folders `visem_tf/`, `datasets/` and `export/`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns the spec of a mapped package, or None to leave the name to other finders."""
        package, _, name = fullname.rpartition(".")
        if name not in MAPPED or package not in ("", "visem_tf"):
            return None
        if package:
            init = self.root / name / "__init__.py"
            return importlib.util.spec_from_file_location(
                fullname, init, submodule_search_locations=[str(init.parent)]
            )
        others = [entry for entry in sys.path if Path(entry or ".").resolve() != self.root]
        if len(others) == len(sys.path):  # there is nothing to hide
            return None
        spec = PathFinder.find_spec(fullname, others, target)
        for finder in sys.meta_path:
            if spec is None and finder not in (self, PathFinder):
                spec = finder.find_spec(fullname, None, target)
        if spec is None:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return spec


def install() -> None:
    """Installs the finder, once, if this `visem_tf` belongs to a checkout."""
    package = Path(__file__).resolve().parents[1]
    root = package.parent
    is_checkout = (
        not (package / "datasets").is_dir()
        and (root / "datasets" / "__init__.py").is_file()
        and (root / "pyproject.toml").is_file()
    )
    # Compared by name, since reloading this module creates a new class.
    if is_checkout and not any(type(f).__name__ == "CheckoutFinder" for f in sys.meta_path):
        sys.meta_path.insert(0, CheckoutFinder(root))


def defer_to_library(name: str) -> None:
    """Imports the library of a name, if there is one, instead of a folder of the checkout.

    The folder's own `__init__.py` calls this if it was found as `datasets` in the root of a
    checkout, instead of as `visem_tf.datasets`.

    Args:
        name: "datasets" or "export".

    Raises:
        ModuleNotFoundError: No other module has the name.
    """
    install()
    del sys.modules[name]
    importlib.import_module(name)
