"""What the pages show before anybody has asked for something: made once, after the start, and never empty."""

import threading
from collections.abc import Sequence
from typing import Any

import gradio as gr

from skindiff.demo.asked import DrawRequest, TransferRequest
from skindiff.demo.downloads import Result
from skindiff.demo.drawing import draw
from skindiff.demo.events import DemoEvents
from skindiff.demo.photograph_events import PhotographEvents
from skindiff.demo.photographs import Pixels
from skindiff.demo.settings import TAB, PageSettings, page_settings
from skindiff.demo.transferring import transfer
from skindiff.demo.words import ALL
from skindiff.errors import SkindiffError
from skindiff.generators.models import BUNDLED_NAMES

_PATIENCE_SECONDS = 60.0
_SEED = 5


class Opening:
    """The first results of both pages, by the bundled generator where it is the first that is offered.

    Args:
        events: of the app.
        photograph: phantom that is transferred.
        condition: words for it.
    """

    def __init__(self, events: DemoEvents, photograph: Pixels, condition: str) -> None:
        self.events, self._photograph, self._condition = events, photograph, condition
        self._name = next(iter(events.cache.offered))
        self._drawn: Result | None = None
        self._transferred: Result | None = None
        self._ready = {page: threading.Event() for page in ("generate", "photograph")}
        self._started = False

    def start(self) -> None:
        """Make them from now on, beside the server."""
        if self.events.cache.offered[self._name] in BUNDLED_NAMES:
            self._started = True
            threading.Thread(target=self._make, daemon=True).start()

    def _make(self) -> None:
        cache, steps = self.events.cache, min(14, self.events.config.max_steps)
        try:
            settings = self._settings("generate", skin_type=ALL, images=1, steps=steps)
            wanted = DrawRequest(
                self._name, (settings["condition"],), (), 1, settings["guidance"], steps, _SEED
            )
            *_, last = draw(cache, wanted)
            self._drawn = Result(settings, last.pictures, last.total)
            self._ready["generate"].set()
            settings = self._settings("photograph", condition=self._condition, steps=steps)
            *_, last = transfer(
                cache,
                TransferRequest(self._photograph, self._name, self._condition, steps=steps, seed=_SEED),
            )
            self._transferred = Result(settings, last.pictures, last.total)
        except SkindiffError:
            return  # the demo is being closed, or its limits are too narrow for these
        finally:
            for made in self._ready.values():
                made.set()

    def _settings(self, page: str, **fields: Any) -> PageSettings:
        first = self.events.config.conditions[0]
        return page_settings(page, generator=self._name, seed=str(_SEED), **{"condition": first, **fields})

    def drawn(self, request: gr.Request) -> Sequence[Any]:
        """Return what the page that generates opens on: gallery, download, line and how it is made again."""
        result = self._awaited("generate", request)
        return [gr.skip()] * 4 if result is None else self.events.present(request, result)

    def transferred(self, request: gr.Request) -> Sequence[Any]:
        """Return what the page of photographs opens on: gallery, strip, download, line and pairs."""
        result = self._awaited("photograph", request)
        if result is None:
            return [gr.skip()] * 5
        return PhotographEvents(self.events).present(request, result, self._photograph)

    def _awaited(self, page: str, request: gr.Request) -> Result | None:
        """Return a result, None where there is none or the visitor has asked for something already."""
        if (request.query_params or {}).get(TAB):
            return None  # opened with settings of its own
        if not self._started or not self._ready[page].wait(_PATIENCE_SECONDS):
            return None
        made = self._drawn if page == "generate" else self._transferred
        visit = self.events.visits.of(str(request.session_hash))
        if made is None or page in visit.results or visit.asked:
            return None
        visit.results[page] = made
        return made
