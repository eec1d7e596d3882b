"""The fields that pages have in common."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from skindiff.corpora.attribute import Attribute
from skindiff.demo import pieces
from skindiff.demo.about import BUNDLED_ABOUT, LATER
from skindiff.demo.events import DOWNLOAD, DemoEvents, value_info
from skindiff.demo.settings import DESCRIBED, PAGES
from skindiff.demo.visit_events import VisitEvents
from skindiff.demo.words import ALL, ANY, type_choice
from skindiff.generators.models import BUNDLED_NAMES

DRAWING = "drawing"
"""The queue of everything that computes; one request at a time."""
QUIET: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
"""Options of events that visitors do not wait for."""
_AS_FILE = "Please upload the photograph as a file."
_TAKE_ADDRESS = """() => setTimeout(() => {
  const links = [...document.querySelectorAll("a.sd-link")].filter(one => one.offsetParent);
  if (links.length) history.replaceState(null, "", links[0].href);
}, 400)"""
"""Makes the visible link to the settings the page's address."""
_TURN_TO_RESULTS = """() => {
  for (const one of document.querySelectorAll(".sd-gallery .preview button[aria-label=Close]"))
    if (one.offsetParent) one.click();
  const line = [...document.querySelectorAll(".sd-status")].find(one => one.offsetParent);
  const place = line.getBoundingClientRect();
  if (place.top < 0 || place.bottom > innerHeight) line.scrollIntoView();
}"""
"""Closes a preview, which would go on to show another image than the one that was chosen; and brings the line
onto the screen, which says what is done or was refused."""
_RANDOM_SEED = "() => String(Math.floor(Math.random() * 2 ** 31))"


def generator_field(
    events: DemoEvents, page: str, name: str = "generator", label: str = "Generator", value: str | None = None
) -> tuple[gr.Dropdown, gr.HTML]:
    """Return the choice of a generator, and what it is under it."""
    names = list(events.cache.offered)
    custom = events.config.open_choice
    value = value or names[0]
    field = gr.Dropdown(
        names,
        value=value,
        label=label,
        allow_custom_value=custom,
        info="or type a folder or a Hub id" if custom else None,
        elem_id=f"{page}-{name}",
    )
    bundled = events.cache.offered[value] in BUNDLED_NAMES
    return field, gr.HTML(pieces.about(BUNDLED_ABOUT if bundled else LATER), padding=False)


def condition_field(
    events: DemoEvents, page: str, *, one: bool = False, value: str | None = None
) -> gr.Dropdown:
    """Return the choice of a condition, at first the one that is offered first; where ``one``, without all of
    them."""
    offered = events.config.conditions
    choices = [(name, name) for name in offered]
    every = [] if one else [("every condition, one beside the other", ALL)]
    return gr.Dropdown(
        [*every, *choices],
        value=value or offered[0],
        label="Condition",
        allow_custom_value=True,
        info="or type your own words",
        min_width=240,
        elem_id=f"{page}-condition",
    )


def attribute_of(events: DemoEvents) -> Attribute:
    """Return what the generator that is chosen first is asked for beside the condition."""
    return events.cache.attribute(next(iter(events.cache.offered)))


def value_field(
    events: DemoEvents,
    page: str,
    *,
    of_photograph: bool = False,
    every: bool = True,
    value: str | None = None,
    generators: Sequence[str] = (),
) -> gr.Dropdown:
    """Return the choice of a skin type, or another value; where no generator tells any, there is none.

    Args:
        events: of the page.
        page: its name.
        of_photograph: it is a photograph's, which may not be known.
        every: whether all of them can be chosen.
        value: that it has at first.
        generators: that are chosen at first; the first that is offered where none is given.
    """
    attribute = attribute_of(events)
    told = any(map(events.cache.takes_words, generators or list(events.cache.offered)[:1]))
    known = [(type_choice(name), name) for name in attribute.known]
    first = [("not known", ANY)] if of_photograph else [(f"all {attribute.name}s", ALL)] if every else []
    usual = ANY if of_photograph else attribute.of_minority[0]
    return gr.Dropdown(
        [*first, *known] if told else [(ANY, ANY)],
        value=(value or usual) if told else ANY,
        info=value_info(told, attribute),
        interactive=told,
        allow_custom_value=True,  # a file of settings may be for another generator; which refuses it in words
        label=attribute.name.capitalize() + (" in the photograph" if of_photograph else ""),
        min_width=240,
        elem_id=f"{page}-skin_type",
    )


def count_field(events: DemoEvents, page: str, label: str, most: int, value: int) -> gr.Slider:
    """Return how many images."""
    info = "each from a seed of its own"
    return gr.Slider(1, most, min(value, most), step=1, label=label, info=info, elem_id=f"{page}-images")


def knobs(events: DemoEvents, page: str) -> tuple[gr.Slider, gr.Slider, gr.Textbox]:
    """Return guidance, steps and seed."""
    most = events.config.max_steps
    guidance = gr.Slider(
        1, 10, 2, step=0.5, label="Guidance", info="how closely the words are followed; 1 is fastest",
        elem_id=f"{page}-guidance",
    )  # fmt: skip
    steps = gr.Slider(
        1,
        most,
        min(14, most),
        step=1,
        label="Steps",
        info="more is slower and finer",
        elem_id=f"{page}-steps",
    )
    seed = gr.Textbox(
        "0", label="Seed", info="a whole number; empty draws one at random", max_lines=1, max_length=40,
        elem_id=f"{page}-seed",
    )  # fmt: skip
    gr.Button("Random seed", size="sm").click(None, None, seed, js=_RANDOM_SEED, api_visibility="private")
    return guidance, steps, seed


@dataclass(frozen=True)
class Filled:
    """A page whose fields may be filled by a file, an address or the history.

    Attributes:
        page: its name.
        fields: in the order of its event.
        line: of the page.
        describe: gives what the fields become and what the generators are, of the fields in
            :data:`~skindiff.demo.settings.DESCRIBED`.
        said: what it gives: those fields but the generators, and what each generator is.
        opened: where its example is shown.
    """

    page: str
    fields: list[Any]
    line: gr.HTML
    describe: Callable[..., Sequence[Any]]
    said: list[Any]
    opened: list[Any]

    def follow(self, events: DemoEvents, *fillings: Any) -> "Filled":
        """Say what the generators are after each of the events that fill the fields."""
        asked = [self.fields[PAGES[self.page].index(name)] for name in DESCRIBED[self.page]]

        def described(*values: str) -> Sequence[Any]:
            return events.described(self.page, self.describe, values)

        for filling in fillings:
            done = filling.success(
                described, asked, self.said, api_visibility="private", concurrency_id=DRAWING,
                show_progress="hidden",
            )  # fmt: skip
            done.failure(_failed(events, self.page), None, self.line, **QUIET)
        return self


def load_button(events: DemoEvents, page: str, fields: list[Any], line: gr.HTML) -> Any:
    """Add the button that fills a page's fields from a ``settings.json``, and return its event."""
    button = undecoded(
        gr.UploadButton("Load settings.json", file_types=[".json"], size="sm", elem_id=f"{page}-settings")
    )

    def load(path: str | None, request: gr.Request) -> list[Any]:
        return events.fields_of(path, page, request)

    loaded = button.upload(
        load, button, fields, api_name=f"load_{page}", show_progress="hidden", concurrency_limit=2
    )
    loaded.success(lambda: pieces.said("The fields are as in the file.", "Loaded:"), None, line, **QUIET)
    loaded.failure(_failed(events, page), None, line, **QUIET)
    return loaded


def _failed(events: DemoEvents, page: str) -> Callable[[gr.Request], str]:
    def failed(request: gr.Request) -> str:
        return str(events.stop(page, cancelled=False)(request)[0])

    return failed


def buttons(label: str) -> tuple[gr.Button, gr.Button]:
    """Return the button that begins, and that which cancels; the second sleeps until something runs."""
    with gr.Row():
        go = gr.Button(label, variant="primary", scale=3, elem_id=f"go-{label.lower()}")
        return go, gr.Button("Cancel", scale=1, min_width=90, interactive=False)


def gallery(label: str, name: str, columns: int = 6) -> gr.Gallery:
    """Return a gallery of results."""
    return gr.Gallery(
        label=label,
        show_label=False,
        elem_id=name,
        elem_classes="sd-gallery",
        columns=columns,
        object_fit="contain",
        height="auto",
        interactive=False,
        buttons=["fullscreen"],
    )


def results_gallery(events: DemoEvents, page: str, label: str, name: str, columns: int = 6) -> gr.Gallery:
    """Return the gallery of a page's results, with what all its images share above it."""
    words = gr.HTML(pieces.shared("", name), padding=False)
    shown = gallery(label, name, columns)
    shown.change(VisitEvents(events).shared(page, name), None, words, **QUIET)
    return shown


def visit_gallery(
    events: DemoEvents, page: str, fields: list[Any], line: gr.HTML, words: str
) -> tuple[gr.Gallery, Any]:
    """Add the results of a page in this visit, side by side, of which one gives its settings to the fields;
    and return them with the event of it.

    Args:
        events: of the app.
        page: its name.
        fields: of the page.
        line: says ``words`` when one was chosen.
        words: what makes it again.
    """
    with gr.Accordion("This visit", open=False):
        gr.HTML('<p class="sd-about">Choose one to have its settings in the fields.</p>', padding=False)
        visit = gallery(f"Results of this visit: {page}", f"{page}-visit", columns=2)
    return visit, visit.select(VisitEvents(events).revisit(page, words), None, [*fields, line], **QUIET)


def download_button() -> gr.DownloadButton:
    """Return the button for the zip, which sleeps until there is one."""
    return gr.DownloadButton(DOWNLOAD, interactive=False)


def line_of(words: str) -> gr.HTML:
    """Return the line that says what is being done, or what failed."""
    return gr.HTML(pieces.said(words), elem_classes="sd-status")


def undecoded(field: Any) -> Any:
    """Let a field hand on the path of its file: the file is judged before anything opens it.

    (A subclass would do, but for each subclass Gradio writes a file into this package.)
    """
    fetch = field.async_move_resource_to_block_cache

    def path_of(payload: Any) -> str | None:
        if payload is not None and (not payload.path or (payload.url or "").startswith("data:")):
            raise gr.Error(_AS_FILE, print_exception=False)
        return None if payload is None else str(payload.path)

    async def only_files(url_or_file_path: str | Path | None) -> str | None:
        if str(url_or_file_path).lower().startswith(("http:", "https:")):
            raise gr.Error(_AS_FILE, print_exception=False)
        found: str | None = await fetch(url_or_file_path)
        return found

    field.preprocess = path_of
    field.async_move_resource_to_block_cache = only_files
    return field


def run(
    events: DemoEvents,
    page: str,
    go: gr.Button,
    cancel: gr.Button,
    function: Callable[..., Any],
    inputs: list[Any],
    outputs: list[Any],
    visit: gr.Gallery,
    api_name: str,
) -> Any:
    """Let a button begin a request of a page, and the buttons follow it to its end.

    Args:
        events: of the app.
        page: its name in :data:`~skindiff.demo.settings.PAGES`.
        go: begins it.
        cancel: ends it.
        function: of the request.
        inputs: its fields.
        outputs: the gallery first; the button of the download and the line among them.
        visit: the results of the page in this visit.
        api_name: of the function.
    """
    assert page in PAGES
    download = next(one for one in outputs if isinstance(one, gr.DownloadButton))
    line = next(one for one in outputs if "sd-status" in (getattr(one, "elem_classes", None) or ()))
    go.click(None, None, None, js=_TURN_TO_RESULTS, **QUIET)
    begun = go.click(events.begin(page), None, [outputs[0], download, cancel], **QUIET)
    event = begun.then(
        function,
        inputs,
        outputs,
        api_name=api_name,
        concurrency_id=DRAWING,
        show_progress="minimal",
        show_progress_on=[line],
    )
    event.success(events.finish(page), None, [download, cancel], **QUIET)
    event.success(VisitEvents(events).history(page), None, visit, **QUIET)
    event.success(None, None, None, js=_TAKE_ADDRESS, **QUIET)
    event.failure(events.stop(page, cancelled=False), None, [line, download, cancel], **QUIET)
    cancel.click(events.stop(page, cancelled=True), None, [line, download, cancel], cancels=[event], **QUIET)
    return event
