"""What the demo asks of the models: a picture described, a box described, a sentence looked for.

Several people may use the demo at once, so whatever touches the models waits for a lock.
"""

import io
import threading
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from PIL import Image

from visem_tf.alignment.mrf import find_segments
from visem_tf.decoding.captioner import Captioner
from visem_tf.errors import UserError
from visem_tf.images.decode import read_image
from visem_tf.images.prepare import prepare_image
from visem_tf.regions.extractor import RegionExtractor, Regions
from visem_tf.regions.given_boxes import BoxExtractor
from visem_tf.report.descriptions import chosen_regions, word_probabilities
from visem_tf.report.gallery import AttendedCaption, attended_caption
from visem_tf.runs.trained_run import TrainedRun

_LONGEST_SIDE = 1024


@dataclass(frozen=True)
class DescribedRegion:
    """A region with what is said of it.

    Attributes:
      box: (ymin, xmin, ymax, xmax), relative to the picture.
      text: The description.
      probability: The geometric mean of its words' probabilities, 0 to 1.
    """

    box: tuple[float, float, float, float]
    text: str
    probability: float


@dataclass(frozen=True)
class OpenPicture:
    """A picture that somebody is looking at.

    Attributes:
      shown: JPEG, at most 1,024 pixels wide or high.
      size: Width and height of `shown`.
      pixels: float [P, P, 3], for the CNN.
      boxes: float [R, 4] of all regions, `rel_yxyx`; row 0 is the whole frame.
      embeddings: float [1, R, D], for sentences; None without an alignment model.
      caption: Of the whole picture.
      looked: What the generator looked at for its words; None if it does not look at regions.
      regions: Those worth showing, the best first.
    """

    shown: bytes
    size: tuple[int, int]
    pixels: tf.Tensor
    boxes: np.ndarray
    embeddings: np.ndarray | None
    caption: str
    looked: AttendedCaption | None
    regions: list[DescribedRegion]


@dataclass(frozen=True)
class Look:
    """A word of a sentence, and where it looks.

    Attributes:
      word: The word.
      known: Whether the training sentences had it.
      region: Position among all regions of the picture.
      box: The region's box, `rel_yxyx`.
      score: v_i . s_t.
    """

    word: str
    known: bool
    region: int
    box: tuple[float, float, float, float]
    score: float


class DemoModels:
    """The models of a run, for one picture at a time.

    Args:
      run: A finished run.

    Without a generator of region descriptions, boxes are described by the one of whole pictures, as
    if each were a picture.

    Raises:
      UserError: The run has no generator of whole pictures.
    """

    def __init__(self, run: TrainedRun) -> None:
        self._run = run
        self._crop_captioner: Captioner | None = None
        if not run.has("generate/regions"):
            settings = run.config.generate
            self._crop_captioner = Captioner(
                run.full_frame_generator, run.vocabulary, settings, settings.beam_size
            )
        self._lock = threading.Lock()
        without_proposer = run.config.regions.updated({"proposer": "none"})
        self._boxes = BoxExtractor(RegionExtractor(without_proposer, run.run.tuned_cnn))
        self._grounder = run.grounder if run.has("align") else None
        blank = io.BytesIO()
        Image.new("RGB", (64, 64), "white").save(blank, "PNG")
        picture = self.open(blank.getvalue())  # traces the graphs, before anybody waits for it
        self.describe_box(picture, (0.1, 0.1, 0.9, 0.9))
        if self.can_look:
            self.look(picture, run.vocabulary.words[-1])

    @property
    def can_look(self) -> bool:
        """Whether sentences can be looked for."""
        return self._grounder is not None

    @property
    def has_region_generator(self) -> bool:
        """Whether a generator was trained to describe regions."""
        return self._crop_captioner is None

    def open(self, data: bytes, name: str = "picture") -> OpenPicture:
        """Reads and describes a picture.

        Args:
          data: The bytes of its file.
          name: What to call it in errors.

        Raises:
          ImageError: It is no picture that can be read.
        """
        encoded = read_image(data, name)
        settings = self._run.config.regions
        pixels = prepare_image(tf.constant(encoded), settings.picture_size, settings.resolution)
        with self._lock:
            found = self._run.extractor.compiled(pixels[tf.newaxis])
            regions = Regions(*(part.numpy() for part in found))
            description = self._run.describe(regions)[0]
            embeddings = self._grounder.embed(regions.region_features) if self._grounder else None
        if embeddings is not None:
            embeddings = embeddings[:, regions.region_mask[0]]
        sureness = word_probabilities(description)
        looked = None
        if description.attention is not None:
            looked = attended_caption(description.caption, description.attention, description.boxes)
        shown, size = _small(encoded)
        return OpenPicture(
            shown,
            size,
            pixels,
            description.boxes,
            embeddings,
            description.caption,
            looked,
            [
                DescribedRegion(
                    _edges(description.boxes[region]),
                    description.region_captions[region],
                    float(sureness[region]),
                )
                for region in chosen_regions(description)
            ],
        )

    def describe_box(
        self, picture: OpenPicture, box: tuple[float, float, float, float]
    ) -> DescribedRegion:
        """Describes a box that somebody drew.

        Args:
          picture: The picture.
          box: `rel_yxyx`; cut off at the border of the picture.

        Raises:
          UserError: It has no area inside the picture.
        """
        top, left, bottom, right = np.clip(box, 0, 1).tolist()
        if bottom - top < 1e-3 or right - left < 1e-3:
            raise UserError("the box has no area inside the picture")
        edges = np.array([[top, left, bottom, right]], np.float32)
        with self._lock:
            regions = self._boxes(picture.pixels[tf.newaxis], [edges])
            if self._crop_captioner:
                texts, log_probs = self._crop_captioner(regions.region_features[0, 1:])
                text, probability = texts[0], np.exp(log_probs[0] / (len(texts[0].split()) + 1))
            else:
                description = self._run.describe(regions)[0]
                text = description.region_captions[1]
                probability = word_probabilities(description)[1]
        return DescribedRegion(_edges(edges[0]), text, float(probability))

    def look(self, picture: OpenPicture, sentence: str) -> tuple[list[Look], list[str]]:
        """Finds which words of a sentence look where.

        Args:
          picture: The picture.
          sentence: What somebody typed.

        Returns:
          A look a word, and remarks on how the sentence was read.

        Raises:
          UserError: The sentence has no word that is known, or the run has no alignment model.
        """
        if self._grounder is None or picture.embeddings is None:
            raise UserError("the run has no alignment model")
        with self._lock:
            query = self._grounder.read(sentence)
            mask = np.ones(picture.embeddings.shape[:2], bool)
            boxes = picture.boxes[np.newaxis]
            found = self._grounder.ground(picture.embeddings, mask, boxes, [query])
        unknown = set(query.unknown)
        return [
            Look(
                word,
                word not in unknown,
                int(region),
                _edges(box),
                float(score),
            )
            for word, region, score, box in zip(
                query.words, *(part[0] for part in found), strict=True
            )
        ], query.remarks()


def snippets(looks: list[Look]) -> list[list[Look]]:
    """Words that follow each other and look at one region.

    Example:
      >>> frame = (0.0, 0.0, 1.0, 1.0)
      >>> looks = [Look(word, True, n, frame, 1.0) for word, n in (("a", 2), ("dog", 2), ("in", 0))]
      >>> [[look.word for look in snippet] for snippet in snippets(looks)]
      [['a', 'dog'], ['in']]
    """
    regions = np.array([[look.region for look in looks]])
    _, first, last, _ = find_segments(regions)
    return [looks[start : stop + 1] for start, stop in zip(first, last, strict=True)]


def _small(encoded: bytes) -> tuple[bytes, tuple[int, int]]:
    picture = Image.open(io.BytesIO(encoded)).convert("RGB")
    picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return buffer.getvalue(), picture.size


def _edges(box: np.ndarray) -> tuple[float, float, float, float]:
    top, left, bottom, right = (float(edge) for edge in box)
    return top, left, bottom, right
