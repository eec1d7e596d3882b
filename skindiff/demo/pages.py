"""The pages of the demo: their layout. The events of their buttons are in :mod:`skindiff.demo.events`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gradio as gr

from skindiff.demo import pieces
from skindiff.demo.compare_events import (
    SAME_SEEDS,
    SECOND_MISSING,
    SECOND_NEEDED,
    CompareEvents,
    compared_images,
)
from skindiff.demo.events import DemoEvents
from skindiff.demo.fields import (
    DRAWING,
    QUIET,
    Filled,
    attribute_of,
    buttons,
    condition_field,
    count_field,
    download_button,
    generator_field,
    knobs,
    line_of,
    load_button,
    results_gallery,
    run,
    undecoded,
    value_field,
    visit_gallery,
)
from skindiff.demo.photograph_events import PhotographEvents, target_choices
from skindiff.demo.visit_events import VisitEvents
from skindiff.demo.words import ALL, explained, swatches

TONES = (
    ("by the generator's own skin colours", "prototype_colour"),
    ("by the skin colours of photographs", "colour"),
    ("by the prompt alone", "none"),
)
_EMPTY = (None, None, None)


@dataclass(frozen=True)
class Example:
    """A phantom to try: its file, what it is called, and the words of a generator that fit it."""

    path: str
    name: str
    condition: str
    skin_type: str


def draw_page(events: DemoEvents) -> Filled:
    """Build the page that generates by condition and skin type."""
    config = events.config
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=280):
            generator, about = generator_field(events, "generate")
            condition = condition_field(events, "generate")
            # As the images are that the page opens on: one of each type.
            opened = events.opens_on_examples
            skin_type = value_field(events, "generate", value=ALL if opened else None)
            if attribute_of(events).is_skin_tone:
                gr.HTML(swatches(), padding=False)
            count = count_field(
                events,
                "generate",
                "Images of each condition and skin type",
                config.max_images,
                1 if opened else 6,
            )
            go, cancel = buttons("Generate")
            with gr.Accordion("Generation settings", open=False):
                guidance, steps, seed = knobs(events, "generate")
                place = gr.Row()
            strip = gr.Button("All six types from one seed", size="sm")
            grid = gr.Button("Every condition on every type", size="sm")
        with gr.Column(scale=2, min_width=280):
            line = line_of("Choose a condition and a skin type, and press Generate.")
            shown = results_gallery(events, "generate", "Synthetic images", "drawn")
            gr.HTML(explained("ITA"), padding=False)
            download = download_button()
            vary = gr.Button("Vary the chosen image", size="sm", interactive=False)
            again = gr.HTML(elem_id="again")
            fields = [generator, condition, skin_type, count, guidance, steps, seed]
            again_words = "The fields are as they were; Generate makes the same again."
            visit, revisited = visit_gallery(events, "generate", fields, line, again_words)
    place_of = gr.State(None)
    with place:
        loaded = load_button(events, "generate", fields, line)
    described = generator.input(
        events.describe,
        [generator, condition, skin_type],
        [condition, skin_type, about],
        api_name="describe",
        concurrency_id=DRAWING,
        show_progress="hidden",
    )
    described.failure(events.stop("generate", cancelled=False), None, [line, download, cancel], **QUIET)
    outputs = [shown, download, line, again]
    event = run(events, "generate", go, cancel, events.draw, fields, outputs, visit, "draw")
    event.success(events.about, generator, about, **QUIET)
    shown.select(_index, None, place_of, **QUIET)
    shown.change(VisitEvents(events).choosable, None, [place_of, vary], **QUIET)
    vary.click(VisitEvents(events).vary, place_of, [condition, skin_type, count, seed, line], **QUIET)
    for button, values in ((strip, (None, ALL)), (grid, (ALL, ALL))):
        _preset(button, values, go, condition, skin_type, count)
    said = [condition, skin_type, about]
    filled = Filled("generate", fields, line, events.describe, said, outputs)
    return filled.follow(events, loaded, revisited)


def _index(chosen: gr.SelectData) -> int:
    return int(chosen.index)


def _preset(
    button: gr.Button,
    values: tuple[str | None, str],
    go: gr.Button,
    condition: gr.Dropdown,
    skin_type: gr.Dropdown,
    count: gr.Slider,
) -> None:
    """Let a button set conditions and types, one image of each, and press the button that generates."""

    def chosen() -> tuple[object, object, int]:
        first = gr.skip() if values[0] is None else gr.update(value=values[0])
        return first, gr.update(value=values[1]), 1

    set_ = button.click(chosen, None, [condition, skin_type, count], **QUIET)
    set_.then(None, None, None, js=f"() => document.getElementById('{go.elem_id}').click()", **QUIET)


_PRIVACY = (
    "It stays on the machine that runs this demo, without its metadata, and is deleted when "
    "this page is closed."
)


def photograph_page(app_events: DemoEvents, examples: Sequence[Example]) -> Filled:
    """Build the page that transfers a photograph to the six skin types, or to a generator's own values."""
    events, page = PhotographEvents(app_events), "photograph"
    attribute = attribute_of(app_events)
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=280):
            # The first result is of the last example, and so is what stands in the fields.
            opened = examples[-1:] if app_events.opens_on_examples else []
            path, words, value = next(((one.path, one.condition, one.skin_type) for one in opened), _EMPTY)
            photograph = _upload(events, path)
            gr.HTML(f'<p class="sd-about">{_PRIVACY}</p>', padding=False)
            gr.HTML('<p class="sd-about">Phantoms to try (computed, no patient):</p>', padding=False)
            with gr.Row(elem_classes="sd-examples"):
                tried = [_example_button(events, example) for example in examples]
            condition = condition_field(app_events, page, one=True, value=words)
            target = gr.Dropdown(
                target_choices(attribute.name, attribute.known), value=ALL, label="Transfer to",
                elem_id=f"{page}-target",
            )  # fmt: skip
            strength = gr.Slider(
                0.05, 1.0, 0.3, step=0.05, label="Strength", info="higher changes more",
                elem_id=f"{page}-strength",
            )  # fmt: skip
            go, cancel = buttons("Transfer")
            with gr.Accordion("Generation settings", open=False):
                generator, about = generator_field(app_events, page)
                skin_type = value_field(app_events, page, of_photograph=True, value=value)
                tone = gr.Dropdown(
                    list(TONES),
                    value=TONES[0][1],
                    label="How the skin tone is changed",
                    elem_id=f"{page}-tone",
                )
                guidance, steps, seed = knobs(app_events, page)
                place = gr.Row()
        with gr.Column(scale=2, min_width=280):
            line = line_of("Upload a photograph, or choose one of the phantoms.")
            shown = results_gallery(app_events, page, "Transferred images", "redrawn")
            gr.HTML(explained("Structure kept"), padding=False)
            strip = gr.HTML(label="Measured skin tone")
            pair, slider, choice = _before_and_after(app_events)
            download = download_button()
            fields = [generator, condition, skin_type, target, strength, guidance, steps, seed, tone]
            again_words = "The fields are as they were; Transfer makes the same again of the same photograph."
            visit, revisited = visit_gallery(app_events, page, fields, line, again_words)
    pairs = gr.State([], time_to_live=app_events.config.keep_minutes * 60)
    with place:
        loaded = load_button(app_events, page, fields, line)
    said = [condition, skin_type, target, about]
    described = generator.input(
        events.describe,
        [generator, condition, skin_type, target],
        [*said, choice],
        api_visibility="private",
        concurrency_id=DRAWING,
        show_progress="hidden",
    )
    described.failure(app_events.stop(page, cancelled=False), None, [line, download, cancel], **QUIET)
    for button, example in zip(tried, examples, strict=True):
        button.click(_chosen(example), None, [photograph, condition, skin_type, line], **QUIET)
    photograph.upload(
        events.check, photograph, [photograph, line], api_name="check_photograph", concurrency_limit=2,
        show_progress="hidden",
    )  # fmt: skip
    for chosen in (photograph.upload, photograph.clear, *(one.click for one in tried)):
        chosen(events.forget, None, [shown, strip, download, pairs, pair, slider], **QUIET)
    outputs = [shown, strip, download, line, pairs, choice]
    inputs = [photograph, *fields]
    event = run(app_events, page, go, cancel, events.transfer, inputs, outputs, visit, "transfer")
    event.success(app_events.about, generator, about, **QUIET)
    for trigger in (pairs.change, choice.change):
        trigger(events.pair, [choice, pairs], [pair, slider], **QUIET)
    filled = Filled(page, fields, line, events.describe, said, outputs)
    return filled.follow(app_events, loaded, revisited)


def _upload(events: PhotographEvents, first: str | None) -> gr.Image:
    """Return the field for a photograph, with a first one in it or empty."""
    field: gr.Image = undecoded(
        gr.Image(
            first,
            label="Photograph",
            sources=["upload", "clipboard"],
            type="filepath",
            image_mode=None,
            height=190,
            elem_id="photograph-photograph",
            buttons=[],
            placeholder=f"JPEG, PNG or WebP, up to {events.config.max_upload_mb:g} MB",
        )
    )
    return field


def _example_button(events: PhotographEvents, example: Example) -> gr.Button:
    """Return a button with the picture and the name of an example."""
    return gr.Button(
        f"{example.name}, type {example.skin_type}", icon=example.path, size="sm", min_width=90,
        elem_classes="sd-example",
    )  # fmt: skip


def _chosen(example: Example) -> Callable[[], tuple[str, str, str, str]]:
    """Return the event that puts an example into the fields, with its words."""

    def chosen() -> tuple[str, str, str, str]:
        words = f"{example.name} on skin of type {example.skin_type}, computed. Press Transfer."
        return example.path, example.condition, example.skin_type, pieces.said(words, "Ready:")

    return chosen


def _before_and_after(events: DemoEvents) -> tuple[gr.Group, gr.HTML, gr.Radio]:
    """Return the two pictures under a slider, hidden until there are some, and the choice of the second."""
    with gr.Group(visible=False) as pair:
        slider = gr.HTML(elem_id="slider")
        known = attribute_of(events).known
        choices = [(name, number) for number, name in enumerate(known)]
        shown = gr.Radio(choices, value=len(known) - 1, label="After", elem_id="after")
    return pair, slider, shown


def compare_page(app_events: DemoEvents) -> Filled:
    """Build the page that generates the same with two generators."""
    events, page = CompareEvents(app_events), "compare"
    names = list(app_events.cache.offered)
    with gr.Row():
        with gr.Column(min_width=280):
            first, about_first = generator_field(app_events, page, "generator", "First generator")
        with gr.Column(min_width=280):
            other = names[min(1, len(names) - 1)]
            second, about_second = generator_field(app_events, page, "second", "Second generator", other)
    with gr.Row():
        condition = condition_field(app_events, page, one=True)
        skin_type = value_field(app_events, page, every=False, generators=[names[0], other])
        most, usual = compared_images(app_events.config)
        count = count_field(app_events, page, "Images of each", most, usual)
    go, cancel = buttons("Compare")
    with gr.Accordion("Generation settings", open=False):
        guidance, steps, seed = knobs(app_events, page)
        place = gr.Row()
    few = len(names) < 2
    go.interactive = not few
    typed = app_events.config.open_choice
    words = SAME_SEEDS if not few else SECOND_NEEDED if typed else SECOND_MISSING
    line = line_of(words)
    rows = results_gallery(app_events, page, "First, second and difference", "compared", columns=3)
    table = gr.HTML()
    download = download_button()
    fields = [first, second, condition, skin_type, count, guidance, steps, seed]
    again_words = "The fields are as they were; Compare makes the same again."
    visit, revisited = visit_gallery(app_events, page, fields, line, again_words)
    with place:
        loaded = load_button(app_events, page, fields, line)
    chosen = [first, second]
    for generator in chosen:
        generator.change(events.ready, chosen, go, **QUIET)
        described = generator.input(
            events.describe,
            [*chosen, condition, skin_type],
            [condition, skin_type, about_first, about_second, line],
            api_visibility="private",
            concurrency_id=DRAWING,
            show_progress="hidden",
        )
        described.failure(app_events.stop(page, cancelled=False), None, [line, download, cancel], **QUIET)
    outputs = [rows, table, download, line]
    event = run(app_events, page, go, cancel, events.compare, fields, outputs, visit, "compare")
    for generator, about in ((first, about_first), (second, about_second)):
        event.success(app_events.about, generator, about, **QUIET)
    said = [condition, skin_type, about_first, about_second]
    opened = [*outputs, about_second, condition, skin_type]
    filled = Filled(page, fields, line, events.describe, said, opened)
    return filled.follow(app_events, loaded, revisited)


def report_page(events: DemoEvents) -> None:
    """Build the page that shows the report of a run."""
    if not events.config.runs:
        gr.Markdown(
            "An example: the default study, on images that a program computed, of no patient. To make it "
            "again, in about ten minutes on two cores, and to show a run of your own here:\n\n"
            "```bash\naccelerate launch recipes/fitz_lora.py\n"
            'skindiff demo --runs "[runs/fitz_lora_smoke]"\n```'
        )
    names = list(events.runs)
    first, path = events.report(names[0])
    with gr.Row(equal_height=True):
        run_ = gr.Dropdown(names, value=names[0], label="Run", scale=3)
        download = gr.DownloadButton("Download this report (HTML)", value=path, scale=1, min_width=220)
    page = gr.HTML(first, elem_id="report")
    run_.change(events.report, run_, [page, download], api_name="report", concurrency_limit=2)
