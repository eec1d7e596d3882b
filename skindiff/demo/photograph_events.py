"""The functions of the page that transfers a photograph."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from skindiff.corpora.attribute import SKIN_COLUMN
from skindiff.corpora.crops import CropKind
from skindiff.demo import pieces
from skindiff.demo.again import ORIGINAL, TONES, as_corpus, transfer_again
from skindiff.demo.asked import TransferRequest
from skindiff.demo.captions import caption, degrees, image_name
from skindiff.demo.config import MEGABYTE
from skindiff.demo.downloads import Result
from skindiff.demo.drawing import Picture, image_size
from skindiff.demo.events import DOWNLOAD, DemoEvents, Shown
from skindiff.demo.photographs import Pixels, png_bytes, read_photograph
from skindiff.demo.refusals import in_words, refusal
from skindiff.demo.seeds import read_seed
from skindiff.demo.settings import page_settings
from skindiff.demo.transferring import before, enlarged, original_part, skin_overlay, transfer
from skindiff.demo.words import ALL, ANY, type_choice
from skindiff.measures.skin.tone import image_ita
from skindiff.synthesis.asked import asked_column

STRENGTHS = (0.15, 0.3, 0.45, 0.6, 0.8)
"""Those that are shown side by side of one skin type."""
_ONCE = " (one strength)"
"""Behind a skin type, or another value: at the strength that stands in the field alone."""
_NO_SKIN = "No skin was found in it, so its tone cannot be measured or moved well."
_NOTHING = "Please upload a photograph first, or choose one of the phantoms."


class PhotographEvents:
    """The events of the page.

    Args:
        events: of the app.
    """

    def __init__(self, events: DemoEvents) -> None:
        self.events, self.config, self.files = events, events.config, events.files

    def describe(
        self, generator: str, condition: str, skin_type: str, target: str
    ) -> tuple[Any, Any, Any, str, Any]:
        """Return what the fields become when a generator is chosen: condition, type in the photograph and
        target; what it is; and the choice of what is shown."""
        condition_field, value, about = self.events.describe(generator, condition, skin_type)
        with in_words():
            attribute = self.events.cache.generator(generator).generator.attribute
        condition_field["choices"] = condition_field["choices"][1:]  # a photograph shows one
        value |= {
            "choices": [("not known", ANY), *((type_choice(name), name) for name in attribute.known)],
            "value": skin_type if skin_type in attribute.known else ANY,
            "label": f"{attribute.name.capitalize()} in the photograph",
        }
        shown = gr.update(
            choices=[(name, place) for place, name in enumerate(attribute.known)],
            value=len(attribute.known) - 1,
        )
        targets = target_choices(attribute.name, attribute.known)
        kept = target if target in [name for _, name in targets] else ALL
        return condition_field, value, gr.update(choices=targets, value=kept), about, shown

    def check(self, photograph: str | None, request: gr.Request) -> tuple[str | None, str]:
        """Judge an upload: return a copy without metadata and a line; the upload itself is deleted."""
        if photograph is None:
            return None, pieces.said("Upload a photograph, or choose one of the phantoms.")
        path = self._claim(photograph, request)
        try:
            pixels = self._read(path, request)
        except gr.Error as error:
            return None, pieces.failed(str(error.message), "photograph-photograph")
        clean = self.files.keep(str(request.session_hash), png_bytes(pixels), "photograph.png")
        if clean != photograph:
            self.files.drop(str(request.session_hash), photograph)
        height, width = pixels.shape[:2]
        said = f"{width} x {height} pixels; its metadata is removed."
        return clean, pieces.said(said, "Ready:", _minded(pixels))

    def forget(self, request: gr.Request) -> tuple[Shown, str, Any, Shown, Any, str]:
        """Take away what was generated from the photograph before: gallery, strip, zip, pairs and slider."""
        visit = self.events.visits.of(str(request.session_hash))
        visit.asked = True
        visit.results.pop("photograph", None)
        return (
            [],
            "",
            gr.update(value=None, interactive=False, label=DOWNLOAD),
            [],
            gr.update(visible=False),
            "",
        )

    def transfer(
        self,
        photograph: str | None,
        generator: str,
        condition: str,
        skin_type: str,
        target: str,
        strength: float,
        guidance: float,
        steps: int,
        seed: str,
        tone: Any,
        request: gr.Request,
    ) -> Iterator[tuple[Shown, str, str | None, str, Shown, Any]]:
        """Transfer a photograph to skin types: a gallery, measured ITA, a zip, a line, pairs and the choice
        of one.

        ``target`` is one of them, at several strengths or at one, or all.
        """
        if photograph is None:
            raise refusal(_NOTHING)
        pixels = self._read(self._claim(photograph, request), request)
        with in_words():
            number = read_seed(str(seed))
        settings = page_settings(
            "photograph", generator=generator, condition=condition, skin_type=skin_type, target=target,
            strength=float(strength), guidance=float(guidance), steps=int(steps), seed=str(number), tone=tone,
        )  # fmt: skip
        wanted = TransferRequest(
            pixels,
            generator,
            condition,
            None if skin_type == ANY else skin_type,
            () if target == ALL else (target.removesuffix(_ONCE),),
            (float(strength),) if target == ALL or target.endswith(_ONCE) else STRENGTHS,
            float(guidance),
            int(steps),
            number,
            tone,
        )
        result = Result(settings)
        work = transfer(self.events.cache, wanted)
        for line, done in self.events.watch(request, result, work, _minded(pixels)):
            shown = self.events.shown(request, result.pictures)
            if not done:
                if result.pictures:  # which a cancelled request leaves
                    self._keep(result, pixels)
                yield shown, "", None, line, [], gr.skip()
                continue
            strip, pairs = self._finished(request, result, pixels)
            yield shown, strip, self.events.zip(request, result), line, pairs, _choice(result.pictures)

    def present(
        self, request: gr.Request, result: Result, pixels: Pixels
    ) -> tuple[Shown, str, Any, str, Shown, Any]:
        """Return a finished result as the page shows it, with the words of an example."""
        strip, pairs = self._finished(request, result, pixels)
        button = gr.update(value=self.events.zip(request, result), interactive=True)
        line = pieces.said("a phantom on every skin type. Choose a photograph of your own.", "An example:")
        shown = self.events.shown(request, result.pictures)
        return shown, strip, button, line, pairs, _choice(result.pictures)

    def _finished(self, request: gr.Request, result: Result, pixels: Pixels) -> tuple[str, Shown]:
        """Return the strip and the pairs of a result, and let its zip be whole."""
        start, crop, told = self._keep(result, pixels)
        settings, rows = result.settings, [picture.row for picture in result.pictures]
        pairs = self._pairs(request, original_part(pixels, crop), start, result.pictures)
        strip = pieces.ita_strip(start, result.pictures, crop) + self._skin(request, result)
        values = list(dict.fromkeys(str(row[SKIN_COLUMN]) for row in rows)) if told else []
        strengths = list(dict.fromkeys(float(row["strength"]) for row in rows))
        word = self.events.findable(settings["generator"])
        how = transfer_again(settings, word, values, strengths, rows[0])
        strip += pieces.again(how, first="Unpack the zip. In its folder:") + self.events.link(settings)
        return strip, pairs

    def _keep(self, result: Result, pixels: Pixels) -> tuple[Picture, CropKind, bool]:
        """Let a result's zip have what stands beside its images so far; return the photograph as the
        generator sees it, by which crop, and whether the generator tells skin types."""
        with in_words():
            loaded = self.events.cache.generator(result.settings["generator"])
        size, crop = image_size(loaded), loaded.generator.crop
        start, told = before(pixels, size, crop), loaded.generator.attribute.is_skin_tone
        result.beside = _beside(pixels, start, result.pictures)
        corpus = as_corpus(result.settings, size, crop) if told else {}
        result.files = {TONES: loaded.prototypes.to_bytes(), **corpus}
        return start, crop, told

    def pair(self, number: int, shown: Shown | None) -> tuple[Any, str]:
        """Return whether there is a photograph beside one of the images generated from it, and the two."""
        if not shown or len(shown) <= number + 1:
            return gr.update(visible=False), ""
        return gr.update(visible=True), pieces.slider(shown[0], shown[number + 1])

    def _pairs(self, request: gr.Request, original: Pixels, start: Picture, after: list[Picture]) -> Shown:
        """Return the part of the original and each image at its size, with captions."""
        words = f"original · ITA {degrees(start.ita)}"
        first = self.files.keep(str(request.session_hash), png_bytes(original), "original.png")
        others = [
            self.events.one(request, picture, caption(picture), enlarged(picture.pixels, original))
            for picture in after
        ]
        return [(first, words), *others]

    def _skin(self, request: gr.Request, result: Result) -> str:
        """Return the skin that each tone was measured on, folded."""
        shown = [
            (self.files.keep(str(request.session_hash), png_bytes(pixels), name.split("/")[1]), name)
            for name, (pixels, _) in result.beside.items()
            if name.startswith("skin/")
        ]
        return pieces.overlays([path for path, _ in shown], ["the original", *map(caption, result.pictures)])

    def _claim(self, photograph: str, request: gr.Request) -> Path:
        with in_words():
            return self.files.claim(str(request.session_hash), photograph)

    def _read(self, path: Path, request: gr.Request) -> Pixels:
        try:
            with in_words():
                return read_photograph(
                    path,
                    max_bytes=int(self.config.max_upload_mb * MEGABYTE),
                    max_pixels=self.config.max_pixels,
                )
        except gr.Error:
            self.files.drop(str(request.session_hash), str(path))
            raise


def _minded(pixels: Pixels) -> str:
    """Return what is to be minded of a photograph."""
    return _NO_SKIN if image_ita(pixels) is None else ""


def _beside(pixels: Pixels, start: Picture, pictures: list[Picture]) -> dict[str, tuple[Pixels, str]]:
    """Return what goes into the zip beside the transferred images."""
    overlays = {
        f"skin/{number:03d}-{image_name(picture)}": (skin_overlay(picture.pixels), "")
        for number, picture in enumerate(pictures, 1)
    }
    return {
        ORIGINAL: (pixels, f"original · ITA {degrees(start.ita)}"),
        f"generated-from-{len(start.pixels)}px.png": (start.pixels, ""),
        "skin/000-original.png": (skin_overlay(start.pixels), ""),
        **overlays,
    }


def target_choices(name: str, values: list[str]) -> list[tuple[str, str]]:
    """Return what a photograph can be transferred to."""
    return [
        (f"all {name}s, at one strength", ALL),
        *((f"{type_choice(value)}, at one strength", f"{value}{_ONCE}") for value in values),
        *((f"{type_choice(value)}, at {len(STRENGTHS)} strengths", value) for value in values),
    ]


def _choice(pictures: list[Picture]) -> Any:
    """Return the choice of the image that is shown beside the photograph, by what the images differ in."""
    values = [str(picture.row[asked_column(picture.row.keys())]) for picture in pictures]
    names = values if len(set(values)) == len(values) else [f"{one.row['strength']:g}" for one in pictures]
    return gr.update(choices=[(name, place) for place, name in enumerate(names)], value=len(names) - 1)
