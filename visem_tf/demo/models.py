"""The models behind the demo: they describe an image, describe a box, and ground a sentence.

All visitors share the models; a lock keeps their requests apart.
"""

import io
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from visem_tf.decoding.captioner import Captioner
from visem_tf.errors import UserError
from visem_tf.images.decode import read_image
from visem_tf.images.prepare import prepare_image
from visem_tf.regions.extractor import Regions
from visem_tf.report.descriptions import chosen_regions, word_probabilities
from visem_tf.report.drawing import Edges, as_edges, as_jpeg
from visem_tf.runs.description import Description
from visem_tf.runs.phrase_grounding import ground_sentences
from visem_tf.runs.trained_run import TrainedRun

_LONGEST_SIDE = 1024


@dataclass(frozen=True)
class DescribedRegion:
    """A region with its description.

    Attributes:
        box: Edges of the region, `rel_yxyx`.
        text: Description of the region.
        probability: Geometric mean of the probabilities of its words, 0 to 1.
    """

    box: Edges
    text: str
    probability: float


@dataclass(frozen=True)
class OpenImage:
    """An image that a visitor opened.

    Attributes:
        shown: JPEG, at most 1,024 pixels wide or high.
        size: Width and height of `shown`.
        pixels: Pixels for the CNN, float tensor [P, P, 3].
        proposed: Regions of the image, as NumPy arrays of a batch of one.
        description: Caption, boxes and attention.
        regions: Regions to show, the best first.
    """

    shown: bytes
    size: tuple[int, int]
    pixels: tf.Tensor
    proposed: Regions
    description: Description
    regions: list[DescribedRegion]


class DemoModels:
    """The models of a run, for one image at a time.

    Without a generator of region descriptions, the generator of whole images describes boxes, as if
    each were an image.

    Args:
        run: Finished run.

    Raises:
        UserError: The run has no generator of whole images.
    """

    def __init__(self, run: TrainedRun) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._grounder = run.phrase_grounder if run.has("align") else None
        self._crop_captioner: Captioner | None = None
        if not run.has("generate/regions"):
            settings = run.config.generate
            self._crop_captioner = Captioner(
                run.full_frame_generator, run.vocabulary, settings, settings.beam_size
            )
        # Trace all graphs now, so that the first visitor does not have to wait.
        image = self.open(as_jpeg(Image.new("RGB", (64, 64), "white")))
        self.describe_box(image, (0.1, 0.1, 0.9, 0.9))
        if self.can_ground:
            self.ground(image, run.vocabulary.words[-1])

    @property
    def can_ground(self) -> bool:
        """Whether the run has an alignment model, which `ground` needs."""
        return self._grounder is not None

    @property
    def has_region_generator(self) -> bool:
        """Whether the run has a generator of region descriptions."""
        return self._crop_captioner is None

    def open(self, data: bytes, name: str = "image") -> OpenImage:
        """Reads and describes an image.

        Args:
            data: Content of its file.
            name: Name of the file, for error messages.

        Raises:
            UserError: The file is not an image that can be read.
        """
        encoded = read_image(data, name)
        settings = self._run.config.regions
        pixels = prepare_image(tf.constant(encoded), settings.picture_size, settings.resolution)
        with self._lock:
            regions = self._run.extractor.extract_pixels(pixels[tf.newaxis])
            description = self._run.describe(regions)[0]
        shown = Image.open(io.BytesIO(encoded)).convert("RGB")
        shown.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        probabilities = word_probabilities(description)
        described = [
            DescribedRegion(
                as_edges(description.boxes[region]),
                description.region_captions[region],
                float(probabilities[region]),
            )
            for region in chosen_regions(description)
        ]
        return OpenImage(as_jpeg(shown, 88), shown.size, pixels, regions, description, described)

    def describe_box(self, image: OpenImage, box: Edges) -> DescribedRegion:
        """Describes a box.

        Args:
            image: Image that the box is drawn on.
            box: Box, `rel_yxyx`; clipped to the image.

        Raises:
            UserError: The box has no area inside the image.
        """
        top, left, bottom, right = edges = as_edges(np.clip(box, 0, 1))
        if bottom - top < 1e-3 or right - left < 1e-3:
            raise UserError("the box has no area inside the image")
        with self._lock:
            regions = self._run.box_extractor(
                image.pixels[tf.newaxis], [np.array([edges], np.float32)]
            )
            if self._crop_captioner:
                texts, log_probs = self._crop_captioner(regions.region_features[0, 1:])
                text, probability = texts[0], np.exp(log_probs[0] / (len(texts[0].split()) + 1))
            else:
                description = self._run.describe(regions)[0]
                text = description.region_captions[1]
                probability = word_probabilities(description)[1]
        return DescribedRegion(edges, text, float(probability))

    def ground(self, image: OpenImage, sentence: str) -> tuple[dict[str, Any], list[str]]:
        """Finds the region of every word of a sentence.

        Args:
            image: Image in which the words are grounded.
            sentence: Text that the visitor typed.

        Returns:
            Words and segments as of `ground_sentences`, and remarks on words that were left out.

        Raises:
            UserError: The sentence has no known word, or the run has no alignment model.
        """
        if self._grounder is None:
            raise UserError("the run has no alignment model")
        with self._lock:
            query = self._grounder.grounder.read(sentence)
            found = ground_sentences(self._grounder, [query], [0], image.proposed)[0]
        return found, query.remarks()
