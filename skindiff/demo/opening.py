"""What the pages show before anybody has asked for something: made once, after the start, and never empty."""

import threading
from collections.abc import Sequence
from typing import Any

import gradio as gr

from skindiff.demo.asked import DrawRequest, TransferRequest
from skindiff.demo.compare_events import (
    CompareEvents,
    compared_images,
    conditions_of_both,
    values_asked,
    values_of_both,
)
from skindiff.demo.downloads import Result
from skindiff.demo.drawing import draw
from skindiff.demo.events import DemoEvents
from skindiff.demo.photograph_events import PhotographEvents
from skindiff.demo.photographs import Pixels
from skindiff.demo.settings import PAGES, TAB, PageSettings, page_settings
from skindiff.demo.transferring import transfer
from skindiff.demo.words import ALL, ANY
from skindiff.errors import SkindiffError

_PATIENCE_SECONDS = 60.0
_SEED = 5


class Opening:
    """The first results of the pages, by the bundled generator where it is the first that is offered, and of
    the comparison where there is a second.

    Args:
        events: of the app.
        photograph: phantom that is transferred.
        condition: words for it.
        value: type of its skin.
    """

    def __init__(self, events: DemoEvents, photograph: Pixels, condition: str, value: str) -> None:
        self.events, self._photograph, self._condition, self._value = events, photograph, condition, value
        self._name, *others = events.cache.offered
        self._second = next(iter(others), None)
        self._made: dict[str, Result] = {}
        self._ready = {page: threading.Event() for page in PAGES}
        self._started = False

    def start(self) -> None:
        """Make them from now on, beside the server."""
        if self.events.opens_on_examples:
            self._started = True
            threading.Thread(target=self._make, daemon=True).start()

    def _make(self) -> None:
        try:
            for page, make in (
                ("generate", self._draw),
                ("photograph", self._transfer),
                ("compare", self._compare),
            ):
                if found := make():
                    self._made[page] = found
                self._ready[page].set()
        except SkindiffError:
            return  # the demo is being closed, or its limits are too narrow for these
        finally:
            for made in self._ready.values():
                made.set()

    @property
    def _steps(self) -> int:
        return min(14, self.events.config.max_steps)

    def _draw(self) -> Result:
        settings = self._settings("generate", skin_type=ALL, images=1)
        wanted = DrawRequest(self._name, (settings["condition"],), (), 1, steps=self._steps, seed=_SEED)
        *_, last = draw(self.events.cache, wanted)
        return Result(settings, last.pictures, last.total)

    def _transfer(self) -> Result:
        settings = self._settings("photograph", condition=self._condition, skin_type=self._value)
        wanted = TransferRequest(
            self._photograph, self._name, self._condition, self._value, steps=self._steps, seed=_SEED
        )
        *_, last = transfer(self.events.cache, wanted)
        return Result(settings, last.pictures, last.total)

    def _compare(self) -> Result | None:
        """Return images of each generator, as many as the page asks for, of what both were taught."""
        if self._second is None:
            return None
        both = [self.events.cache.generator(name) for name in (self._name, self._second)]
        condition, known = conditions_of_both(both)[0], values_of_both(both)
        minority = both[0].generator.attribute.of_minority
        value = next((one for one in minority if one in known), None)  # as the field has it
        _, count = compared_images(self.events.config)
        settings = self._settings(
            "compare",
            second=self._second,
            condition=condition,
            skin_type=value or ANY,
            images=count,
        )
        result = Result(settings, total=2 * count)
        for name, loaded in zip((self._name, self._second), both, strict=True):
            values = values_asked(loaded, settings["skin_type"])
            wanted = DrawRequest(name, (condition,), values, count, settings["guidance"], self._steps, _SEED)
            *_, last = draw(self.events.cache, wanted)
            result.pictures += last.pictures
        return result

    def _settings(self, page: str, **fields: Any) -> PageSettings:
        first = self.events.config.conditions[0]
        own = {"condition": first, "steps": self._steps, **fields}
        return page_settings(page, generator=self._name, seed=str(_SEED), **own)

    def drawn(self, request: gr.Request) -> Sequence[Any]:
        """Return what the page that generates opens on: gallery, download, line and how it is made again."""
        result = self._awaited("generate", request)
        return [gr.skip()] * 4 if result is None else self.events.present(request, result)

    def transferred(self, request: gr.Request) -> Sequence[Any]:
        """Return what the page of photographs opens on: gallery, strip, download, line and pairs."""
        result = self._awaited("photograph", request)
        if result is None:
            return [gr.skip()] * 6
        return PhotographEvents(self.events).present(request, result, self._photograph)

    def compared(self, request: gr.Request) -> Sequence[Any]:
        """Return what the page that compares opens on: what its event gives, second, condition, type."""
        result = self._awaited("compare", request)
        return [gr.skip()] * 7 if result is None else CompareEvents(self.events).present(request, result)

    def _awaited(self, page: str, request: gr.Request) -> Result | None:
        """Return a result, None where there is none or the visitor has asked for something already."""
        if (request.query_params or {}).get(TAB):
            return None  # opened with settings of its own
        if not self._started or not self._ready[page].wait(_PATIENCE_SECONDS):
            return None
        made = self._made.get(page)
        visit = self.events.visits.of(str(request.session_hash))
        if made is None or page in visit.results or visit.asked:
            return None
        visit.results[page] = made
        return made
