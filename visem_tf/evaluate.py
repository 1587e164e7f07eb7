"""Evaluates a finished run again: ranking, full-frame descriptions, regions (section 4).

python -m visem_tf.evaluate --run-dir runs/f8k --split test
python -m visem_tf.evaluate --run-dir runs/f8k --json figures.json
python -m visem_tf.evaluate --run-dir runs/f8k --compare runs/f8k-frame
python -m visem_tf.evaluate --run-dir runs/f8k --captions other_program.json
python -m visem_tf.evaluate --run-dir runs/f8k --against vectors.npz
python -m visem_tf.evaluate --data-dir Flickr8k --to results

The last line evaluates the model in the package and writes a run directory. The two lines before it
also work without a run, on references in COCO's format and on vectors that name the image of every
sentence.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from visem_tf.cli import parse_arguments, run_command
from visem_tf.config import Config
from visem_tf.config.options import make_parser, option, short_for
from visem_tf.errors import UserError
from visem_tf.metrics.caption_files import match_captions, read_captions, read_references
from visem_tf.metrics.embedding_files import Vectors, read_vectors
from visem_tf.metrics.java import java_reason
from visem_tf.runs.run_view import run_view
from visem_tf.runtime.files import temporary_folder
from visem_tf.runtime.json_files import write_json
from visem_tf.runtime.outputs import output_file
from visem_tf.runtime.published import is_published
from visem_tf.runtime.startup import start_tensorflow
from visem_tf.runtime.storage import absolute, as_path
from visem_tf.runtime.streams import warn


class Options:
    """Options of the command."""

    split = short_for("evaluate.split")
    """Short for --evaluate.split."""
    compare = option("RUN")
    """Another run, evaluated on the same split: differences, their 95 % intervals and a paired test
    (default: none)."""
    captions = option("FILE")
    """Captions of the split's images from any program, to be scored by the same code: COCO results
    or neuraltalk's result_struct.json (default: none)."""
    references = option("FILE")
    """Sentences in COCO's captions format; with --captions and without --run-dir."""
    against = option("FILE.npz")
    """Embeddings from another program, to be ranked by the same code; docs/evaluation.md lists the
    arrays (default: none)."""
    to = option("DIR")
    """For a published model, which stays as it is: the run directory of the results (default:
    none)."""
    json = option("FILE", type=output_file)
    """Write the metrics only into this file, and leave the run as it is, which may be read-only
    (default: metrics.json of the run)."""


def main(argv: Sequence[str] | None = None) -> None:
    """Rewrites `metrics.json`, `metrics.md` and the captions of the run, and prints the scores.

    Args:
        argv: Arguments; None takes those of this process.

    Raises:
        UserError: A mistake of the user, or a run whose models are not trained yet.
    """
    parser = make_parser(
        "evaluate", "Evaluates a finished run and rewrites its metrics.json.", Options
    )
    files = ("references", "against")
    config, options = parse_arguments(parser, argv, finished_run=True, unless=files)
    captions = read_captions(options.captions) if options.captions else None
    vectors = read_vectors(options.against) if options.against else None
    if options.captions and (reason := java_reason()):
        warn(f"captions are not scored: {reason}")
    if not getattr(options, "run_dir", "") and any(getattr(options, name) for name in files):
        _evaluate_files(options, captions, vectors, config)
    elif options.references:
        raise UserError("--references is for captions without --run-dir; a run has its own")
    else:
        with _results_folder(config.run_dir, options) as folder:
            metrics = _evaluate_run(options, captions, vectors, config, folder)
        if options.json:
            write_json(options.json, metrics)
        written = options.json or f"{folder}/metrics.json, {folder}/metrics.md"
        print(f"\nwritten: {written}")


@contextlib.contextmanager
def _results_folder(model: str, options: Any) -> Iterator[str]:
    """Yields the run directory of the results, which is temporary with `--json`."""
    is_model = is_published(as_path(model))
    if is_model and not (options.to or options.json):
        raise UserError(
            f"{model} is a published model; give --to, a folder for its results, or --json (its "
            "card has the figures of its training)"
        )
    if options.to and not is_model:
        raise UserError("--to is for published models; the results of a run are written into it")
    if options.to and options.json:
        raise UserError("--to and --json exclude each other; a folder has metrics.json, too")
    if options.json and is_model:
        with temporary_folder() as folder:
            yield str(folder)
    elif options.json:
        with run_view(model) as view:
            yield str(view)
    else:
        yield absolute(options.to) if is_model else model


def _evaluate_run(
    options: Any,
    captions: dict[str, str] | None,
    vectors: Vectors | None,
    config: Config,
    folder: str,
) -> dict[str, Any]:
    """Evaluates a run, and compares it with another run, captions or vectors.

    Returns:
        Content of `metrics.json`.
    """
    model, is_model = config.run_dir, is_published(as_path(config.run_dir))
    stages = ["features", "evaluate"] if is_model else ["evaluate"]
    alone = {"strategy": "none", "replicas": 0}  # there is nothing to distribute
    config = config.updated({"run_dir": folder, "stages": stages, "distribute": alone})
    start_tensorflow()
    from visem_tf.report.markdown import score_sheet
    from visem_tf.runs.opening import open_run
    from visem_tf.runs.run_directory import RunDirectory
    from visem_tf.runs.unpacking import unpack
    from visem_tf.stages import run_stages
    from visem_tf.stages.compare_systems import (
        compare_runs,
        evaluate_caption_file,
        evaluate_vectors,
        read_run_evidence,
    )
    from visem_tf.stages.evaluate import finished_metrics, write_metrics

    if is_model:
        unpack(model, config)
    run = RunDirectory(config.run_dir)
    for names in (("features",), ("align", "generate")):
        if not any(run.is_done(name) or name in stages for name in names):
            raise UserError(
                f"stage {' or '.join(names)} is not finished in {model}; run python -m "
                "visem_tf.fit first"
            )
    other = read_run_evidence(options.compare, config.evaluate.split) if options.compare else None
    context = open_run(config)
    split = context.data.splits[config.evaluate.split]
    if captions is not None:
        where = f"{options.captions}, split {split.name}"
        captions = match_captions(captions, split.image_ids, split.file_names, where)
    metrics = None
    if options.compare or captions is not None or vectors is not None:
        metrics = finished_metrics(context)
    if metrics is None:
        run_stages(context, again=["evaluate"])
        metrics = context.run.metrics()
    own = read_run_evidence(run.path, split.name)
    if other is not None:
        metrics["comparison"] = compare_runs(own, other, options.compare, config)
    if captions is not None:
        training = context.data.splits["train"].sentences
        metrics["captions_file"] = evaluate_caption_file(
            captions, options.captions, split.references(), config, training, own
        )
    if vectors is not None:
        metrics["against"] = evaluate_vectors(
            vectors, options.against, config, split.image_index, own
        )
    write_metrics(context, metrics)
    print(score_sheet(metrics), end="")
    return metrics


def _evaluate_files(
    options: Any, captions: dict[str, str] | None, vectors: Vectors | None, config: Config
) -> None:
    """Scores captions and vectors from files, without a run."""
    if options.compare or options.to or options.json or hasattr(options, "evaluate.split"):
        raise UserError("--compare, --split, --to and --json need --run-dir")
    if bool(options.references) != (captions is not None):
        raise UserError("without --run-dir, --captions and --references need each other")
    references = read_references(options.references) if options.references else {}
    if captions is not None:
        names = list(references)
        where = f"{options.captions}, references {options.references}"
        captions = match_captions(captions, names, names, where)
    if vectors is not None and vectors.image_index is None:
        raise UserError(
            f"{options.against} needs image_index, the image of every sentence, or --run-dir"
        )
    start_tensorflow()
    from visem_tf.report.comparison import comparison_tables
    from visem_tf.report.markdown import table_as_text
    from visem_tf.stages.compare_systems import evaluate_caption_file, evaluate_vectors

    metrics: dict[str, Any] = {}
    if captions is not None:
        metrics["captions_file"] = evaluate_caption_file(
            captions, options.captions, references, config
        )
    if vectors is not None:
        metrics["against"] = evaluate_vectors(vectors, options.against, config)
    print("\n\n".join(table_as_text(table) for table in comparison_tables(metrics)))


if __name__ == "__main__":
    run_command(main)
