"""The function of the page that compares two generators."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr
import numpy as np

from skindiff.demo import pieces
from skindiff.demo.about import about, unknown_words
from skindiff.demo.again import draw_again
from skindiff.demo.asked import DrawRequest
from skindiff.demo.captions import captions, degrees
from skindiff.demo.config import DemoConfig
from skindiff.demo.downloads import Result
from skindiff.demo.drawing import Picture, Progress, draw
from skindiff.demo.events import DemoEvents, Shown, value_info
from skindiff.demo.fidelity import measured_kid
from skindiff.demo.generator_cache import Loaded, short_names
from skindiff.demo.photographs import Pixels
from skindiff.demo.refusals import blaming, in_words, refusal
from skindiff.demo.seeds import read_seed
from skindiff.demo.settings import PageSettings, page_settings
from skindiff.demo.transferring import enlarged
from skindiff.demo.words import ALL, ANY, explained, type_choice
from skindiff.synthesis.asked import asked_column

SAME_SEEDS = "Both generators use the same seeds; any difference comes from the generators."
SECOND_NEEDED = (
    "A second generator is needed: type its folder or Hub id right there, under Second generator. "
    "skindiff train lora makes one, and bundled-lora is in the package."
)
SECOND_MISSING = (
    'A second generator is needed, as in skindiff demo --generators "[bundled, runs/lora]"; '
    "skindiff train lora makes one."
)
"""What is said where both are the same: by whether another can be typed."""
LOADING_BOTH = "loading both generators, which takes some seconds the first time"
_MEASURE = (
    " Where no KID was measured, <code>skindiff evaluate --fidelity.features.network lite0</code> measures "
    "it on images of the generator; it stands here when the demo shows that run (<code>--runs</code>)."
)
_TIMES = 5
"""Differences are shown so many times as large: between two generators they are hardly seen otherwise."""


class CompareEvents:
    """The events of the page.

    Args:
        events: of the app.
    """

    def __init__(self, events: DemoEvents) -> None:
        self.events = events

    def ready(self, first: str, second: str) -> Any:
        """Return what the button becomes: it sleeps while both generators are the same."""
        return gr.update(interactive=not self._equal(first, second))

    def describe(
        self, first: str, second: str, condition: str, skin_type: str
    ) -> tuple[Any, Any, str, str, str]:
        """Return what the fields for condition and skin type become when a generator is chosen, what both
        generators are, and the line.

        Conditions that both take and were taught come first.
        """
        both = self._both(first, second)
        offered, known = conditions_of_both(both), values_of_both(both)
        alone = [which for which, one in zip(("first", "second"), both, strict=True) if one.takes_words]
        value: Any = gr.update(
            choices=[(type_choice(name), name) for name in known] or [(ANY, ANY)],
            value=skin_type if skin_type in known else known[-1] if known else ANY,
            interactive=bool(known),
            info=f"asked of the {alone[0]} generator; the other knows none"
            if len(alone) == 1
            else value_info(bool(known), both[0].generator.attribute),
        )
        return (
            gr.update(
                choices=[(name, name) for name in offered],
                value=condition if all(_takes(one, condition) for one in both) else offered[0],
                info="what both were taught comes first; or type your own words",
            ),
            value,
            *(pieces.about(about(loaded)) for loaded in both),
            pieces.said(self._said(first, second)),
        )

    def compare(
        self,
        first: str,
        second: str,
        condition: str,
        skin_type: str,
        count: int,
        guidance: float,
        steps: int,
        seed: str,
        request: gr.Request,
    ) -> Iterator[tuple[Shown, str, str | None, str]]:
        """Generate the same with two generators from the same seeds: a row for each seed (left, right,
        difference), a table of both, one zip, and a line."""
        self._refuse_equal(first, second)
        with in_words():
            number = read_seed(str(seed))
        settings = page_settings(
            "compare", generator=first, second=second, condition=condition, skin_type=skin_type,
            images=int(count), guidance=float(guidance), steps=int(steps), seed=str(number),
        )  # fmt: skip
        result = Result(settings)
        for line, done in self.events.watch(request, result, self._work(settings)):
            half = result.total // 2
            sides = [result.pictures[:half], result.pictures[half:]]
            rows, table = self._shown(request, settings, sides, whole=done)
            yield rows, table, self.events.zip(request, result if done else None), line

    def _work(self, settings: PageSettings) -> Iterator[Progress]:
        """Generate with both, and yield the progress of all; what is wrong with either is said before."""
        value, number = settings["skin_type"], settings["images"]
        works, counts = [], []
        yield Progress([], 2 * number, LOADING_BOTH)
        names = settings["generator"], settings["second"]
        both = self._both(*names)
        for which, generator, loaded in zip(("first", "second"), names, both, strict=True):
            with blaming(which, generator.strip()):
                wanted = DrawRequest(
                    generator, (settings["condition"],), values_asked(loaded, value), number,
                    settings["guidance"], settings["steps"], int(settings["seed"]),
                )  # fmt: skip
                works.append(work := draw(self.events.cache, wanted))
                for _ in range(2):  # up to its first batch
                    progress = next(work)
            counts.append(progress.total)
        if len(set(counts)) > 1:
            raise refusal(
                f"the first generator would make {counts[0]} images and the second {counts[1]}, as only one "
                "of them tells types of skin. Choose one type"
            )
        made: list[Picture] = []
        yield Progress(made, sum(counts), progress.doing)
        for work in works:
            for progress in work:
                yield replace(progress, pictures=made + progress.pictures, total=sum(counts))
            made += progress.pictures

    def present(self, request: gr.Request, result: Result) -> tuple[Shown, str, Any, str, str, str, str]:
        """Return a finished result as the page shows it, with the words of an example, what the second
        generator is, and the condition and skin type."""
        half = len(result.pictures) // 2
        sides = [result.pictures[:half], result.pictures[half:]]
        rows, table = self._shown(request, result.settings, sides, whole=True)
        button = gr.update(value=self.events.zip(request, result), interactive=True)
        line = pieces.said(SAME_SEEDS, "An example:", self.events.note(result))
        asked = result.settings["condition"], result.settings["skin_type"]
        return rows, table, button, line, self.events.about(result.settings["second"]), *asked

    def _shown(
        self,
        request: gr.Request,
        settings: PageSettings,
        sides: Sequence[Sequence[Picture]],
        *,
        whole: bool,
    ) -> tuple[Shown, str]:
        """Return the rows of a result, and where it is whole its table with how both sides are made again."""
        names = short_names([settings["generator"], settings["second"]])
        rows = self._rows(request, list(names), *sides)
        if not whole:
            return rows, ""
        kids = [self._kid(generator) for generator in names.values()]
        return rows, compared(names, kids, *sides) + self._again(settings, names, sides)

    def _kid(self, generator: str) -> list[str]:
        """Return the KID of a generator, as the runs that are shown here have it."""
        return measured_kid(self.events.runs, self.events.cache.generator(generator).generator.name)

    def _again(
        self, settings: PageSettings, names: Mapping[str, str], sides: Sequence[Sequence[Picture]]
    ) -> str:
        """Return how each side is made again."""
        found = []
        for (short, generator), pictures in zip(names.items(), sides, strict=True):
            row, source = pictures[0].row, self.events.findable(generator)
            column = asked_column(row.keys())
            values = (
                None if "family" in row else list(dict.fromkeys(str(one.row[column]) for one in pictures))
            )
            how = draw_again(settings, source, [str(row["condition"])], values, row)
            found.append(pieces.again(how, f"those of {short}"))
        return "".join([*found, self.events.link(settings)])

    def _both(self, *names: str) -> list[Loaded]:
        """Return two generators; two that tell different things are refused, as no choice suits both."""
        both = []
        for which, name in zip(("first", "second"), names, strict=True):
            with blaming(which, name.strip()):
                both.append(self.events.cache.generator(name))
        if all(loaded.takes_words for loaded in both) and not values_of_both(both):
            told = [loaded.generator.attribute.name for loaded in both]
            raise refusal(f"second generator: it tells {told[1]}, and the first {told[0]}; choose two alike")
        return both

    def _equal(self, first: str, second: str) -> bool:
        word = self.events.cache.offered
        return word.get(first.strip(), first.strip()) == word.get(second.strip(), second.strip())

    def _said(self, first: str, second: str) -> str:
        if not self._equal(first, second):
            return SAME_SEEDS
        return SECOND_NEEDED if self.events.config.open_choice else SECOND_MISSING

    def _refuse_equal(self, first: str, second: str) -> None:
        if self._equal(first, second):
            raise refusal(
                f"second generator: {second!r} is the first one too; choose or type another, or start "
                'the demo with one more, as in --generators "[bundled, runs/lora]"'
            )

    def _rows(
        self, request: gr.Request, names: Sequence[str], left: Sequence[Picture], right: Sequence[Picture]
    ) -> Shown:
        """Return left, right and difference of each seed; what is not there yet is left out."""
        shown: Shown = []
        words = captions([*left, *right])
        for place, one in enumerate(left):
            shown.append(self.events.one(request, one, f"{names[0]} · {words[place]}"))
            if place < len(right):
                other, said = right[place], words[len(left) + place]
                shown.append(self.events.one(request, other, f"{names[1]} · {said}"))
                between = difference(one.pixels, other.pixels)
                amount = f"difference, shown × {_TIMES} · mean {np.mean(between):.0f} of 255"
                larger = np.minimum(between.astype(np.int16) * _TIMES, 255).astype(np.uint8)
                shown.append(self.events.one(request, one, amount, larger))
        return shown if right else self.events.shown(request, list(left))


def compared_images(config: DemoConfig) -> tuple[int, int]:
    """Return how many images of each generator a page may show, and how many it shows where nobody says."""
    most = max(1, config.max_images // 2)
    return most, min(4, most)


def conditions_of_both(both: Sequence[Loaded]) -> list[str]:
    """Return what two generators offer; what both take and were taught comes first."""
    offered = list(dict.fromkeys(name for loaded in both for name in loaded.conditions))
    return sorted(
        offered,
        key=lambda name: (-sum(_takes(one, name) for one in both), bool(_untaught(both, name))),
    )


def values_of_both(both: Sequence[Loaded]) -> list[str]:
    """Return the skin types, or other values, that all of two generators tell that tell any."""
    known = [loaded.generator.attribute.known for loaded in both if loaded.takes_words]
    return [name for name in known[0] if all(name in others for others in known)] if known else []


def values_asked(loaded: Loaded, value: str) -> tuple[str, ...]:
    """Return what one of two generators is asked for beside the condition: nothing where it tells none."""
    return () if value in (ANY, ALL) or not loaded.takes_words else (value,)


def _takes(loaded: Loaded, condition: str) -> bool:
    """Return whether a generator does not refuse a condition."""
    own = loaded.generator.class_names
    return own is None or condition in own


def _untaught(both: Sequence[Loaded], condition: str) -> list[str]:
    return [word for loaded in both for word in unknown_words(loaded, (condition,))]


def difference(left: Pixels, right: Pixels) -> Pixels:
    """Return the absolute difference of two images in each channel, at the size of the larger one."""
    larger = max(left, right, key=len)
    one, other = (enlarged(image, larger).astype(np.int16) for image in (left, right))
    return np.abs(one - other).astype(np.uint8)


def compared(
    names: Mapping[str, str],
    kids: Sequence[Sequence[str]],
    left: Sequence[Picture],
    right: Sequence[Picture],
) -> str:
    """Return mean tone and recorded KID of both, and their mean difference.

    Args:
        names: short names of both, and what was typed or offered by that name.
        kids: what records say of each; nothing where none does.
        left: images of the first.
        right: of the second.
    """
    rows = "".join(
        f'<tr><th scope="row" title="{escape(full)}">{escape(short)}</th><td>{degrees(_mean_ita(pictures))}'
        f"</td><td>{escape('; '.join(recorded) or 'not measured')}</td></tr>"
        for (short, full), recorded, pictures in zip(names.items(), kids, (left, right), strict=True)
    )
    between = [float(np.mean(difference(a.pixels, b.pixels))) for a, b in zip(left, right, strict=True)]
    heads = ("generator", f"mean ITA of {pieces.count_of(len(left))}", "KID to real images")
    return (
        '<div class="sd-wide" tabindex="0" role="region" aria-label="tone and KID of both">'
        '<table class="sd-table"><thead><tr>'
        f"{''.join(f'<th scope=col>{head}</th>' for head in heads)}</tr></thead><tbody>{rows}</tbody></table>"
        f"</div>{explained('ITA')}{explained('KID')}"
        f'<p class="sd-quiet">Mean difference of a pair: {np.mean(between):.1f} of 255 levels.'
        f"{'' if all(kids) else _MEASURE}</p>"
    )


def _mean_ita(pictures: Sequence[Picture]) -> float | None:
    known = [picture.ita for picture in pictures if picture.ita is not None]
    return float(np.mean(known)) if known else None
