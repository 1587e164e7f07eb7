"""Last stage: exports the models as a SavedModel, `saved_model/1/` in the run directory."""

from typing import Any, TypedDict

from visem_tf.config import Config, differences
from visem_tf.config.recorded import READOUT_FIELDS, SEARCH_FIELDS, current_fields
from visem_tf.errors import UserError
from visem_tf.export.description import check_exportable
from visem_tf.export.saved_model.writer import export_saved_model
from visem_tf.runs.context import Context
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.runtime.json_files import parse_json
from visem_tf.runtime.streams import warn


class _Export(TypedDict):
    config: dict[str, Any]


def run(context: Context) -> dict[str, Any]:
    """Exports a run; if its proposer cannot be exported, prints a warning instead.

    Args:
        context: Context of a run with trained models.

    Returns:
        Names of the signatures, and the reasons for those that are missing.
    """
    trained = TrainedRun(context.run, context.config)
    try:
        check_exportable(trained)
    except UserError as error:
        warn(f"no export: {error}")
        return {"signatures": [], "reason": str(error)}
    export = export_saved_model(trained, context.run / "saved_model", version=1)
    return {
        "path": str(export.path.relative_to(context.run.path)),
        "signatures": list(export.description["signatures"]),
        "left_out": export.description["left_out"],
    }


def is_outdated(context: Context) -> bool:
    """Returns whether the export is lost, or searches or scores in another way than configured."""
    path = context.run / "saved_model" / "1" / "export.json"
    if not path.is_file():
        return bool(context.run.summary("export").get("signatures"))
    try:
        fields = parse_json(path.read_bytes(), _Export)["config"]
        recorded = Config().updated(current_fields(fields))
    except (ValueError, UserError):  # damaged: it is written again
        return True
    fields = (*SEARCH_FIELDS, *READOUT_FIELDS)
    return any(name in fields for name in differences(recorded, context.config))
