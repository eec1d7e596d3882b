"""The functions of :mod:`skindiff.demo.drawing` as Gradio's events."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr

from skindiff.corpora.crops import REGIONS, middle_taken
from skindiff.demo import theme
from skindiff.demo.config import DemoConfig
from skindiff.demo.downloads import zip_bytes
from skindiff.demo.drawing import (
    DrawRequest,
    Picture,
    Progress,
    TransferRequest,
    before,
    draw,
    image_size,
    transfer,
)
from skindiff.demo.files import SessionFiles
from skindiff.demo.generator_cache import GeneratorCache, short_names
from skindiff.demo.photographs import Pixels, png_bytes, read_photograph
from skindiff.demo.reports import report_page
from skindiff.errors import SkindiffError
from skindiff.hub.clean import without_folders

ANY_TYPE = "any"
"""Skin type, or other value, where nothing is said of it."""

Shown = list[tuple[str, str]]


class DemoEvents:
    """The events of one app.

    Args:
        config: valid settings.
        files: where what is shown lies.
    """

    def __init__(self, config: DemoConfig, files: SessionFiles) -> None:
        self.config, self.files = config, files
        self.cache = GeneratorCache(config)
        self.runs = short_names(config.runs)

    def describe(self, generator: str, skin_type: str) -> tuple[Any, Any]:
        """Return what the fields for condition and skin type become when a generator is chosen."""
        with _in_words():
            loaded = self.cache.generator(generator)
        words = loaded.takes_words
        condition = gr.update(
            choices=loaded.conditions,
            value=loaded.conditions[0],
            allow_custom_value=words,
            info=None if words else "the classes it was trained on",
        )
        attribute = loaded.generator.attribute
        return condition, gr.update(
            choices=[ANY_TYPE, *attribute.known],
            value=skin_type if words and skin_type in attribute.known else ANY_TYPE,
            label=attribute.name.capitalize(),
            interactive=words,
            info=None if words else "this generator knows no skin types",
        )

    def describe_transfer(self, generator: str, skin_type: str) -> tuple[Any, Any, Any]:
        """Return what the fields of a transfer become: those of :meth:`describe`, and what is shown."""
        condition, value = self.describe(generator, skin_type)
        value["label"] += " in the photograph"
        with _in_words():
            known = self.cache.generator(generator).generator.attribute.known
        shown = gr.update(choices=[(name, number) for number, name in enumerate(known)], value=len(known) - 1)
        return condition, value, shown

    def draw(
        self,
        generator: str,
        condition: str,
        skin_type: str,
        count: int,
        guidance: float,
        steps: int,
        seed: int,
        request: gr.Request,
    ) -> Iterator[tuple[Shown, str | None, str]]:
        """Generate images of a condition: a gallery, a zip with their provenance, and a line on progress."""
        wanted = DrawRequest(
            generator, condition, _typed(skin_type), int(count), float(guidance), int(steps), int(seed)
        )
        for pictures, line, done in self._watch(draw(self.cache, wanted)):
            yield self._shown(request, pictures), self._zip(request, pictures if done else []), line

    def check(self, photograph: str | None, request: gr.Request) -> tuple[str | None, str]:
        """Judge an upload: return a copy without metadata and a line; the upload itself is deleted."""
        if photograph is None:
            return None, theme.said("Upload a photograph, or choose one of the examples.")
        path = self._claim(photograph, request)
        try:
            pixels = self._read(path, request)
        except gr.Error as error:
            gr.Warning(str(error.message), title="Not taken")
            return None, theme.said(str(error.message), "Not taken.")
        clean = self.files.keep(_session(request), png_bytes(pixels), "photograph.png")
        if clean != photograph:
            self.files.drop(_session(request), photograph)
        height, width = pixels.shape[:2]
        return clean, theme.said(f"{width} x {height} pixels; its metadata is removed.", "Ready:")

    def transfer(
        self,
        photograph: str | None,
        generator: str,
        condition: str,
        skin_type: str,
        strength: float,
        guidance: float,
        steps: int,
        seed: int,
        tone: Any,
        request: gr.Request,
    ) -> Iterator[tuple[Shown, str, str | None, str, Shown]]:
        """Transfer a photograph to skin types I to VI: a gallery, measured ITA, a zip, a line, and pairs."""
        if photograph is None:
            raise refusal("Please upload a photograph first, or choose one of the examples.")
        pixels = self._read(self._claim(photograph, request), request)
        wanted = TransferRequest(
            pixels,
            generator,
            condition,
            _typed(skin_type),
            float(strength),
            float(guidance),
            int(steps),
            int(seed),
            tone,
        )
        for pictures, line, done in self._watch(transfer(self.cache, wanted)):
            shown = self._shown(request, pictures)
            if not done:
                yield shown, "", self._zip(request, []), line, []
                continue
            with _in_words():
                loaded = self.cache.generator(generator)
                start = before(pixels, image_size(loaded), loaded.generator.crop)
            if loaded.generator.crop in REGIONS:
                gr.Warning(middle_taken(loaded.generator.crop, "generator"), title="Cut to its middle")
            pair = [self._one(request, start, f"photograph · {theme.caption(start)}"), *shown]
            yield shown, theme.ita_strip(start, pictures), self._zip(request, pictures), line, pair

    def compare(
        self,
        first: str,
        second: str,
        condition: str,
        skin_type: str,
        count: int,
        guidance: float,
        steps: int,
        seed: int,
        request: gr.Request,
    ) -> Iterator[tuple[Shown, Shown, str | None, str]]:
        """Generate the same with two generators from the same seeds: two galleries, one zip, and a line."""
        kept: list[list[Picture]] = [[], []]
        line = ""
        for number, generator in enumerate((first, second)):
            wanted = DrawRequest(
                generator, condition, _typed(skin_type), int(count), float(guidance), int(steps), int(seed)
            )
            for pictures, line, done in self._watch(draw(self.cache, wanted)):
                kept[number] = pictures
                last = done and number == 1
                yield (
                    self._shown(request, kept[0]),
                    self._shown(request, kept[1]),
                    self._zip(request, [*kept[0], *kept[1]] if last else []),
                    line,
                )

    def report(self, run: str) -> str:
        """Return the report of a finished run as HTML."""
        if run not in self.runs:
            raise refusal("This run is not offered here.")
        with _in_words():
            return report_page(Path(self.runs[run]))

    def pair(self, number: int, shown: Shown | None) -> tuple[Any, tuple[str, str] | None]:
        """Return the photograph beside one of the images generated from it, and whether there is such a
        pair."""
        if not shown or len(shown) <= number + 1:
            return gr.update(visible=False), None
        return gr.update(visible=True), (shown[0][0], shown[number + 1][0])

    def goodbye(self, request: gr.Request) -> None:
        """Delete the files of a session that has ended."""
        self.files.release(_session(request))

    def _claim(self, photograph: str, request: gr.Request) -> Path:
        with _in_words():
            return self.files.claim(_session(request), photograph)

    def _read(self, path: Path, request: gr.Request) -> Pixels:
        try:
            with _in_words():
                return read_photograph(
                    path,
                    max_bytes=int(self.config.max_upload_mb * 1e6),
                    max_pixels=self.config.max_pixels,
                )
        except gr.Error:
            self.files.drop(_session(request), str(path))
            raise

    def _watch(self, work: Iterator[Progress]) -> Iterator[tuple[list[Picture], str, bool]]:
        """Yield pictures, the line to show, and whether that was all."""
        started = time.monotonic()
        with _in_words():
            for progress in work:
                done = len(progress.pictures) == progress.total
                line = theme.status(progress)
                if done:
                    seconds = time.monotonic() - started
                    line = theme.said(f"{progress.total} images in {seconds:.1f} s.", "Done:")
                yield progress.pictures, line, done

    def _shown(self, request: gr.Request, pictures: list[Picture]) -> Shown:
        return [self._one(request, picture, theme.caption(picture)) for picture in pictures]

    def _one(self, request: gr.Request, picture: Picture, caption: str) -> tuple[str, str]:
        name = f"{picture.row['image_id']}.png"
        return self.files.keep(_session(request), png_bytes(picture.pixels), name), caption

    def _zip(self, request: gr.Request, pictures: list[Picture]) -> str | None:
        if not pictures:
            return None
        with _in_words():
            data = zip_bytes(pictures)
        return self.files.keep(_session(request), data, "skindiff.zip")


def _session(request: gr.Request) -> str:
    return str(request.session_hash)


def _typed(value: str) -> str | None:
    return None if value == ANY_TYPE else value


def refusal(words: str) -> gr.Error:
    """Return the error that a visitor reads; nothing of it goes into the log."""
    return gr.Error(words, duration=15, title="That did not work", print_exception=False)


@contextmanager
def _in_words() -> Iterator[None]:
    """Show what a visitor can mend as words, without folders of this machine."""
    try:
        yield
    except SkindiffError as error:
        raise refusal(without_folders(str(error))) from None
