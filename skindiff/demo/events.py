"""The functions of the pages as Gradio's events."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from skindiff.corpora.attribute import Attribute
from skindiff.demo import pieces
from skindiff.demo.about import LATER, about, unknown_words
from skindiff.demo.again import Source, draw_again
from skindiff.demo.asked import DrawRequest
from skindiff.demo.captions import captions, image_name
from skindiff.demo.config import DemoConfig
from skindiff.demo.downloads import Result, zip_bytes
from skindiff.demo.drawing import Picture, Progress, draw
from skindiff.demo.files import APP, SessionFiles, file_name
from skindiff.demo.generator_cache import GeneratorCache, Loaded, short_names
from skindiff.demo.photographs import png_bytes
from skindiff.demo.refusals import field_at_fault, in_words, refusal
from skindiff.demo.reports import EXAMPLE, EXAMPLE_NAME, report_page
from skindiff.demo.seeds import read_seed
from skindiff.demo.settings import (
    DESCRIBED,
    GENERATORS,
    PAGES,
    PageSettings,
    address_of,
    page_settings,
    read_address,
    read_settings,
)
from skindiff.demo.visits import Visits
from skindiff.demo.words import ALL, ANY, type_choice
from skindiff.errors import SynthesisError
from skindiff.files import at_home
from skindiff.generators.models import BUNDLED_NAMES

Shown = list[tuple[str, str]]
DOWNLOAD = "Download images, provenance and settings (zip)"


class DemoEvents:
    """The events of one app.

    Args:
        config: valid settings.
        files: where what is shown lies.
    """

    def __init__(self, config: DemoConfig, files: SessionFiles) -> None:
        self.config, self.files = config, files
        self.cache, self.visits = GeneratorCache(config), Visits()
        self.runs = short_names(config.runs) or {EXAMPLE_NAME: str(EXAMPLE)}

    def describe(self, generator: str, condition: str, skin_type: str) -> tuple[Any, Any, str]:
        """Return what the fields for condition and skin type become when a generator is chosen, and what it
        is."""
        with in_words():
            loaded = self.cache.generator(generator)
        offered, own = loaded.conditions, loaded.generator.class_names
        words, attribute = loaded.takes_words, loaded.generator.attribute
        kept = condition if condition in (ALL, *offered) or own is None else offered[0]
        choices = [("every condition, one beside the other", ALL), *((name, name) for name in offered)]
        values = [*((type_choice(value), value) for value in attribute.known)]
        values = [(f"all {attribute.name}s", ALL), *values] if words else [(ANY, ANY)]
        known = [value for _, value in values]
        return (
            gr.update(
                choices=choices,
                value=kept,
                info="or type your own words" if own is None else "the classes it was trained on",
            ),
            gr.update(
                choices=values,
                value=skin_type if skin_type in known else attribute.of_minority[0] if words else ANY,
                label=attribute.name.capitalize(),
                interactive=words,
                info=value_info(words, attribute),
            ),
            pieces.about(about(loaded)),
        )

    @property
    def opens_on_examples(self) -> bool:
        """Whether the pages open on finished images: where the bundled generator is the first offered."""
        return next(iter(self.cache.offered.values())) in BUNDLED_NAMES

    def about(self, generator: str) -> str:
        """Return what a generator is and knows."""
        with in_words():
            return pieces.about(about(self.cache.generator(generator)))

    def described(
        self, page: str, describe: Callable[..., Sequence[Any]], values: Sequence[str]
    ) -> Sequence[Any]:
        """Return what ``describe`` gives of fields that were filled by a file, an address or the history.

        Of a generator that is not at hand, as a file may name it, nothing is loaded: a button does that.

        Args:
            page: its name.
            describe: of the page: what its fields become, then what its generators are.
            values: its fields (:data:`~skindiff.demo.settings.DESCRIBED`).
        """
        names = values[: len(_generators(page))]
        if all(map(self.cache.is_at_hand, names)):
            return describe(*values)[: len(values)]
        said = [self.about(name) if self.cache.is_at_hand(name) else pieces.about(LATER) for name in names]
        return [*[gr.skip() for _ in values[len(names) :]], *said]

    def described_by_address(
        self, pages: Mapping[str, Callable[..., Sequence[Any]]], request: gr.Request
    ) -> list[Any]:
        """Return what :meth:`described` gives of the page that an address is of; of others nothing."""
        try:
            found: Any = read_address(dict(request.query_params or {}), self.config)
        except SynthesisError:
            found = None  # as the line says
        given: list[Any] = []
        for page, describe in pages.items():
            asked = found is not None and found["page"] == page
            if asked and all(found[name] in self.cache.offered for name in _generators(page)):
                given += self.described(page, describe, [found[name] for name in DESCRIBED[page]])
            else:
                given += [gr.skip() for _ in DESCRIBED[page]]
        return given

    def draw(
        self,
        generator: str,
        condition: str,
        skin_type: str,
        count: int,
        guidance: float,
        steps: int,
        seed: str,
        request: gr.Request,
    ) -> Iterator[tuple[Shown, str | None, str, str]]:
        """Generate images of a condition: a gallery, a zip with their provenance, a line on progress, and how
        they are made again."""
        with in_words():
            number = read_seed(str(seed))
        settings = page_settings(
            "generate", generator=generator, condition=condition, skin_type=skin_type, images=int(count),
            guidance=float(guidance), steps=int(steps), seed=str(number),
        )  # fmt: skip
        wanted = self._wanted(generator, settings)
        result = Result(settings)
        for line, done in self.watch(request, result, draw(self.cache, wanted)):
            again = self._again(settings, wanted, result) if done else ""
            yield (
                self.shown(request, result.pictures),
                self.zip(request, result if done else None),
                line,
                again,
            )

    def present(self, request: gr.Request, result: Result) -> tuple[Shown, Any, str, str]:
        """Return a finished result as the page that generates shows it, with the words of an example."""
        settings, values = result.settings, result.settings["skin_type"]
        conditions = self.conditions_of(self.cache.generator(settings["generator"]), settings["condition"])
        wanted = DrawRequest(settings["generator"], tuple(conditions), () if values == ALL else (values,))
        words = f"{settings['condition']} on every skin type. Ask for your own."
        return (
            self.shown(request, result.pictures),
            gr.update(value=self.zip(request, result), interactive=True),
            pieces.said(words, "An example:"),
            self._again(settings, wanted, result),
        )

    def fields_of(self, path: str | None, page: str, request: gr.Request) -> list[Any]:
        """Return what the fields of a page become by a file of settings that was uploaded."""
        if path is None:
            raise refusal("settings: choose the settings.json of a downloaded zip.")
        with in_words():
            own = self.files.claim(str(request.session_hash), path)
            try:
                settings = read_settings(own, page, self.config)
            finally:
                self.files.drop(str(request.session_hash), path)
        return self._values(settings, page)

    def report(self, run: str) -> tuple[str, str]:
        """Return the report of a finished run: a frame of HTML around its page, and the page as a file."""
        if run not in self.runs:
            raise refusal("This run is not offered here.")
        with in_words():
            page = report_page(Path(self.runs[run]))
        path = self.files.keep(APP, page.encode(), f"{file_name(run)}-report.html")
        return pieces.report_frame(run, path), path

    def begin(self, page: str) -> Callable[[gr.Request], tuple[Shown, Any, Any]]:
        """Return the event that empties the gallery of a page and sets its buttons when a request begins."""

        def begun(request: gr.Request) -> tuple[Shown, Any, Any]:
            visit = self.visits.of(session_of(request))
            visit.failed, visit.asked = "", True
            visit.results.pop(page, None)
            return [], gr.update(value=None, interactive=False, label=DOWNLOAD), gr.update(interactive=True)

        return begun

    def finish(self, page: str) -> Callable[[gr.Request], tuple[Any, Any]]:
        """Return the event that sets both buttons when a request of a page is done."""

        def finished(request: gr.Request) -> tuple[Any, Any]:
            result = self.visits.of(session_of(request)).results[page]
            label = DOWNLOAD.replace("images", pieces.count_of(len(result.pictures)))
            return gr.update(interactive=True, label=label), gr.update(interactive=False)

        return finished

    def stop(self, page: str, *, cancelled: bool) -> Callable[[gr.Request], tuple[str, Any, Any]]:
        """Return the event that follows a request of a page that was cancelled, or refused: the line, and
        what the buttons become. What there is of images can be downloaded."""

        def stopped(request: gr.Request) -> tuple[str, Any, Any]:
            visit = self.visits.of(session_of(request))
            result, words = visit.results.get(page), visit.failed
            count = len(result.pictures) if result else 0
            ended = cancelled or not words  # Gradio calls a cancelled request a failed one too
            if ended and count:
                line = pieces.said(
                    f"What was generated so far is shown: {pieces.count_of(count)}.", "Cancelled."
                )
            elif ended:
                line = pieces.said("Nothing was generated yet.", "Cancelled.")
            else:
                name = field_at_fault(words)
                line = pieces.failed(words, f"{page}-{name}" if name else None)
            if result is None or not count:
                return (
                    line,
                    gr.update(value=None, interactive=False, label=DOWNLOAD),
                    gr.update(interactive=False),
                )
            button = gr.update(
                value=self.zip(request, result),
                interactive=True,
                label=f"Download {count} of {result.total} (zip)",
            )
            return line, button, gr.update(interactive=False)

        return stopped

    def _values(self, settings: PageSettings, page: str, *, typed: bool = True) -> list[Any]:
        """Return what the fields become; a generator that cannot be chosen here stays as it is."""
        given: Any = settings
        free = typed and self.config.open_choice
        hidden = [name for name in GENERATORS if not free and given[name] not in self.cache.offered]
        return [gr.skip() if name in hidden else given[name] for name in PAGES[page]]

    def goodbye(self, request: gr.Request) -> None:
        """Delete the files of a session that has ended."""
        self.files.release(session_of(request))
        self.visits.end(session_of(request))

    def watch(
        self, request: gr.Request, result: Result, work: Iterator[Progress], minded: str = ""
    ) -> Iterator[tuple[str, bool]]:
        """Fill a result, and yield the line to show, with what is to be minded, and whether that was all."""
        self.visits.of(session_of(request)).results[result.settings["page"]] = result
        started, note = time.monotonic(), ""
        with in_words():
            for progress in work:
                result.pictures, result.total = list(progress.pictures), progress.total
                done, seconds = len(progress.pictures) == progress.total, time.monotonic() - started
                if not note and progress.doing == "generating":
                    note = " ".join(filter(None, (minded, self.note(result))))
                line = pieces.status(progress, seconds, note)
                if done:
                    made = pieces.count_of(len(result.pictures))
                    said = f"{made} in {seconds:.1f} s, seed {result.settings['seed']}."
                    line = pieces.said(said, "Done:", note)
                yield line, done

    def note(self, result: Result) -> str:
        """Return what is to be minded of a result: words that a generator of it does not know."""
        settings = result.settings
        names = {settings["generator"]: "This generator"}
        if settings["page"] == "compare":
            both = short_names([settings["generator"], settings["second"]])
            sides = zip(("first", "second"), both.items(), strict=True)
            names = {name: f"The {which} generator, {short}," for which, (short, name) in sides}
        asked = () if settings["condition"] == ALL else (settings["condition"],)
        notes = []
        for name, said in names.items():
            if unknown := unknown_words(self.cache.generator(name), asked):
                words = ", ".join(repr(word) for word in unknown)
                notes.append(f"{said} was never taught {words}: what it shows for it means nothing.")
        return " ".join(notes)

    def conditions_of(self, loaded: Loaded, condition: str) -> list[str]:
        """Return the conditions that a page's field means."""
        return list(loaded.conditions) if condition == ALL else [condition]

    def shown(self, request: gr.Request, pictures: list[Picture]) -> Shown:
        """Return pictures as a gallery takes them."""
        said = zip(pictures, captions(pictures), strict=True)
        return [self.one(request, picture, words) for picture, words in said]

    def one(self, request: gr.Request, picture: Picture, words: str, pixels: Any = None) -> tuple[str, str]:
        """Return a picture's file and caption; ``pixels`` are shown in place of its own."""
        data = png_bytes(picture.pixels if pixels is None else pixels)
        return self.files.keep(session_of(request), data, image_name(picture)), words

    def zip(self, request: gr.Request, result: Result | None) -> str | None:
        """Return the path of a result as a zip, None where there is none yet."""
        if result is None or not result.pictures:
            return None
        name = file_name("skindiff", result.settings["page"], result.settings["condition"])
        with in_words():
            return self.files.keep(session_of(request), zip_bytes(result), f"{name}.zip")

    def _wanted(self, generator: str, settings: PageSettings) -> DrawRequest:
        condition, value = settings["condition"], settings["skin_type"]
        with in_words():
            conditions = [condition]
            if condition == ALL:
                conditions = self.conditions_of(self.cache.generator(generator), ALL)
        return DrawRequest(
            generator,
            tuple(conditions),
            () if value in (ANY, ALL) else (value,),
            settings["images"],
            settings["guidance"],
            settings["steps"],
            int(settings["seed"]),
        )

    def link(self, settings: PageSettings) -> str:
        """Return the link to a page with settings."""
        return pieces.link(address_of(settings, self.cache.offered))

    def arrive(self, page: str, request: gr.Request) -> tuple[list[Any], str]:
        """Return what the fields of a page become by the address that it was opened with, and the line."""
        with in_words():
            found = read_address(dict(request.query_params or {}), self.config)
        if found is None or found["page"] != page:
            return [gr.skip() for _ in PAGES[page]], ""
        return self._values(found, page, typed=False), pieces.said(
            "The fields are as in the page's address.", "Ready:"
        )

    def _again(self, settings: PageSettings, wanted: DrawRequest, result: Result) -> str:
        loaded = self.cache.generator(wanted.generator)
        groups = list(wanted.values or loaded.generator.attribute.known) if loaded.takes_words else None
        word, drawn = self.findable(wanted.generator), result.pictures[0].row
        how = draw_again(settings, word, list(wanted.conditions), groups, drawn)
        return pieces.again(how) + self.link(settings)

    def findable(self, generator: str) -> Source:
        """Return how a generator is found in a shell: folders and files as they were given where only this
        machine sees the page, else their names."""
        word = self.cache.offered.get(generator, generator)
        options = self.cache.generator(generator).options
        if not self.config.open_choice:
            word = f"FOLDER/{generator}" if Path(at_home(word)).is_dir() else _without_folder(word)
            options = {name: _without_folder(value) for name, value in options.items()}
        return Source(word, options)


def _without_folder(word: str) -> str:
    """Return a folder or a file by its name alone, and any other word as it is."""
    path = Path(at_home(word))
    return f"FOLDER/{path.name}" if path.exists() else word


def _generators(page: str) -> list[str]:
    """Return the fields of a page that are generators."""
    return [name for name in DESCRIBED[page] if name in GENERATORS]


def value_info(words: bool, attribute: Attribute) -> str | None:
    """Return what stands under the choice of a skin type, or another value, by whether any is told."""
    if not words:
        return "this generator knows no skin types"
    return "Fitzpatrick's scale, see below" if attribute.is_skin_tone else None


def session_of(request: gr.Request) -> str:
    """Return the session of a request, by which its visit and its files are known."""
    return str(request.session_hash)
