"""Stage report: `report.html`, and images and captions for TensorBoard.

The gallery has a third each of the images whose own sentence ranks best, of random images, and of
images whose sentence ranks worst, so that it shows success and failure alike.
"""

import json
from typing import Any, TypedDict

from visem_tf.config import Config, ReportConfig
from visem_tf.config.recorded import LOCAL_FIELDS
from visem_tf.datasets.caption_dataset import Split
from visem_tf.loaded_model import LoadedModel
from visem_tf.report.comparison import comparison_tables
from visem_tf.report.curves import Curves, training_curves
from visem_tf.report.page import Page, headline, render
from visem_tf.report.tables import metric_tables
from visem_tf.runs.context import Context
from visem_tf.runs.generators import alignment_folders, member_names, title_of
from visem_tf.runs.model_files import EVALUATE_AGAIN, cider_folder
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.runtime.files import write_atomically
from visem_tf.runtime.json_files import read_json
from visem_tf.stages.features import open_cache
from visem_tf.stages.report_gallery import make_gallery
from visem_tf.stages.report_tensorboard import write_examples, write_results, write_space


class _Caption(TypedDict):
    image_id: int | str
    caption: str


class _Progress(TypedDict):
    history: list[dict[str, float]]


def run(context: Context) -> dict[str, Any]:
    """Writes the page, and the images and metrics for TensorBoard."""
    config, metrics = context.config, context.run.metrics() or None
    name = metrics["split"] if metrics else config.evaluate.split
    split = context.data.splits[name]
    captions = _read_if_there(context, f"captions_{name}.json", list[_Caption], EVALUATE_AGAIN)
    absences = [] if captions is not None else [_why_without_captions(context)]
    by_image = {str(caption["image_id"]): caption["caption"] for caption in captions or []}
    model = LoadedModel(TrainedRun(context.run, config))
    gallery = None
    if split.regions is None:
        gallery = make_gallery(context, model, split, open_cache(context, name), by_image)
        absences += gallery.absences
    else:
        absences.append("Images: the features were computed elsewhere, without pictures.")
    images = gallery.images if gallery else []
    versions = context.run.recorded_versions()
    shown = _without_local_fields(context.run.recorded_config())
    page = Page(
        title=f"Deep visual-semantic alignments on {config.dataset}",
        facts=_facts(context, split, versions),
        headline=headline(metrics),
        tables=[*metric_tables(metrics), *comparison_tables(metrics or {})],
        curves=_curves(context),
        images=images,
        num_sentences=len(split.sentences),
        num_images=len(split.image_ids),
        absences=absences,
        configuration=json.dumps(shown, indent=2, ensure_ascii=False),
    )
    html = render(page)
    write_atomically(context.run / "report.html", html)
    write_examples(context, images)
    if metrics:
        write_results(context, metrics)
    if gallery and model.run.has("align"):
        write_space(context, model.run.grounder, gallery.regions, images)
    asked = config.report.pictures
    return {"pictures": len(images), "asked": asked, "bytes": len(html.encode())}


def is_outdated(context: Context) -> bool:
    """Whether the page is missing, older than the metrics, or has another number of images."""
    page, metrics = context.run / "report.html", context.run / "metrics.json"
    asked = context.run.summary("report").get("asked", ReportConfig().pictures)
    if not page.exists() or asked != context.config.report.pictures:
        return True
    return metrics.exists() and metrics.stat().st_mtime_ns > page.stat().st_mtime_ns


def _without_local_fields(config: Config) -> dict[str, Any]:
    """The fields of a configuration without those about files: a page may leave this machine."""
    fields = config.to_dict()
    for name in LOCAL_FIELDS:
        section, _, field = name.rpartition(".")
        del (fields[section] if section else fields)[field]
    return fields


def _facts(context: Context, split: Split, versions: dict[str, str | None]) -> dict[str, str]:
    config, data = context.config, context.data
    facts = {
        "Data set": config.dataset,
        "Split": f"{split.name}: {len(split.image_ids):,} images, "
        f"{len(split.sentences):,} sentences",
        "Trained on": f"{len(data.splits['train'].image_ids):,} images, "
        f"{len(data.splits['train'].sentences):,} sentences",
        "Preset": config.preset,
        "Seed": str(config.seed),
        "Regions": f"{config.regions.num_regions} per image at most, by {config.regions.proposer}; "
        f"features of {config.regions.backbone}",
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items() if version),
    }
    if data.skipped:
        facts["Skipped"] = f"{len(data.skipped):,} images that cannot be read"
    return facts


def _curves(context: Context) -> list[Curves]:
    trainings = [("Proposer", "propose", True)] if context.config.propose.epochs else []
    folders = alignment_folders(context.config.align.members)
    for number, folder in enumerate(folders, 1):
        title = f"Alignment {number}" if len(folders) > 1 else "Alignment"
        trainings.append((title, folder, True))
    if context.config.align.finetune_epochs:
        trainings.append(("Alignment and CNN", "finetune", True))
    if context.config.align.self_training_epochs:
        trainings.append(("Alignment, self-training", "self_training", True))
    settings = context.config.generate
    for name in member_names(settings):
        title = title_of(name).capitalize()
        trainings.append((title, f"generate/{name}", settings.full_frame))
        if settings.cider_epochs:
            trainings.append((f"{title}, on CIDEr", f"generate/{cider_folder(name)}", True))
    trainings.append(("Region generator", "generate/regions", settings.regions))
    joint = context.config.joint.monitor if context.config.joint.train else None
    curves = []
    for title, folder, wanted in trainings:
        name, advice = f"checkpoints/{folder}/progress.json", "delete it to leave its curve out"
        progress = _read_if_there(context, name, _Progress, advice)
        absent = "it has not been trained yet" if wanted else "the configuration leaves it out"
        history = progress["history"] if progress else []
        curves.append(training_curves(title, history, absent, joint if folder == "align" else None))
    return curves


def _why_without_captions(context: Context) -> str:
    if context.config.generate.full_frame:
        return "Captions of whole images: the stage evaluate has not written them."
    return "Captions of whole images: the configuration leaves the full-frame generator out."


def _read_if_there(context: Context, name: str, kind: Any, advice: str) -> Any:
    """Reads a JSON file of the run. Returns None if the file does not exist."""
    path = context.run / name
    return read_json(path, kind, advice) if path.exists() else None
