"""A published model in LiteRT, which describes images without TensorFlow."""

import contextlib
import os
from collections.abc import Iterator, Sequence

import numpy as np

from visem_tf.export.tflite.model import TfliteModel
from visem_tf.images.load import load_images
from visem_tf.images.read import ImageError
from visem_tf.images.sources import ImageSource
from visem_tf.report.results import ImageDescription
from visem_tf.runs.description import Description
from visem_tf.runtime.progress import progress_bar


class PreparedModel:
    """Describes images as `visem_tf.loaded_model.LoadedModel` does, by beam search as published.

    Args:
        path: TFLite file of `visem_tf.export.tflite.writer.write_prepared`.
        threads: Number of threads; 0 is the number of processor cores.

    Raises:
        UserError: The interpreter is not installed.
        ValueError: The file is damaged; also `zipfile.BadZipFile`.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int = 0) -> None:
        self._model = TfliteModel(path, threads or os.cpu_count() or 1)

    @property
    def describes_regions(self) -> bool:
        """Whether the model has a generator of region descriptions."""
        return "describe_regions_beam" in self._model.signatures

    def describe(
        self, sources: Sequence[ImageSource], failures: list[ImageError] | None = None
    ) -> Iterator[ImageDescription]:
        """Yields descriptions of images, and shows the progress.

        One image is described while the next two are read; batches would not be faster.

        Args:
            sources: The images.
            failures: List to which the errors of images that cannot be read are appended; if it is
                None, the first error is raised.

        Raises:
            ImageError: An image cannot be read, and there is no list of failures.
        """
        with (
            contextlib.closing(load_images(sources, np.asarray, 1, failures)) as batches,
            progress_bar(len(sources), "descriptions", "images") as bar,
        ):
            for images in batches:
                [source], [pixels] = images.sources, images.prepared
                described = ImageDescription(source, self._describe(pixels))
                bar.clear()
                yield described
                bar.update()

    def _describe(self, pixels: np.ndarray) -> Description:
        model = self._model
        regions = model("encode_image", image=model.squares([pixels]))
        features, real = regions["region_features"], regions["region_mask"][0]
        best = model("beam", **model.frames_of(regions))
        token_ids = best["token_ids"][:, 0]
        [caption] = model.texts(token_ids)
        attention = None
        if "attention" in model.signatures:
            found = model(
                "attention",
                region_features=features,
                region_mask=regions["region_mask"],
                token_ids=token_ids,
            )
            attention = found["attention"][0, : len(caption.split())][:, real]
        texts, log_probs, fits = [""] * len(real), np.zeros(len(real)), None
        if self.describes_regions:
            found = model("describe_regions_beam", region_features=features[0])
            token_ids = found["token_ids"][:, 0]
            texts, log_probs = model.texts(token_ids), found["log_probs"][:, 0]
            if "fit_texts" in model.signatures:
                embeddings = regions["region_embeddings"][0]
                found = model("fit_texts", region_embeddings=embeddings, token_ids=token_ids)
                fits = found["fits"][real]
        return Description(
            caption,
            float(best["log_probs"][0, 0]),
            regions["boxes"][0, real],
            [text for text, is_real in zip(texts, real, strict=True) if is_real],
            log_probs[real],
            regions["region_scores"][0, real],
            attention,
            fits,
        )
