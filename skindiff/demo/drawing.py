"""Generation in the demo, as plain functions: by condition and skin type, or from a photograph.

A generator that was trained to tell something else than skin types, such as sex, is asked for that instead.

Each function yields after every batch, so that a page can show what is done and a request can be cancelled.
Rows of provenance are rows of a plan (:mod:`skindiff.synthesis.plan`, :mod:`skindiff.synthesis.class_plan`):
with the generator (and the photograph) they are generated again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from datasets import Dataset, Features
from datasets import Image as ImageFeature
from PIL import Image as PILImage

from skindiff.corpora.attribute import Attribute
from skindiff.corpora.buckets import BUCKETED, SHAPE_COLUMNS, SHOWN
from skindiff.corpora.crops import CropKind, picture_of
from skindiff.corpora.schema import SKIN_TYPES, corpus_features
from skindiff.demo.config import DemoConfig
from skindiff.demo.generator_cache import GeneratorCache, Loaded
from skindiff.demo.photographs import Pixels, cut_like, photograph_id
from skindiff.errors import GeneratorError, SynthesisError
from skindiff.generators.prompts import prompt_for
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.measures.skin.tone import image_ita
from skindiff.synthesis.class_draw import ClassDrawer
from skindiff.synthesis.class_plan import ClassSynthesisConfig, make_class_plan
from skindiff.synthesis.draw import Drawer
from skindiff.synthesis.plan import SynthesisConfig, make_plan
from skindiff.synthesis.rows import ClassPlanRow, PlanRow, RowT
from skindiff.synthesis.writer import RowDrawer

Tone = Literal["prototype_colour", "colour", "none"]
MOST_SEED = 2**31 - 1
_LONGEST_CONDITION = 80
_SOURCE = "demo"


@dataclass(frozen=True)
class Picture:
    """An image with what is known of it.

    Attributes:
        pixels: (height, width, 3) uint8 sRGB.
        row: its provenance, the columns of a plan without codes for classes (``condition`` instead).
        ita: measured individual typology angle of its bare skin in degrees, None where there is too little.
    """

    pixels: Pixels
    row: Mapping[str, Any]
    ita: float | None


@dataclass(frozen=True)
class Progress:
    """Progress of a request: the images so far, of how many, and what is being done now."""

    pictures: list[Picture]
    total: int
    doing: str


@dataclass(frozen=True)
class DrawRequest:
    """Images of one condition.

    Attributes:
        generator: its name.
        condition: a class of the generator, or any words where it takes words.
        value: skin type ``"I"`` to ``"VI"``, or a value of the generator's own attribute; None says nothing.
        count: images.
        guidance_scale: classifier-free guidance from 1 (none); for generators that diffuse.
        steps: sampler steps; for generators that diffuse.
        seed: same seed, same start noises.
    """

    generator: str
    condition: str
    value: str | None = None
    count: int = 6
    guidance_scale: float = 2.0
    steps: int = 14
    seed: int = 0


@dataclass(frozen=True)
class TransferRequest:
    """A photograph, to be transferred to each of the six skin types (or of the generator's values) from one
    noise.

    Attributes are those of :class:`DrawRequest`, and:
        photograph: (height, width, 3) uint8 sRGB.
        value: of the photograph, such as the type of its skin, None where it is not known.
        strength: how far img2img goes back into noise, above 0 and at most 1.
        tone: how the skin's colour is changed (:class:`~skindiff.synthesis.plan.SynthesisConfig`).
    """

    photograph: Pixels
    generator: str = "bundled"
    condition: str = "smooth skin"
    value: str | None = None
    strength: float = 0.3
    guidance_scale: float = 2.0
    steps: int = 14
    seed: int = 0
    tone: Tone = "prototype_colour"


def draw(cache: GeneratorCache, request: DrawRequest) -> Iterator[Progress]:
    """Generate images of a condition.

    Yields:
        Its progress, before the first batch and after each.

    Raises:
        GeneratorError: the generator cannot be loaded, or cannot generate this.
        SynthesisError: a number is outside its bounds, or an image comes out as none.
    """
    _check(cache.config, request.steps, request.guidance_scale, request.seed, request.count)
    yield Progress([], request.count, "loading the generator")
    loaded = cache.generator(request.generator)
    if loaded.takes_words:
        rows = _text_rows(cache, loaded, request)
        drawer = Drawer(loaded.generator.pipeline)
        yield from _in_batches(cache, drawer, rows, request.condition)
    else:
        own = _class_rows(cache, loaded, request)
        by_class = ClassDrawer(loaded.generator.pipeline)
        yield from _in_batches(cache, by_class, own, request.condition)


def transfer(cache: GeneratorCache, request: TransferRequest) -> Iterator[Progress]:
    """Transfer a photograph to each skin type, or value (arguments, yields and errors as above)."""
    _check(cache.config, request.steps, request.guidance_scale, request.seed, len(SKIN_TYPES))
    yield Progress([], len(SKIN_TYPES), "loading the generator")
    loaded = cache.generator(request.generator)
    attribute, values = loaded.generator.attribute, loaded.generator.attribute.known
    settings = _img2img_settings(cache.config, request, attribute)
    if not loaded.takes_words:
        raise GeneratorError(
            f"generator {request.generator!r} knows no skin types and transfers no photographs; choose one "
            "of Stable Diffusion, such as bundled"
        )
    _refuse_unknown(request.value, attribute, request.generator)
    if settings.tone == "prototype_colour":
        for skin_type in cache.learn_tones(loaded):
            yield Progress([], len(SKIN_TYPES), f"measuring the generator's colour of skin type {skin_type}")
    source_id = photograph_id(request.photograph)
    cut = cut_like(request.photograph, loaded.generator.crop, image_size(loaded))
    source = _source(source_id, request.condition, attribute, cut)
    template = make_plan(
        source, settings, seed=request.seed, generator=loaded.generator.name, attribute=attribute
    )[0]
    subject = loaded.generator.subjects.get(request.condition, request.condition)
    rows = [
        template
        | {
            # Into the name of a file, where a value may have any character.
            "image_id": f"{source_id}-{value if attribute.is_skin_tone else place}-{request.seed}",
            attribute.column: value,
            f"source_{attribute.column}": request.value,
            "subject": subject,
            "prompt": prompt_for(subject, value, attribute),
            "strategy": loaded.generator.strategy,
            "batch_position": place % settings.batch_size,
        }
        for place, value in enumerate(values)
    ]
    drawer = Drawer(loaded.generator.pipeline, source, loaded.prototypes)
    yield from _in_batches(cache, drawer, rows, request.condition)


def before(photograph: Pixels, size: int, crop: CropKind = "centre") -> Picture:
    """Return a photograph as img2img sees it, cut by a crop for squares of ``size`` pixels, and its ITA."""
    cut = cut_like(photograph, crop, size)
    return _measured(np.array(cut["image"]), {"image_id": photograph_id(photograph)}, cut)


def _measured(pixels: Pixels, row: Mapping[str, Any], cut: Mapping[str, Any]) -> Picture:
    """Return an image with the angle of its skin, outside of what a crop has filled."""
    shown = picture_of({"image": PILImage.fromarray(pixels), SHOWN: cut.get(SHOWN)})
    return Picture(pixels, row, image_ita(np.asarray(shown)))


def image_size(loaded: Loaded) -> int:
    """Return the side of a generator's images in pixels."""
    if loaded.takes_words:
        pipeline = loaded.generator.pipeline
        return architecture_of(pipeline).image_size(pipeline)
    return int(loaded.generator.pipeline.config.image_size)


def _text_rows(cache: GeneratorCache, loaded: Loaded, request: DrawRequest) -> list[PlanRow]:
    condition, attribute = _condition(request.condition), loaded.generator.attribute
    _refuse_unknown(request.value, attribute, request.generator)
    settings = SynthesisConfig(
        strategy="vanilla",
        mode="txt2img",
        images_per_source=request.count,
        targets=[request.value or attribute.known[0]],
        guidance_scale=request.guidance_scale,
        steps=request.steps,
        tone="none",
        batch_size=min(cache.config.batch_size, request.count),
    )
    # The source's name is part of the seeds: one for all, so that generators are compared on equal noises.
    source = _source(_SOURCE, condition, attribute)
    plan = make_plan(
        source, settings, seed=request.seed, generator=loaded.generator.name, attribute=attribute
    )
    subject = loaded.generator.subjects.get(condition, condition)
    own = {
        attribute.column: request.value,
        "subject": subject,
        "prompt": prompt_for(subject, request.value, attribute),
        "strategy": loaded.generator.strategy,
    }
    return [row | own for row in plan.to_list()]


def _class_rows(cache: GeneratorCache, loaded: Loaded, request: DrawRequest) -> list[ClassPlanRow]:
    pipeline = loaded.generator.pipeline
    if pipeline.needs_images:
        raise GeneratorError(
            f"generator {request.generator!r} is a {pipeline.family}, which only reconstructs real images; "
            "choose another"
        )
    if request.value is not None:
        raise GeneratorError(
            f"generator {request.generator!r} knows no skin types; choose 'any', or another generator"
        )
    if request.condition not in loaded.conditions:
        raise GeneratorError(
            f"condition {request.condition!r} is no class of {request.generator!r}; choose from "
            f"{', '.join(loaded.conditions)}"
        )
    settings = ClassSynthesisConfig(
        budget="table",
        table={request.condition: request.count},
        steps=request.steps,
        guidance_scale=request.guidance_scale,
        batch_size=min(cache.config.batch_size, request.count),
    )
    classes = Dataset.from_dict(
        {"label": [], "skin_type": [], "image_id": [], "group_id": [], "image": [], "corpus": []},
        features=corpus_features(loaded.conditions),
    )
    plan = make_class_plan(
        classes, settings, seed=request.seed, family=pipeline.family, generator=loaded.generator.name
    )
    return list(plan.to_list())


def _in_batches(
    cache: GeneratorCache,
    drawer: RowDrawer[RowT],
    rows: list[RowT],
    condition: str,
) -> Iterator[Progress]:
    pictures: list[Picture] = []
    yield Progress([], len(rows), "generating")
    size = rows[0]["batch_size"]
    for start in range(0, len(rows), size):
        batch = rows[start : start + size]
        with cache.drawing():
            drawn = drawer.draw(batch, lambda count: None)
        if drawn.refused:
            reason = next(iter(drawn.refused.values()))
            raise SynthesisError(f"an image came out {reason}; try another seed or fewer steps")
        for number, row in enumerate(batch):
            known = {name: value for name, value in row.items() if name != "label"}
            pixels = drawn.images[number]
            pictures.append(_measured(pixels, {"condition": condition} | known, row))
        yield Progress(list(pictures), len(rows), "generating")


def _refuse_unknown(value: str | None, attribute: Attribute, generator: str) -> None:
    if value is not None and value not in attribute.known:
        raise GeneratorError(
            f"{attribute.name} {value[:_LONGEST_CONDITION]!r} is none that {generator!r} knows; choose 'any' "
            f"or one of {', '.join(attribute.known)}"
        )


def _source(
    image_id: str, condition: str, attribute: Attribute, cut: Mapping[str, Any] | None = None
) -> Dataset:
    """Return the one row that a plan is made from, with the columns of a photograph."""
    own = {"image": None} if cut is None else cut
    shapes = {**SHAPE_COLUMNS, BUCKETED: ImageFeature()}
    return Dataset.from_dict(
        {
            **{name: [None] for name in attribute.columns},
            **{name: [value] for name, value in own.items()},
            "label": [0],
            "skin_type": [None],
            "image_id": [image_id],
            "group_id": [image_id],
            "corpus": [_SOURCE],
        },
        features=Features(
            {
                **corpus_features([_condition(condition)], attribute.columns),
                **{name: shapes[name] for name in own if name in shapes},
            }
        ),
    )


def _condition(words: str) -> str:
    words = " ".join(words.split())
    if not words.isprintable() or not 0 < len(words) <= _LONGEST_CONDITION:
        raise GeneratorError(
            f"condition: give one in 1 to {_LONGEST_CONDITION} characters, such as red patch"
        )
    return words


def _img2img_settings(config: DemoConfig, request: TransferRequest, attribute: Attribute) -> SynthesisConfig:
    count = len(attribute.known)
    _check(config, request.steps, request.guidance_scale, request.seed, count)
    settings = SynthesisConfig(
        strategy="vanilla",
        images_per_source=1,
        targets=attribute.known[:1],
        strength=request.strength,
        guidance_scale=request.guidance_scale,
        steps=request.steps,
        tone=request.tone,
        tone_subject=config.tone_subject,
        detail=1.0,
        batch_size=min(config.batch_size, count),
    )
    settings.validate()
    return settings.aimed(attribute)


def _check(config: DemoConfig, steps: int, guidance_scale: float, seed: int, count: int) -> None:
    for name, value, least, most in (
        ("steps", steps, 1, config.max_steps),
        ("guidance", guidance_scale, 1, 20),
        ("seed", seed, 0, MOST_SEED),
        ("images", count, 1, max(config.max_images, len(SKIN_TYPES))),
    ):
        if not least <= value <= most:
            raise SynthesisError(f"{name}: {str(value)[:20]} is outside {least} to {most}")
