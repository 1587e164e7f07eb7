"""The last stage: the models as a SavedModel, `saved_model/1/` in the run directory."""

import sys
from typing import Any

from visem_tf.errors import UserError
from visem_tf.export.saved_model import check_exportable, export_saved_model
from visem_tf.stages import Context
from visem_tf.trained import TrainedRun


def run(context: Context) -> dict[str, Any]:
    """Exports the run; a run whose proposer cannot be exported goes without, with a warning."""
    trained = TrainedRun(context.run.path, context.config)
    try:
        if context.data.splits["train"].regions is not None:
            raise UserError("the features of this run were computed elsewhere, not from pictures")
        check_exportable(trained)
    except UserError as error:
        print(f"visem_tf: warning: no export: {error}", file=sys.stderr)
        return {"signatures": [], "reason": str(error)}
    export = export_saved_model(trained, context.run / "saved_model", version=1)
    return {
        "path": str(export.path.relative_to(context.run.path)),
        "signatures": list(export.description["signatures"]),
        "left_out": export.description["left_out"],
    }
