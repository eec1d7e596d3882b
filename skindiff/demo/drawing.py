"""Generation in the demo, as plain functions: by condition and skin type.

A generator that was trained to tell something else than skin types, such as sex, is asked for that instead.

It yields after every batch, so that a page can show what is done and a request can be cancelled. Rows of
provenance are rows of a plan (:mod:`skindiff.synthesis.plan`, :mod:`skindiff.synthesis.class_plan`): with the
generator they are generated again. The plan is that of ``skindiff sample --same_noise true``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset
from PIL import Image as PILImage

from skindiff.corpora.attribute import Attribute
from skindiff.corpora.buckets import SHOWN
from skindiff.corpora.crops import picture_of
from skindiff.corpora.schema import corpus_features
from skindiff.demo.asked import DrawRequest, condition_of, refuse_outside
from skindiff.demo.generator_cache import GeneratorCache, Loaded
from skindiff.demo.photographs import Pixels
from skindiff.errors import GeneratorError, SynthesisError
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.measures.skin.tone import image_ita
from skindiff.synthesis.class_draw import ClassDrawer
from skindiff.synthesis.class_plan import ClassSynthesisConfig, make_class_plan
from skindiff.synthesis.config import SynthesisConfig
from skindiff.synthesis.draw import Drawer
from skindiff.synthesis.requests import plan_words
from skindiff.synthesis.writer import RowDrawer


@dataclass(frozen=True)
class Picture:
    """An image with what is known of it.

    Attributes:
        pixels: (height, width, 3) uint8 sRGB.
        row: its provenance, the columns of a plan without codes for classes (``condition`` instead), and the
            request's seed with the image's place (``request_seed``, ``index``).
        ita: measured individual typology angle of its bare skin in degrees, None where there is too little.
        aim: the angle that was asked for, None where nothing but words moves the tone.
        kept: structure of the source's lesion that it kept, 1 for all of it; None without a source.
    """

    pixels: Pixels
    row: Mapping[str, Any]
    ita: float | None
    aim: float | None = None
    kept: float | None = None


@dataclass(frozen=True)
class Progress:
    """Progress of a request: the images so far, of how many, and what is being done now."""

    pictures: list[Picture]
    total: int
    doing: str


LOADING = "loading the generator, which takes some seconds the first time"


def draw(cache: GeneratorCache, request: DrawRequest) -> Iterator[Progress]:
    """Generate images of conditions.

    Yields:
        Its progress, before the first batch and after each.

    Raises:
        GeneratorError: the generator cannot be loaded, or cannot generate this.
        SynthesisError: a number is outside its bounds, or an image comes out as none.
    """
    conditions = [condition_of(words) for words in request.conditions]
    least = len(conditions) * max(1, len(request.values)) * request.count
    refuse_outside(cache.config, request, least)
    yield Progress([], least, LOADING)
    loaded = cache.generator(request.generator)
    plan, drawer = _planned(cache, loaded, request, conditions)
    refuse_outside(cache.config, request, len(plan))
    names = plan.features["label"].names
    rows = [
        {
            "condition": names[row["label"]],
            **row,
            "request_seed": request.seed,
            "index": place % request.count,
        }
        for place, row in enumerate(plan.to_list())
    ]
    yield from in_batches(cache, drawer, rows)


def image_size(loaded: Loaded) -> int:
    """Return the side of a generator's images in pixels."""
    if loaded.takes_words:
        pipeline = loaded.generator.pipeline
        return architecture_of(pipeline).image_size(pipeline)
    return int(loaded.generator.pipeline.config.image_size)


def _planned(
    cache: GeneratorCache, loaded: Loaded, request: DrawRequest, conditions: list[str]
) -> tuple[Dataset, RowDrawer[Any]]:
    known = loaded.generator.class_names
    if known is not None and (unknown := [name for name in conditions if name not in known]):
        raise GeneratorError(
            f"condition {unknown[0]!r} is no class of {request.generator!r}; choose from {', '.join(known)}"
        )
    pipeline = loaded.generator.pipeline
    if not loaded.takes_words:
        return _plan_classes(cache, loaded, request, conditions), ClassDrawer(pipeline)
    attribute = loaded.generator.attribute
    for value in request.values:
        refuse_unknown(value, attribute, request.generator)
    values = list(request.values or attribute.known)
    settings = SynthesisConfig(
        mode="txt2img",
        targets=values,
        images_per_source=request.count,
        guidance_scale=request.guidance_scale,
        steps=request.steps,
        batch_size=min(cache.config.batch_size, len(values) * len(conditions) * request.count),
    )
    plan = plan_words(loaded.generator, conditions, settings, request.seed, same_noise=True)
    return plan, Drawer(pipeline)


def _plan_classes(
    cache: GeneratorCache, loaded: Loaded, request: DrawRequest, conditions: list[str]
) -> Dataset:
    pipeline = loaded.generator.pipeline
    if pipeline.needs_images:
        raise GeneratorError(
            f"generator {request.generator!r} is a {pipeline.family}, which only reconstructs real images; "
            "choose another"
        )
    if request.values:
        raise GeneratorError(
            f"skin type: generator {request.generator!r} knows no skin types; choose 'any', or "
            "another generator"
        )
    settings = ClassSynthesisConfig(
        budget="table",
        table=dict.fromkeys(conditions, request.count),
        steps=request.steps,
        guidance_scale=request.guidance_scale,
        batch_size=min(cache.config.batch_size, len(conditions) * request.count),
    )
    classes = Dataset.from_dict(
        {"label": [], "skin_type": [], "image_id": [], "group_id": [], "image": [], "corpus": []},
        features=corpus_features(loaded.conditions),
    )
    return make_class_plan(
        classes, settings, seed=request.seed, family=pipeline.family, generator=loaded.generator.name
    )


def in_batches(
    cache: GeneratorCache, drawer: RowDrawer[Any], rows: Sequence[Mapping[str, Any]]
) -> Iterator[Progress]:
    """Generate rows of plans in batches of one strength each.

    Args:
        cache: whose turn it is.
        drawer: of the generator.
        rows: with the columns of a plan and ``condition``.

    Yields:
        The progress, before the first batch and after each.
    """
    pictures: list[Picture] = []
    yield Progress([], len(rows), "generating")
    size = rows[0]["batch_size"]
    for start in range(0, len(rows), size):
        batch = rows[start : start + size]
        with cache.drawing():
            drawn = drawer.draw(batch, lambda count: None)
        if drawn.refused:
            reason = next(iter(drawn.refused.values()))
            raise SynthesisError(f"seed: an image came out {reason}; try another seed or fewer steps")
        for number, row in enumerate(batch):
            known = {name: value for name, value in row.items() if name != "label"}
            pixels = drawn.images[number]
            pictures.append(measured(pixels, known))
        yield Progress(list(pictures), len(rows), "generating")


def measured(pixels: Pixels, row: Mapping[str, Any]) -> Picture:
    """Return an image with the angle of its skin, outside of what a crop has filled."""
    shown = picture_of({"image": PILImage.fromarray(pixels), SHOWN: row.get(SHOWN)})
    return Picture(pixels, row, image_ita(np.asarray(shown)))


def refuse_unknown(value: str | None, attribute: Attribute, generator: str) -> None:
    """Raise GeneratorError if a value is none that the generator was trained to tell."""
    if value is not None and value not in attribute.known:
        raise GeneratorError(
            f"{attribute.name} {value[:80]!r} is none that {generator!r} knows; choose one of "
            f"{', '.join(attribute.known)}"
        )
