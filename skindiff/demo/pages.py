"""The pages of the demo: their layout. The events of their buttons are in :mod:`skindiff.demo.events`."""

from pathlib import Path
from typing import Any

import gradio as gr

from skindiff.corpora.attribute import Attribute
from skindiff.demo import theme
from skindiff.demo.drawing import MOST_SEED
from skindiff.demo.events import ANY_TYPE, DemoEvents

DRAWING = "drawing"
"""The queue of everything that computes; one request at a time."""
TONES = (
    ("by the generator's own skin colours", "prototype_colour"),
    ("by the skin colours of photographs", "colour"),
    ("by the prompt alone", "none"),
)


_QUIET: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
"""Options of events that visitors do not wait for."""
_AS_FILE = "Please upload the photograph as a file."


def draw_page(events: DemoEvents) -> None:
    """Build the page that generates by condition and skin type."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=280):
            generator = _generator(events)
            condition = _condition(events)
            skin_type = _value(events)
            count = gr.Slider(1, events.config.max_images, _some(events), step=1, label="Images")
            with gr.Accordion("Generation settings", open=False):
                knobs = _knobs(events)
            go, cancel = _buttons("Generate")
        with gr.Column(scale=2, min_width=280):
            line = _line("Choose a condition and a skin type, and press Generate.")
            gallery = _gallery("Synthetic images", "drawn")
            download = _download()
    generator.input(
        events.describe,
        [generator, skin_type],
        [condition, skin_type],
        api_name="describe",
        concurrency_id=DRAWING,
    )
    event = go.click(
        events.draw,
        [generator, condition, skin_type, count, *knobs],
        [gallery, download, line],
        api_name="draw",
        concurrency_id=DRAWING,
        show_progress="minimal",
        show_progress_on=[line],
    )
    _after(event, cancel, line, download)


def photograph_page(events: DemoEvents, examples: list[str]) -> None:
    """Build the page that transfers a photograph to the six skin types, or to a generator's own values."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=280):
            photograph = _upload(events)
            phantoms = gr.Dataset(
                components=["image"],
                samples=[[example] for example in examples],
                label="Phantoms to try (computed)",
                type="index",
            )
            strength = gr.Slider(
                0.05, 1.0, 0.3, step=0.05, label="Strength", info="how much is changed; more keeps less"
            )
            with gr.Accordion("Generation settings", open=False):
                generator = _generator(events)
                condition = _condition(events, events.config.tone_subject)
                skin_type = _value(events, "not known")
                tone = gr.Dropdown(list(TONES), value=TONES[0][1], label="How the skin tone is changed")
                knobs = _knobs(events)
            go, cancel = _buttons("Transfer")
            gr.Markdown(
                "The photograph loses its metadata, stays where this demo runs, and goes with this page.",
                elem_classes="sd-quiet",
            )
        with gr.Column(scale=2, min_width=280):
            line = _line("Upload a photograph, or choose one of the examples.")
            gallery = _gallery("Transferred images", "redrawn")
            strip = gr.HTML(label="Measured skin tone")
            pair, slider, shown = _before_and_after(events)
            download = _download()
    pairs = gr.State([], time_to_live=events.config.keep_minutes * 60)
    generator.input(
        events.describe_transfer,
        [generator, skin_type],
        [condition, skin_type, shown],
        api_visibility="private",
        concurrency_id=DRAWING,
    )
    # Not gr.Examples, whose updates would make Gradio build the image anew, without what _undecoded gave it.
    phantoms.click(lambda number: examples[number], phantoms, photograph, **_QUIET)
    photograph.upload(
        events.check, photograph, [photograph, line], api_name="check_photograph", concurrency_limit=2
    )
    event = go.click(
        events.transfer,
        [photograph, generator, condition, skin_type, strength, *knobs, tone],
        [gallery, strip, download, line, pairs],
        api_name="transfer",
        concurrency_id=DRAWING,
        show_progress="minimal",
        show_progress_on=[line],
    )
    for trigger in (pairs.change, shown.change):
        trigger(events.pair, [shown, pairs], [pair, slider], **_QUIET)
    _after(event, cancel, line, download)


def _upload(events: DemoEvents) -> gr.Image:
    """Return the field for a photograph."""
    return _undecoded(
        gr.Image(
            label="Photograph",
            sources=["upload", "clipboard"],
            type="filepath",
            image_mode=None,
            height=250,
            elem_id="photograph",
            buttons=[],
            placeholder=f"JPEG, PNG or WebP, up to {events.config.max_upload_mb:g} MB",
        )
    )


def _before_and_after(events: DemoEvents) -> tuple[gr.Group, gr.ImageSlider, gr.Radio]:
    """Return the two pictures under a slider, hidden until there are some, and the choice of the second."""
    with gr.Group(visible=False) as pair:
        slider = gr.ImageSlider(
            label="Before and after",
            show_label=False,
            height=340,
            interactive=False,
            buttons=[],
            elem_id="slider",
        )
        known = _attribute(events).known
        choices = [(name, number) for number, name in enumerate(known)]
        shown = gr.Radio(choices, value=len(known) - 1, label="After")
    return pair, slider, shown


def compare_page(events: DemoEvents) -> None:
    """Build the page that generates the same with two generators."""
    names = list(events.cache.offered)
    with gr.Row():
        first = _generator(events, "First generator")
        second = _generator(events, "Second generator", names[min(1, len(names) - 1)])
    with gr.Row():
        condition = _condition(events)
        skin_type = _value(events)
        most = max(1, events.config.max_images // 2)
        count = gr.Slider(1, most, min(4, most), step=1, label="Images of each")
    with gr.Accordion("Generation settings", open=False):
        knobs = _knobs(events)
    go, cancel = _buttons("Compare")
    line = _line("Both generators use the same seeds; any difference comes from the generators.")
    with gr.Row():
        left, right = _gallery("First", "first"), _gallery("Second", "second")
    download = _download()
    event = go.click(
        events.compare,
        [first, second, condition, skin_type, count, *knobs],
        [left, right, download, line],
        api_name="compare",
        concurrency_id=DRAWING,
        show_progress="minimal",
        show_progress_on=[line],
    )
    _after(event, cancel, line, download)


def report_page(events: DemoEvents) -> None:
    """Build the page that shows the report of a run."""
    if not events.runs:
        gr.Markdown(
            "This demo has no run. Start it with the folder of a finished run (setting `runs`) to read its "
            "report here."
        )
        return
    names = list(events.runs)
    run = gr.Dropdown(names, value=names[0], label="Run")
    page = gr.HTML(events.report(names[0]), elem_id="report")
    run.change(events.report, run, page, api_name="report", concurrency_limit=2)


def _generator(events: DemoEvents, label: str = "Generator", value: str | None = None) -> gr.Dropdown:
    names = list(events.cache.offered)
    custom = events.config.open_choice
    return gr.Dropdown(
        names,
        value=value or names[0],
        label=label,
        allow_custom_value=custom,
        info="or type a folder or a Hub id" if custom else None,
    )


def _condition(events: DemoEvents, value: str | None = None) -> gr.Dropdown:
    offered = events.config.conditions
    return gr.Dropdown(
        offered,
        value=value or offered[0],
        label="Condition",
        allow_custom_value=True,
        info="or type your own words",
    )


def _attribute(events: DemoEvents) -> Attribute:
    """Return what the generator that is chosen first is asked for beside the condition."""
    return events.cache.attribute(next(iter(events.cache.offered)))


def _value(events: DemoEvents, none: str | None = None) -> gr.Dropdown:
    """Return the choice of a skin type, or another value.

    Args:
        events: of the page.
        none: words for a photograph's value that is not known; None where images are to be generated.
    """
    attribute = _attribute(events)
    choices = [(none or ANY_TYPE, ANY_TYPE), *((name, name) for name in attribute.known)]
    label = attribute.name.capitalize() + (" in the photograph" if none else "")
    return gr.Dropdown(choices, value=ANY_TYPE if none else attribute.of_minority[0], label=label)


def _knobs(events: DemoEvents) -> tuple[gr.Slider, gr.Slider, gr.Number]:
    """Return guidance, steps and seed."""
    return (
        gr.Slider(
            1,
            10,
            2,
            step=0.5,
            label="Guidance",
            info="how closely the prompt is followed; 1 is fastest",
        ),
        gr.Slider(1, events.config.max_steps, min(14, events.config.max_steps), step=1, label="Steps"),
        gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MOST_SEED),
    )


def _buttons(label: str) -> tuple[gr.Button, gr.Button]:
    with gr.Row():
        return gr.Button(label, variant="primary", scale=3), gr.Button("Cancel", scale=1, min_width=90)


def _gallery(label: str, name: str) -> gr.Gallery:
    return gr.Gallery(
        label=label,
        show_label=False,
        elem_id=name,
        elem_classes="sd-gallery",
        columns=6,
        object_fit="contain",
        height="auto",
        interactive=False,
        buttons=["fullscreen"],
    )


def _download() -> gr.DownloadButton:
    return gr.DownloadButton("Download images and provenance (zip)", interactive=False)


def _line(words: str) -> gr.HTML:
    return gr.HTML(theme.said(words), elem_classes="sd-status")


def _undecoded(image: gr.Image) -> gr.Image:
    """Let an image hand on the path of its file: the file is judged before anything opens it.

    (A subclass would do, but for each subclass Gradio writes a file into this package.)
    """
    fetch = image.async_move_resource_to_block_cache

    def path_of(payload: Any) -> str | None:
        if payload is not None and (not payload.path or (payload.url or "").startswith("data:")):
            raise gr.Error(_AS_FILE, print_exception=False)
        return None if payload is None else str(payload.path)

    async def only_files(url_or_file_path: str | Path | None) -> str | None:
        if str(url_or_file_path).lower().startswith(("http:", "https:")):
            raise gr.Error(_AS_FILE, print_exception=False)
        return await fetch(url_or_file_path)

    image.preprocess = path_of  # type: ignore[method-assign]
    image.async_move_resource_to_block_cache = only_files  # type: ignore[method-assign]
    return image


def _after(event: Any, cancel: gr.Button, line: gr.HTML, download: gr.DownloadButton) -> None:
    """Let a request be cancelled, and its images be downloaded when it is done."""
    cancel.click(
        lambda: theme.said("The images generated so far are shown.", "Cancelled."),
        None,
        line,
        cancels=[event],
        **_QUIET,
    )
    event.success(lambda: gr.update(interactive=True), None, download, **_QUIET)


def _some(events: DemoEvents) -> int:
    return min(6, events.config.max_images)
