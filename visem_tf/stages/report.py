"""The sixth stage: `report.html`, and pictures and captions for TensorBoard.

Shows a third each of pictures whose own sentence ranks best, of any pictures and of pictures whose
sentence ranks worst, so that the page flatters nobody.
"""

import json
from typing import Any

from visem_tf.config import ReportConfig
from visem_tf.datasets.caption_dataset import Split
from visem_tf.report.comparison import comparison_tables
from visem_tf.report.curves import Curves, training_curves
from visem_tf.report.page import Page, headline, render
from visem_tf.report.tables import metric_tables
from visem_tf.runs.checkpoints import load_alignment_model, read_or_build_vocabulary
from visem_tf.runs.context import Context
from visem_tf.runs.generators import cider_folder, member_names, title_of
from visem_tf.runtime.files import write_atomically
from visem_tf.stages.features import open_cache
from visem_tf.stages.report_gallery import make_gallery
from visem_tf.stages.report_tensorboard import write_examples, write_results, write_space


def run(context: Context) -> dict[str, Any]:
    """Writes the page and the summaries."""
    name = context.config.evaluate.split
    split, metrics = context.data.splits[name], _read_json(context, "metrics.json")
    captions, absences = _captions(context, name)
    cache, vocabulary = open_cache(context, name), read_or_build_vocabulary(context)
    model = load_alignment_model(context)
    gallery = None
    if split.regions is None:
        gallery = make_gallery(context, split, cache, model, vocabulary, captions, absences)
    else:
        absences.append("Pictures: the features were computed elsewhere, without pictures.")
    pictures = gallery.pictures if gallery else []
    recorded = _read_json(context, "config.json") or {}
    page = Page(
        title=f"Deep visual-semantic alignments on {context.config.dataset}",
        facts=_facts(context, split, recorded.pop("versions", {})),
        headline=headline(metrics),
        tables=[*metric_tables(metrics), *comparison_tables(metrics or {})],
        curves=_curves(context),
        pictures=pictures,
        num_sentences=len(split.sentences),
        num_images=len(split.image_ids),
        absences=absences,
        # Without what is nobody's business but the machine's, for the page may be passed on.
        configuration=json.dumps(
            {key: value for key, value in recorded.items() if not key.endswith("_dir")},
            indent=2,
            ensure_ascii=False,
        ),
    )
    html = render(page)
    write_atomically(context.run / "report.html", html)
    write_examples(context, pictures)
    write_results(context, metrics)
    if gallery:
        write_space(context, model, vocabulary, gallery.regions, pictures)
    asked = context.config.report.pictures
    return {"pictures": len(pictures), "asked": asked, "bytes": len(html.encode())}


def is_outdated(context: Context) -> bool:
    """Whether the page is gone, older than its figures, or another number of pictures is asked."""
    page, metrics = context.run / "report.html", context.run / "metrics.json"
    asked = context.run.summary("report").get("asked", ReportConfig().pictures)
    if not page.exists() or asked != context.config.report.pictures:
        return True
    return metrics.exists() and metrics.stat().st_mtime_ns > page.stat().st_mtime_ns


def _facts(context: Context, split: Split, versions: dict[str, str | None]) -> dict[str, str]:
    config, data = context.config, context.data
    facts = {
        "Data set": config.dataset,
        "Split": f"{split.name}: {len(split.image_ids):,} pictures, "
        f"{len(split.sentences):,} sentences",
        "Trained on": f"{len(data.splits['train'].image_ids):,} pictures, "
        f"{len(data.splits['train'].sentences):,} sentences",
        "Preset": config.preset,
        "Seed": str(config.seed),
        "Regions": f"{config.regions.num_regions} a picture at most, by {config.regions.proposer}; "
        f"described by {config.regions.backbone}",
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items() if version),
    }
    if data.skipped:
        facts["Skipped"] = f"{len(data.skipped):,} images that cannot be read"
    return facts


def _curves(context: Context) -> list[Curves]:
    trainings = [("Alignment", "align", True)]
    settings = context.config.generate
    for name in member_names(settings):
        title = title_of(name).capitalize()
        trainings.append((title, f"generate/{name}", settings.full_frame))
        if settings.cider_epochs:
            trainings.append((f"{title}, on CIDEr", f"generate/{cider_folder(name)}", True))
    trainings.append(("Region generator", "generate/regions", settings.regions))
    curves = []
    for title, folder, wanted in trainings:
        progress = _read_json(context, f"checkpoints/{folder}/progress.json") or {}
        absent = "it has not been trained yet" if wanted else "the configuration leaves it out"
        curves.append(training_curves(title, progress.get("history", []), absent))
    return curves


def _captions(context: Context, split: str) -> tuple[dict[str, str], list[str]]:
    """The generated captions by image id, and why there are none."""
    results = _read_json(context, f"captions_{split}.json")
    if results is None:
        why = (
            "the stage evaluate has not written them"
            if context.config.generate.full_frame
            else "the configuration leaves the full-frame generator out"
        )
        return {}, [f"Captions of whole pictures: {why}."]
    return {result["image_id"]: result["caption"] for result in results}, []


def _read_json(context: Context, name: str) -> Any:
    """What a file of the run holds; None if there is no such file."""
    path = context.run / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
