"""Loads a trained model; TensorFlow is imported when it is called."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from visem_tf.errors import UserError
from visem_tf.runtime.startup import run_first_operation, start_tensorflow
from visem_tf.runtime.storage import PathLike

if TYPE_CHECKING:
    from visem_tf.config import Config
    from visem_tf.loaded_model import LoadedModel


def load(model: PathLike | None = None, config: Config | None = None) -> LoadedModel:
    """Loads a trained model.

    Args:
        model: Run directory or published model on any storage, `hf://owner/name`, or the name of a
            packaged model; None is the packaged model `flickr8k`.
        config: Configuration to use instead of the recorded one, e.g. with another beam size. The
            number of threads has no effect if TensorFlow has already started.

    Returns:
        The model, which describes, grounds, searches and embeds images.

    Raises:
        UserError: There is no such model, it is damaged or of a newer format, the hub cannot be
            reached, or `config` changes what was trained.

    Example:
        >>> import visem_tf
        >>> visem_tf.load("nowhere")
        Traceback (most recent call last):
        ...
        visem_tf.errors.UserError: there is no folder and no packaged model nowhere
    """
    start_tensorflow()
    from visem_tf.config.recorded import changes_of_models
    from visem_tf.loaded_model import LoadedModel
    from visem_tf.runs.trained_run import TrainedRun
    from visem_tf.runtime.devices import use_threads
    from visem_tf.runtime.model_places import find_model

    if config is not None:
        with contextlib.suppress(UserError):
            use_threads(config.compute.threads)
    run_first_operation()
    run = TrainedRun(find_model(model), config)
    if config is not None and (changed := changes_of_models(run.run.recorded_config(), config)):
        raise UserError(
            f"the models of {run.run.address} are trained, so {', '.join(changed)} cannot change; "
            "leave them out, and --preset and --config if they set them"
        )
    return LoadedModel(run)
