"""The page of the demo, made with NiceGUI: drop an image, draw a box, ground a sentence.

Texts from users are shown as text: labels and buttons of NiceGUI do not read markup, and the
template of the boxes over the image escapes their labels.
"""

import base64

import fastapi
from nicegui import events, run, ui
from starlette.middleware.trustedhost import TrustedHostMiddleware

from visem_tf.demo.marks import Mark, attention_marks, colour_of, draw_marks
from visem_tf.demo.model import DemoModel, OpenImage
from visem_tf.errors import UserError
from visem_tf.report.drawing import Edges, as_edges, place_in_words
from visem_tf.report.gallery import attended_caption
from visem_tf.report.results import Grounding, RegionDescription

MAX_UPLOAD = 60 * 1024**2
"""Largest size of an image file in bytes."""

_SMALLEST_DRAG = 0.015
_SENTENCE_LENGTH = 500
_NO_REGION_GENERATOR = (
    " This run has no generator of region descriptions: boxes are described as if they were whole "
    "images."
)


def make_app(model: DemoModel) -> fastapi.FastAPI:
    """Returns the demo as a web application that only answers requests to this machine.

    Args:
        model: Model that all visitors share.
    """
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    # Other sites whose name resolves to this machine must not read what is described here.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    ui.run_with(
        app,
        root=lambda: Visit(model).build(),
        title="visem_tf: describe an image",
        favicon="🔎",
        dark=None,
        language="en-US",
        show_welcome_message=False,
    )
    return app


class Visit:
    """The page of one visitor.

    Args:
        model: Model that all visitors share.
    """

    def __init__(self, model: DemoModel) -> None:
        self.model = model
        self.image: OpenImage | None = None
        self.openings = 0
        self.regions: list[RegionDescription] = []
        self.grounding: Grounding | None = None
        self.selected: int | None = None
        self.hovered: list[Mark] = []
        self.drag_start: tuple[float, float] | None = None
        self.status: ui.label

    def build(self) -> None:
        """Creates the elements of the page."""
        ui.colors(primary="#0b5cad")
        ui.add_css(".q-uploader__subtitle { display: none }")
        with ui.column().classes("w-full max-w-6xl mx-auto p-2 gap-4"):
            ui.label("Describe an image").classes("text-2xl").props('role="heading" aria-level=1')
            self.upload = ui.upload(
                label="Drop an image here, or choose one with +",
                auto_upload=True,
                max_file_size=MAX_UPLOAD,
                on_upload=self._open,
                on_rejected=lambda: self.status.set_text(
                    f"This is not an image, or it is larger than {MAX_UPLOAD // 1024**2} MB."
                ),
            )
            self.upload.props('accept="image/*" flat bordered').classes("w-full")
            self.status = ui.label("").props('role="status" aria-live="polite"')
            with ui.row().classes("w-full gap-6 items-start") as self.result:
                with ui.column().classes("grow basis-80 min-w-0"):
                    self.view = ui.interactive_image(
                        on_mouse=self._mouse, events=["mousedown", "mousemove", "mouseup"]
                    ).classes("w-full cursor-crosshair select-none")
                    hint = "Click a region to select it, or drag a new box to describe it."
                    if not self.model.has_region_generator:
                        hint += _NO_REGION_GENERATOR
                    ui.label(hint).classes("text-sm opacity-70")
                    self._box_by_numbers()
                with ui.column().classes("grow basis-80 min-w-0"):
                    self._caption()
                    with ui.column().classes("w-full gap-1"):
                        self._region_list()
                    if self.model.can_ground:
                        self._sentence_form()
            self.result.set_visibility(False)

    def _box_by_numbers(self) -> None:
        """Creates the form that describes a new box without a mouse."""
        with ui.expansion("A box by numbers").classes("w-full"):
            ranges = []
            for direction, edges in (
                ("left to right", "left and right"),
                ("top to bottom", "top and bottom"),
            ):
                ui.label(f"From {direction}, in percent").classes("text-sm")
                edge_range = ui.range(min=0, max=100, value={"min": 25, "max": 75})
                ranges.append(edge_range.props(f'label aria-label="{edges} border"'))

            async def describe() -> None:
                x, y = (edge_range.value for edge_range in ranges)
                edges = (y["min"], x["min"], y["max"], x["max"])
                await self._describe_box(as_edges([edge / 100 for edge in edges]))

            ui.button("Describe this box", on_click=describe).props("outline no-caps")

    def _sentence_form(self) -> None:
        self.sentence = ui.input("A sentence: which region does each word describe?")
        self.sentence.classes("w-full").props(f"maxlength={_SENTENCE_LENGTH} clearable")
        self.sentence.on("keydown.enter", self._ground)
        ui.button("Find the regions", on_click=self._ground).props("no-caps")
        with ui.row().classes("w-full gap-1").props('data-testid="grounding"'):
            self._segments()

    async def _open(self, event: events.UploadEventArguments) -> None:
        self.status.set_text("Describing the image …")
        self.openings += 1
        this = self.openings
        try:
            data = await event.file.read()
            image = await run.io_bound(self.model.open, data, event.file.name)
        except UserError as error:
            if this == self.openings:
                self.status.set_text(f"Cannot read {error}")
            return
        finally:
            if this == self.openings:
                self.upload.reset()
        if this != self.openings:  # another image was opened in the meantime
            return
        self.image, self.regions, self.grounding = image, list(image.regions), None
        self.selected, self.hovered = None, []
        encoded = base64.b64encode(image.shown).decode("ascii")
        self.view.set_source(f"data:image/jpeg;base64,{encoded}")
        self.view.props["alt"] = image.description.caption
        self.result.set_visibility(True)
        self._caption.refresh()
        self._show()
        self.status.set_text(f"{event.file.name}: {image.description.caption}")

    async def _describe_box(self, box: Edges) -> None:
        image = self.image
        if image is None:
            return
        self.status.set_text("Describing the box …")
        try:
            region = await run.io_bound(self.model.describe_box, image, box)
        except UserError as error:
            self.status.set_text(f"Cannot describe it: {error}")
            return
        if image is self.image:  # no other image was opened in the meantime
            self.regions.append(region)
            self._select(len(self.regions) - 1)
            self.status.set_text(f"New box: {region.caption or '(nothing)'}")

    async def _ground(self) -> None:
        text, image = str(self.sentence.value or ""), self.image
        if image is None:
            return
        try:
            grounding, remarks = await run.io_bound(self.model.ground, image, text)
        except UserError as error:
            self.status.set_text(f"Cannot ground it: {error}")
            return
        if image is self.image:
            self.grounding, self.hovered, self.selected = grounding, [], None
            self._show()
            self.status.set_text("; ".join(remarks) or "Point at a word to see its region.")

    async def _mouse(self, event: events.MouseEventArguments) -> None:
        if self.image is None:
            return
        width, height = self.image.size
        x = min(1.0, max(0.0, event.image_x / width))
        y = min(1.0, max(0.0, event.image_y / height))
        if event.type == "mousedown":
            self.drag_start = (y, x)
        elif self.drag_start is not None:
            start_y, start_x = self.drag_start
            box = (min(y, start_y), min(x, start_x), max(y, start_y), max(x, start_x))
            is_large = min(abs(y - start_y), abs(x - start_x)) >= _SMALLEST_DRAG
            if event.type == "mousemove" and event.buttons:
                self._draw([Mark(box, "#000", dashed=True)] if is_large else [])
                return
            self.drag_start = None
            if event.type == "mousemove":  # the button was released outside the image
                self._draw()
            elif is_large:
                await self._describe_box(box)
            else:
                self._select(self._region_at(y, x))

    def _region_at(self, y: float, x: float) -> int | None:
        """Returns the smallest region that contains a point."""
        containing = [
            ((bottom - top) * (right - left), number)
            for number, region in enumerate(self.regions)
            for top, left, bottom, right in [region.box]
            if top <= y <= bottom and left <= x <= right
        ]
        return min(containing)[1] if containing else None

    def _select(self, number: int | None) -> None:
        self.selected, self.hovered = number, []
        self._show()
        if number is not None:
            text = self.regions[number].caption or "(nothing)"
            self.status.set_text(f"Region {number + 1}: {text}")

    def _word_button(self, text: str, marks: list[Mark], status: str = "") -> None:
        """Creates a button that shows the regions of a word while it is hovered or focused."""

        def hover(marks: list[Mark], status: str) -> None:
            self.hovered = marks
            self._draw()
            if status:
                self.status.set_text(status)

        button = ui.button(text).props("no-caps flat dense")
        for name in ("mouseenter", "focus", "click"):
            button.on(name, lambda: hover(marks, status))
        for name in ("mouseleave", "blur"):
            button.on(name, lambda: hover([], ""))

    @ui.refreshable_method
    def _caption(self) -> None:
        """Shows the caption, and its words if the generator attends to regions."""
        if self.image is None:
            return
        description = self.image.description
        caption = ui.label(description.caption or "(nothing)").classes("text-xl")
        caption.props('role="heading" aria-level=2 data-testid=caption')
        attention, boxes = description.found.attention, description.boxes
        if attention is None:
            return
        ui.label("Point at a word to see the regions that the generator attended to:").classes(
            "w-full text-sm opacity-70"
        )
        words = attended_caption(description.caption, attention, boxes).words
        with ui.row().classes("w-full gap-0").props('data-testid="caption-words"'):
            for word, weights in zip(words, attention, strict=True):
                marks = attention_marks(word.text, weights, boxes)
                self._word_button(word.text, marks, f"“{word.text}” attended to: {word.spoken}")

    @ui.refreshable_method
    def _region_list(self) -> None:
        for number, region in enumerate(self.regions):
            text = f"{number + 1}  {region.caption or '(nothing)'}"
            button = ui.button(text, on_click=lambda number=number: self._select(number))
            pressed = "true" if number == self.selected else "false"
            button.props(f'no-caps align=left flat aria-pressed="{pressed}"')
            button.style(f"border-left: 6px solid {colour_of(number)}").classes("w-full")
            if number == self.selected:
                ui.label(
                    f"{place_in_words(region.box)}; mean probability of a word "
                    f"{100 * region.probability:.0f} %"
                ).classes("text-sm opacity-70 pl-4")

    @ui.refreshable_method
    def _segments(self) -> None:
        """Shows the words of the sentence, underlined in the colour of their region."""
        found = self.grounding.found if self.grounding else {"segments": []}
        for number, segment in enumerate(found["segments"]):
            underline = f"border-bottom: 4px solid {colour_of(number)}"
            with ui.row().classes("gap-0").style(underline):
                for word in found["words"][segment["first"] : segment["last"] + 1]:
                    note = f"{word['score']:.2f}" + (", unknown" if not word["known"] else "")
                    mark = Mark(as_edges(word["box"]), "#d6133f", word["word"], filled=True)
                    self._word_button(f"{word['word']} ({note})", [mark])

    def _show(self) -> None:
        """Updates the lists and the boxes over the image."""
        self._region_list.refresh()
        self._segments.refresh()
        self._draw()

    def _draw(self, new: list[Mark] | None = None) -> None:
        """Draws the boxes over the image, and a box that the visitor is drawing."""
        if self.image is None:
            return
        marks = self.hovered
        if not marks and self.grounding and self.selected is None:
            marks = [
                Mark(segment.box, colour_of(number), segment.text)
                for number, segment in enumerate(self.grounding.segments)
            ]
        elif not marks:
            marks = [self._region_mark(number) for number in range(len(self.regions))]
            marks.sort(key=lambda mark: mark.filled)
        self.view.set_content(draw_marks([*marks, *(new or [])], self.image.size))

    def _region_mark(self, number: int) -> Mark:
        region, is_selected = self.regions[number], number == self.selected
        return Mark(
            region.box,
            colour_of(number),
            f"{number + 1} {region.caption}" if is_selected else str(number + 1),
            filled=is_selected,
            opacity=1.0 if is_selected or self.selected is None else 0.35,
        )
