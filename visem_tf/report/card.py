"""The card of a published model: its data, figures and versions."""

from collections.abc import Mapping
from typing import Any

from visem_tf.report.markdown import score_sheet
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.runtime.published import FORMAT
from visem_tf.runtime.version import __version__

_OF_OTHERS = ("comparison", "captions_file", "against")  # compared systems, with their file names


def make_card(
    run: TrainedRun, name: str, parameters: Mapping[str, int], about: str = ""
) -> dict[str, Any]:
    """Makes the card of a model, in JSON's types.

    Args:
        run: Finished run, or published model.
        name: Name of the model.
        parameters: Numbers of weights of each part.
        about: Text of the author, in Markdown: the data and their terms, limits and biases.
    """
    metrics = {k: v for k, v in run.run.metrics().items() if k not in _OF_OTHERS}
    return {
        "name": name,
        "format": FORMAT,
        "published_with": __version__,
        "about": about,
        "dataset": run.config.dataset,
        "backbone": run.config.regions.backbone,
        "proposer": run.config.regions.proposer,
        "proposer_backbone": run.config.regions.maps_backbone,
        "vocabulary": len(run.vocabulary),
        "parameters": dict(parameters),
        "versions": run.run.recorded_versions(),
        "metrics": metrics,
    }


def card_as_markdown(card: Mapping[str, Any]) -> str:
    """Formats a card for people, with the header that the Hugging Face Hub reads.

    Args:
        card: Card of `make_card`.
    """
    total = sum(card["parameters"].values())
    facts = [
        ("data set", card["dataset"]),
        ("boxes of regions", f"{card['proposer']}, {card['proposer_backbone']}"),
        ("features of regions", card["backbone"]),
        ("vocabulary", f"{card['vocabulary']:,} words"),
        *((f"weights of {part}", f"{count:,}") for part, count in card["parameters"].items()),
        ("weights in total", f"{total:,}, in 16 bits"),
        *((f"trained with {name}", version) for name, version in card["versions"].items()),
    ]
    table = "\n".join(["| | |", "|---|---|", *(f"| {what} | {value} |" for what, value in facts)])
    header = "---\nlibrary_name: visem_tf\npipeline_tag: image-to-text\n---"
    parts = [header, f"# {card['name']}", card["about"].strip(), "## Model", table]
    if card["metrics"]:
        figures = score_sheet(card["metrics"], markdown=True)
        parts.append(figures.replace("\n## ", "\n### ").replace("# ", "## Figures: ", 1))
    code = f'import visem_tf\n\nmodel = visem_tf.load("PLACE/{card["name"]}")\n'
    parts.append(f'## Use\n\n```python\n{code}print(model.describe("photo.jpg").caption)\n```')
    return "\n\n".join(filter(None, parts)).rstrip() + "\n"
