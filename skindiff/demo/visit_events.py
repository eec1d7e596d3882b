"""What can be done with the results of a visit: an image of them varied, an earlier one made again."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from skindiff.demo import pieces
from skindiff.demo.captions import caption, picture_seed, shared_words
from skindiff.demo.events import DemoEvents, Shown, session_of
from skindiff.demo.photographs import png_bytes
from skindiff.demo.settings import PAGES, PageSettings
from skindiff.demo.sheets import contact_sheet
from skindiff.demo.words import ALL
from skindiff.synthesis.asked import asked_column

_REMEMBERED = 12


class VisitEvents:
    """The events of results that a visitor has.

    Args:
        events: of the app.
    """

    def __init__(self, events: DemoEvents) -> None:
        self.events = events

    def history(self, page: str) -> Callable[[gr.Request], Shown]:
        """Return the event that gives the results of a page in this visit as a gallery, the last first."""

        def remembered(request: gr.Request) -> Shown:
            visit = self.events.visits.of(session_of(request))
            result, known = visit.results[page], visit.history.setdefault(page, [])
            sheet = png_bytes(contact_sheet([(one.pixels, caption(one)) for one in result.pictures[:6]], 3))
            known.insert(
                0, (result.settings, self.events.files.keep(session_of(request), sheet, "visit.png"))
            )
            del known[_REMEMBERED:]
            return [(path, _remembered(settings)) for settings, path in known]

        return remembered

    def revisit(self, page: str, words: str) -> Callable[[gr.SelectData, gr.Request], list[Any]]:
        """Return the event that gives the fields of an earlier result of a page, and the line with words."""

        def revisited(chosen: gr.SelectData, request: gr.Request) -> list[Any]:
            known = self.events.visits.of(session_of(request)).history[page]
            given: Any = known[min(int(chosen.index), len(known) - 1)][0]
            return [*(given[name] for name in PAGES[page]), pieces.said(words, "Ready:")]

        return revisited

    def shared(self, page: str, gallery: str) -> Callable[[gr.Request], str]:
        """Return the event that gives what all images of a page's result share."""

        def told(request: gr.Request) -> str:
            result = self.events.visits.of(session_of(request)).results.get(page)
            return pieces.shared(shared_words(result.pictures) if result else "", gallery)

        return told

    def choosable(self, request: gr.Request) -> tuple[None, Any]:
        """Return that no image is chosen of a gallery that has changed, and whether there is one to vary."""
        result = self.events.visits.of(session_of(request)).results.get("generate")
        return None, gr.update(interactive=bool(result and result.pictures))

    def vary(self, place: int | None, request: gr.Request) -> tuple[Any, Any, Any, Any, str]:
        """Return condition, skin type, count and seed that give one image of the result, and the line.

        It is the only one, but for a from-scratch generator: there no seed gives the third image alone, so
        that it is the last of three; and each condition has noises of its own.
        """
        result = self.events.visits.of(session_of(request)).results.get("generate")
        if result is None or place is None or place >= len(result.pictures):
            line = pieces.said("Click one of the images, then press this again.", "Choose an image first:")
            return *[gr.skip()] * 4, line
        picture = result.pictures[place]
        seed, value = picture_seed(picture), picture.row.get(asked_column(picture.row.keys()))
        line, count = "Change the condition, skin type, guidance or steps", 1
        if "family" in picture.row:
            line, count = "Change guidance or steps", int(picture.row["index"]) + 1
        which = "" if count == 1 else ", of which it is the last image"
        return (
            picture.row["condition"],
            value if value else gr.skip(),
            count,
            seed.partition("-")[0],
            pieces.said(f"{line}, and press Generate{which}: the noise stays.", f"Seed {seed}:"),
        )


def _remembered(settings: PageSettings) -> str:
    condition = settings["condition"]
    value = settings["target" if settings["page"] == "photograph" else "skin_type"]
    said = ("every condition" if condition == ALL else condition, "all types" if value == ALL else value)
    return " · ".join((*said, f"seed {settings['seed']}"))
