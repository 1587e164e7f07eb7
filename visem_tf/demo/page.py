"""The demo's page, on NiceGUI: drop a picture, point at regions, draw a box, type a sentence.

Texts reach the page as text: NiceGUI's labels and buttons do not read markup, and the boxes over
the picture come from a template that escapes.
"""

import base64
import functools

import fastapi
from nicegui import events, run, ui
from starlette.middleware.trustedhost import TrustedHostMiddleware

from visem_tf.demo.marks import Edges, Mark, attention_marks, colour_of, draw_marks
from visem_tf.demo.models import DemoModels, DescribedRegion, Look, OpenPicture, snippets
from visem_tf.errors import UserError
from visem_tf.report.drawing import place_in_words
from visem_tf.report.gallery import AttendedWord

MAX_UPLOAD = 60 * 1024**2
"""Bytes of a picture file, at most."""

_SMALLEST_DRAG = 0.015
_SENTENCE_LENGTH = 500


def make_app(models: DemoModels) -> fastapi.FastAPI:
    """The demo as a web application; only for requests that name this machine.

    Args:
      models: Describe; they are shared by all visitors.
    """
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    # A page elsewhere whose name was made to point here cannot read what is described here.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    ui.run_with(
        app,
        root=lambda: _Visit(models).build(),
        title="visem_tf: describe a picture",
        favicon="🔎",
        dark=None,
        language="en-US",
        show_welcome_message=False,
    )
    return app


class _Visit:
    """One visitor's page and what is on it.

    Args:
      models: Shared by all visitors.
    """

    def __init__(self, models: DemoModels) -> None:
        self.models = models
        self.picture: OpenPicture | None = None
        self.regions: list[DescribedRegion] = []
        self.looks: list[Look] = []
        self.selected: int | None = None
        self.pointed: list[Look] = []
        self.word: AttendedWord | None = None
        self.drag: tuple[float, float] | None = None

    def build(self) -> None:
        """Puts the page together."""
        ui.colors(primary="#0b5cad")
        ui.add_css(".q-uploader__subtitle { display: none }")
        with ui.column().classes("w-full max-w-6xl mx-auto p-2 gap-4"):
            ui.label("Describe a picture").classes("text-2xl").props('role="heading" aria-level=1')
            upload = ui.upload(
                label="Drop a picture here, or choose one with +",
                auto_upload=True,
                max_file_size=MAX_UPLOAD,
                on_upload=self._take,
                on_rejected=lambda: self._tell(
                    f"That is no picture, or larger than {MAX_UPLOAD // 1024**2} MB."
                ),
            )
            upload.props('accept="image/*" flat bordered').classes("w-full")
            self.upload = upload
            self.status = ui.label("").props('role="status" aria-live="polite"')
            with ui.row().classes("w-full gap-6 items-start") as self.result:
                with ui.column().classes("grow basis-80 min-w-0"):
                    self.image = ui.interactive_image(
                        on_mouse=self._mouse, events=["mousedown", "mousemove", "mouseup"]
                    ).classes("w-full cursor-crosshair select-none")
                    hint = "Click a region to select it, or drag a new box to have it described."
                    if not self.models.has_region_generator:
                        hint += (
                            " This run has no generator of region descriptions: boxes are "
                            "described as if they were whole pictures."
                        )
                    ui.label(hint).classes("text-sm opacity-70")
                    self._box_by_numbers()
                with ui.column().classes("grow basis-80 min-w-0"):
                    self.caption = ui.label("").classes("text-xl")
                    self.caption.props('role="heading" aria-level=2 data-testid=caption')
                    self.caption_words = ui.row().classes("w-full gap-0")
                    self.caption_words.props('data-testid="caption-words"')
                    self.region_list = ui.column().classes("w-full gap-1")
                    self._sentence_form()
            self.result.set_visibility(False)

    def _box_by_numbers(self) -> None:
        """The way to a new box without a mouse."""
        with ui.expansion("A box by numbers").classes("w-full"):
            ui.label("From left to right, in percent").classes("text-sm")
            across = ui.range(min=0, max=100, value={"min": 25, "max": 75})
            across.props('label aria-label="left and right border"')
            ui.label("From top to bottom, in percent").classes("text-sm")
            down = ui.range(min=0, max=100, value={"min": 25, "max": 75})
            down.props('label aria-label="top and bottom border"')

            async def describe() -> None:
                x, y = across.value, down.value
                await self._new_box(
                    (y["min"] / 100, x["min"] / 100, y["max"] / 100, x["max"] / 100)
                )

            ui.button("Describe this box", on_click=describe).props("outline no-caps")

    def _sentence_form(self) -> None:
        if not self.models.can_look:
            return
        self.sentence = ui.input("A sentence: which words look where?")
        self.sentence.classes("w-full").props(f"maxlength={_SENTENCE_LENGTH} clearable")
        self.sentence.on("keydown.enter", self._look)
        ui.button("Look", on_click=self._look).props("no-caps")
        self.look_list = ui.row().classes("w-full gap-1").props('data-testid="looks"')

    async def _take(self, event: events.UploadEventArguments) -> None:
        self._tell("Looking at it …")
        try:
            data = await event.file.read()
            picture = await run.io_bound(self.models.open, data, event.file.name)
        except UserError as error:
            self._tell(f"Cannot read {error}")
            return
        finally:
            self.upload.reset()
        self.picture, self.regions, self.looks = picture, list(picture.regions), []
        self.selected, self.pointed, self.word = None, [], None
        encoded = base64.b64encode(picture.shown).decode("ascii")
        self.image.set_source(f"data:image/jpeg;base64,{encoded}")
        self.image.props["alt"] = picture.caption
        self.caption.set_text(picture.caption or "(nothing)")
        self.result.set_visibility(True)
        self._show_caption_words()
        self._show_regions()
        if self.models.can_look:
            self.look_list.clear()
        self._draw()
        self._tell(f"{event.file.name}: {picture.caption}")

    async def _new_box(self, box: Edges) -> None:
        if self.picture is None:
            return
        self._tell("Describing the box …")
        picture = self.picture
        try:
            region = await run.io_bound(self.models.describe_box, picture, box)
        except UserError as error:
            self._tell(f"Cannot describe it: {error}")
            return
        if picture is not self.picture:  # another one was dropped meanwhile
            return
        self.regions.append(region)
        self._select(len(self.regions) - 1)
        self._tell(f"New box: {region.text or '(nothing)'}")

    async def _look(self) -> None:
        text, picture = str(self.sentence.value or ""), self.picture
        if picture is None:
            return
        try:
            looks, remarks = await run.io_bound(self.models.look, picture, text)
        except UserError as error:
            self._tell(f"Cannot look: {error}")
            return
        if picture is not self.picture:
            return
        self.looks, self.pointed, self.selected = looks, [], None
        self._show_looks()
        self._show_regions()
        self._draw()
        self._tell("; ".join(remarks) or "Point at a word to see where it looks.")

    async def _mouse(self, event: events.MouseEventArguments) -> None:
        if self.picture is None:
            return
        width, height = self.picture.size
        x = min(1.0, max(0.0, event.image_x / width))
        y = min(1.0, max(0.0, event.image_y / height))
        if event.type == "mousedown":
            self.drag = (y, x)
        elif self.drag is not None:
            box = (
                min(y, self.drag[0]),
                min(x, self.drag[1]),
                max(y, self.drag[0]),
                max(x, self.drag[1]),
            )
            large = min(box[2] - box[0], box[3] - box[1]) >= _SMALLEST_DRAG
            if event.type == "mousemove" and event.buttons:
                self._draw(Mark(box, "#000", dashed=True) if large else None)
                return
            self.drag = None
            if event.type == "mousemove":  # the button was let go outside the picture
                self._draw()
            elif large:
                await self._new_box(box)
            else:
                self._select(self._at(y, x))

    def _at(self, y: float, x: float) -> int | None:
        """The smallest region that holds a point."""
        holding = [
            ((bottom - top) * (right - left), number)
            for number, region in enumerate(self.regions)
            for top, left, bottom, right in [region.box]
            if top <= y <= bottom and left <= x <= right
        ]
        return min(holding)[1] if holding else None

    def _select(self, number: int | None) -> None:
        self.selected, self.pointed = number, []
        self._show_regions()
        self._draw()
        if number is not None:
            self._tell(f"Region {number + 1}: {self.regions[number].text or '(nothing)'}")

    def _point(self, looks: list[Look]) -> None:
        self.pointed, self.selected = looks, None
        self._draw()

    def _look_for_word(self, word: AttendedWord | None) -> None:
        self.word = word
        self._draw()
        if word:
            self._tell(f"“{word.text}” looked at: {word.spoken}")

    def _show_caption_words(self) -> None:
        """The words of the caption, where the generator looked at regions for each."""
        self.caption_words.clear()
        if self.picture is None or self.picture.looked is None:
            return
        with self.caption_words:
            ui.label("Point at a word to see what the generator looked at:").classes(
                "w-full text-sm opacity-70"
            )
            for word in self.picture.looked.words:
                button = ui.button(word.text).props("no-caps flat dense")
                for name in ("mouseenter", "focus", "click"):
                    button.on(name, functools.partial(self._look_for_word, word))
                for name in ("mouseleave", "blur"):
                    button.on(name, functools.partial(self._look_for_word, None))

    def _show_regions(self) -> None:
        self.region_list.clear()
        with self.region_list:
            for number, region in enumerate(self.regions):
                text = f"{number + 1}  {region.text or '(nothing)'}"
                button = ui.button(text, on_click=functools.partial(self._select, number))
                pressed = "true" if number == self.selected else "false"
                button.props(f'no-caps align=left flat aria-pressed="{pressed}"')
                button.style(f"border-left: 6px solid {colour_of(number)}").classes("w-full")
                if number == self.selected:
                    ui.label(
                        f"{place_in_words(region.box)}; the generator gives a word "
                        f"{100 * region.probability:.0f} % on average"
                    ).classes("text-sm opacity-70 pl-4")

    def _show_looks(self) -> None:
        self.look_list.clear()
        with self.look_list:
            for number, snippet in enumerate(snippets(self.looks)):
                with (
                    ui.row().classes("gap-0").style(f"border-bottom: 4px solid {colour_of(number)}")
                ):
                    for look in snippet:
                        note = f"{look.score:.2f}" if look.known else f"{look.score:.2f}, unknown"
                        button = ui.button(f"{look.word} ({note})")
                        button.props("no-caps flat dense")
                        for name in ("mouseenter", "focus", "click"):
                            button.on(name, functools.partial(self._point, [look]))
                        for name in ("mouseleave", "blur"):
                            button.on(name, functools.partial(self._point, []))

    def _draw(self, new: Mark | None = None) -> None:
        if self.picture is None:
            return
        marks = []
        if self.word and self.picture.looked:
            marks = attention_marks(self.picture.looked, self.word)
        elif self.pointed:
            marks = [Mark(look.box, "#d6133f", look.word, filled=True) for look in self.pointed]
        elif self.looks and self.selected is None:
            for number, snippet in enumerate(snippets(self.looks)):
                text = " ".join(look.word for look in snippet)
                marks.append(Mark(snippet[0].box, colour_of(number), text))
        else:
            for number, region in enumerate(self.regions):
                chosen = number == self.selected
                faint = self.selected is not None and not chosen
                label = f"{number + 1} {region.text}" if chosen else str(number + 1)
                marks.append(
                    Mark(
                        region.box,
                        colour_of(number),
                        label,
                        filled=chosen,
                        opacity=0.35 if faint else 1.0,
                    )
                )
            marks.sort(key=lambda mark: mark.filled)
        self.image.set_content(draw_marks([*marks, *([new] if new else [])], self.picture.size))

    def _tell(self, text: str) -> None:
        self.status.set_text(text)
