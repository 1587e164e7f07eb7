"""The model behind the demo: it describes an image, describes a box, and grounds a sentence.

All visitors share the model; a lock keeps their requests apart.
"""

import threading
from dataclasses import dataclass

import numpy as np
from PIL import Image

from visem_tf.errors import UserError
from visem_tf.images.sources import ImageSource
from visem_tf.loaded_model import LoadedModel
from visem_tf.regions.extractor import Regions
from visem_tf.report.descriptions import chosen_regions
from visem_tf.report.drawing import Edges, as_edges, as_jpeg
from visem_tf.report.results import Grounding, ImageDescription, RegionDescription

_LONGEST_SIDE = 1024


@dataclass(frozen=True)
class OpenImage:
    """An image that a visitor opened.

    Attributes:
        shown: JPEG, at most 1,024 pixels wide or high.
        size: Width and height of `shown`.
        proposed: Regions of the image, as NumPy arrays of a batch of one.
        description: Caption, boxes and attention.
        regions: Regions to show, the best first.
    """

    shown: bytes
    size: tuple[int, int]
    proposed: Regions
    description: ImageDescription
    regions: list[RegionDescription]


class DemoModel:
    """A model for one image at a time.

    Without a generator of region descriptions, the generator of whole images describes boxes, as if
    each were an image.

    Args:
        model: Model with a generator of whole images.

    Raises:
        UserError: There is no generator of whole images.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._lock = threading.Lock()
        self.can_ground = model.run.has("align")
        self.has_region_generator = model.run.has("generate/regions")
        # Trace all graphs now, so that the first visitor does not have to wait.
        image = self.open(as_jpeg(Image.new("RGB", (64, 64), "white")))
        self.describe_box(image, (0.1, 0.1, 0.9, 0.9))
        if self.can_ground:
            self.ground(image, model.run.vocabulary.words[-1])

    def open(self, data: bytes, name: str = "image") -> OpenImage:
        """Reads and describes an image.

        Args:
            data: Content of its file.
            name: Name of the file, for error messages.

        Raises:
            UserError: The file is not an image that can be read.
        """
        source = ImageSource(name, data)
        with self._lock:
            [(sources, regions)] = self._model.batches([source])
            [description] = self._model.describe_batch(sources, regions)
        shown = source.image()
        shown.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        described = description.regions
        chosen = [described[n] for n in chosen_regions(description.found)]
        return OpenImage(as_jpeg(shown, 88), shown.size, regions, description, chosen)

    def describe_box(self, image: OpenImage, box: Edges) -> RegionDescription:
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
        boxes, sources = np.array([edges], np.float32), [image.description.source]
        with self._lock:
            [(_, regions)] = self._model.batches(sources, boxes_of=lambda source, size: boxes)
            if self.has_region_generator:
                return self._model.describe_batch(sources, regions)[0].regions[1]
            of_box = Regions(*(part[:, 1:] for part in regions))
            [described] = self._model.describe_batch(sources, of_box)
        return RegionDescription(edges, described.caption, described.log_prob, 1.0)

    def ground(self, image: OpenImage, sentence: str) -> tuple[Grounding, list[str]]:
        """Finds the region of every word of a sentence.

        Args:
            image: Image in which the words are grounded.
            sentence: Text that the visitor typed.

        Returns:
            The sentence with its places, and remarks on words that were left out.

        Raises:
            UserError: The sentence has no known word, or the run has no alignment model.
        """
        with self._lock:
            query = self._model.run.grounder.read(sentence)
            sources = [image.description.source]
            [[found]] = self._model.ground_batch(sources, image.proposed, [[query]])
        return found, query.remarks()
