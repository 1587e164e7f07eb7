"""From what a user gives as a model to its folder: a path, an address, or a packaged model's name.

A packaged model is a published model in the folder `pretrained` of this package.
"""

import importlib.resources
from pathlib import Path

from visem_tf.config.settings import nearest
from visem_tf.errors import UserError
from visem_tf.runtime import hub
from visem_tf.runtime.published import is_published, read_card
from visem_tf.runtime.storage import AnyPath, PathLike, absolute, as_path, is_remote, reason_of

DEFAULT_MODEL = "flickr8k"
"""Name of the packaged model that is used where none is given."""


def packaged_models() -> dict[str, Path]:
    """Returns the folders of the packaged models by their names."""
    folder = Path(str(importlib.resources.files("visem_tf") / "pretrained"))
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return {path.name: path for path in found if path.is_dir() and is_published(path)}


def find_model(model: PathLike | None = None) -> AnyPath:
    """Returns the folder of a model: a run directory or a published model.

    Args:
        model: Run directory or published model on any storage; `hf://owner/name`, which is
            downloaded; or the name of a packaged model. A folder with a model comes before a
            packaged model of the same name. None is the packaged model `DEFAULT_MODEL`.

    Raises:
        UserError: If there is no such model, the nearest one is named; if the model is of a newer
            format; or if the hub cannot be reached.
    """
    packaged = packaged_models()
    if model is None:
        if DEFAULT_MODEL not in packaged:
            raise UserError(
                "this installation has no packaged model; give the folder that visem_tf.fit wrote"
            )
        return packaged[DEFAULT_MODEL]
    folder: AnyPath
    if hub.is_hub(str(model)):
        folder = hub.download(str(model))
        if not is_published(folder):
            raise UserError(f"{model} is not a model of visem_tf (it has no card.json)")
    else:
        folder = as_path(model)
        try:
            if not _is_model(folder):
                folder = packaged.get(str(model), folder)
            if not _is_model(folder):
                hint = nearest(str(model), [*packaged, *_models_beside(folder)])
                if Path(str(model)).name == str(model) and not folder.exists():
                    raise UserError(f"there is no folder and no packaged model {model}{hint}")
                raise UserError(f"{model} is not a run directory (it has no config.json){hint}")
        except OSError as error:
            raise UserError(f"cannot read {model}: {reason_of(error)}") from error
    if is_published(folder):
        read_card(folder)  # raises an error if the model is of a newer format
    return folder


def model_address(model: str) -> str:
    """Returns what names a model also from another working directory.

    Args:
        model: What a user gives, see `find_model`.
    """
    if hub.is_hub(model) or (model in packaged_models() and not _is_model(as_path(model))):
        return model
    return absolute(model)


def _is_model(folder: AnyPath) -> bool:
    return (folder / "config.json").is_file() or is_published(folder)


def _models_beside(folder: AnyPath) -> list[str]:
    """The models in the folder that was to contain a model, for suggestions."""
    try:
        if is_remote(folder) or not folder.parent.is_dir():
            return []
        return [str(path) for path in sorted(folder.parent.iterdir()) if _is_model(path)]
    except OSError:
        return []
