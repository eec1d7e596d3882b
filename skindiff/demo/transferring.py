"""Transfer of a photograph in the demo, as plain functions, and how well it went."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from datasets import Dataset, Features
from datasets import Image as ImageFeature
from PIL import Image as PILImage

from skindiff.corpora.attribute import SKIN_COLUMN, Attribute
from skindiff.corpora.buckets import BUCKETED, SHAPE_COLUMNS, SHOWN
from skindiff.corpora.crops import CropKind
from skindiff.corpora.schema import corpus_features
from skindiff.demo.asked import TransferRequest, condition_of, refuse_outside
from skindiff.demo.config import DemoConfig
from skindiff.demo.drawing import LOADING, Picture, Progress, image_size, in_batches, measured, refuse_unknown
from skindiff.demo.generator_cache import GeneratorCache, Loaded
from skindiff.demo.photographs import Pixels, cut_like, photograph_id
from skindiff.errors import GeneratorError
from skindiff.generators.prompts import prompt_for
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.measures.skin.lesion_structure import Structure, band_pass, source_lesion
from skindiff.measures.skin.tone import ita_degrees, measurable_skin
from skindiff.synthesis.colour_transfer import SKIN_REFERENCE, Lab
from skindiff.synthesis.config import SynthesisConfig
from skindiff.synthesis.draw import Drawer
from skindiff.synthesis.plan import make_plan

TONE_MISS = 15.0
"""Degrees of ITA by which a tone misses its aim: about the width of a class of Chardon et al. (1991)."""
LEAST_KEPT = 0.5
"""Structure of the lesion (see :mod:`skindiff.measures.skin.lesion_structure`) below which it counts as lost:
half way from unrelated to the same."""
_SHOWN_SIDE = 512
"""Largest side in pixels at which the original square is shown."""
_OVERLAY = np.array([0, 190, 255])


def transfer(cache: GeneratorCache, request: TransferRequest) -> Iterator[Progress]:
    """Transfer a photograph to skin types, or values, at one or several strengths.

    Yields:
        Its progress, before the first batch and after each; of the last each image is judged.

    Raises:
        GeneratorError: the generator cannot be loaded, or cannot transfer.
        SynthesisError: a number is outside its bounds, or an image comes out as none.
        ConfigError: a setting cannot work.
    """
    count = len(request.strengths) * max(1, len(request.targets))
    refuse_outside(cache.config, request, count)
    yield Progress([], count, LOADING)
    loaded = cache.generator(request.generator)
    if not loaded.takes_words:
        raise GeneratorError(
            f"generator {request.generator!r} knows no skin types and transfers no photographs; choose one "
            "of Stable Diffusion, such as bundled"
        )
    attribute = loaded.generator.attribute
    for value in (request.value, *request.targets):
        refuse_unknown(value, attribute, request.generator)
    targets = request.targets or tuple(attribute.known)
    refuse_outside(cache.config, request, len(targets) * len(request.strengths))
    settings = [_settings(cache.config, request, strength, attribute) for strength in request.strengths]
    if settings[0].tone == "prototype_colour":
        for skin_type in cache.learn_tones(loaded):
            said = f"measuring once the generator's own colour of skin type {skin_type}"
            yield Progress([], len(targets) * len(settings), said)
    source_id = photograph_id(request.photograph)
    crop = loaded.generator.crop
    cut = cut_like(request.photograph, crop, image_size(loaded))
    source = _source(source_id, request.condition, attribute, cut)
    rows = _rows(loaded, request, source, settings, targets)
    drawer = Drawer(loaded.generator.pipeline, source, loaded.prototypes)
    aims = _aims(settings[0].tone, loaded.prototypes.colours) if attribute.is_skin_tone else {}
    judge = _Judge(before(request.photograph, image_size(loaded), crop).pixels)
    for progress in in_batches(cache, drawer, rows):
        yield replace(progress, pictures=[judge(picture, aims) for picture in progress.pictures])


def before(photograph: Pixels, size: int, crop: CropKind = "centre") -> Picture:
    """Return a photograph as img2img sees it, cut by a crop for squares of ``size`` pixels, and its ITA."""
    cut = cut_like(photograph, crop, size)
    return measured(np.array(cut["image"]), {"image_id": photograph_id(photograph), SHOWN: cut.get(SHOWN)})


def original_part(photograph: Pixels, crop: CropKind = "centre") -> Pixels:
    """Return the part of a photograph that img2img sees as it is, cut for squares of at most 512 pixels."""
    return np.array(cut_like(photograph, crop, min(_SHOWN_SIDE, *photograph.shape[:2]))["image"])


def enlarged(pixels: Pixels, like: Pixels) -> Pixels:
    """Return an image at the size of another one that is shown beside it, without new detail."""
    height, width = like.shape[:2]
    return np.array(PILImage.fromarray(pixels).resize((width, height), PILImage.Resampling.BICUBIC))


def skin_overlay(pixels: Pixels) -> Pixels:
    """Return an image with the skin that its tone is measured on in blue."""
    mask = measurable_skin(pixels)[..., None]
    mixed = np.where(mask, 0.5 * pixels + 0.5 * _OVERLAY, pixels)
    return np.asarray(mixed.round(), dtype=np.uint8)


def misses(picture: Picture) -> list[str]:
    """Return in words what a transferred image misses: the tone, the lesion, both or nothing."""
    found = []
    if picture.aim is not None and (picture.ita is None or abs(picture.ita - picture.aim) > TONE_MISS):
        found.append("tone missed")
    if picture.kept is not None and picture.kept < LEAST_KEPT:
        found.append("lesion lost")
    return found


class _Judge:
    """Measures how much of a source's lesion an image has kept; each image once."""

    def __init__(self, source: Pixels) -> None:
        self._structure = Structure(source, source_lesion(source))
        self._known: dict[str, Picture] = {}

    def __call__(self, picture: Picture, aims: Mapping[str, float]) -> Picture:
        name = str(picture.row["image_id"])
        if name not in self._known:
            kept = self._structure.similarity(band_pass(picture.pixels))
            aim = aims.get(str(picture.row[SKIN_COLUMN]))
            self._known[name] = replace(picture, kept=kept, aim=aim)
        return self._known[name]


def _aims(tone: str, prototypes: Mapping[str, Lab]) -> dict[str, float]:
    """Return the ITA in degrees that is asked for of each skin type; none where the prompt alone asks."""
    references = {"prototype_colour": prototypes, "colour": SKIN_REFERENCE}.get(tone, {})
    return {name: float(ita_degrees(lab[0], lab[2])) for name, lab in references.items()}


def _rows(
    loaded: Loaded,
    request: TransferRequest,
    source: Dataset,
    settings: Sequence[SynthesisConfig],
    targets: Sequence[str],
) -> list[dict[str, object]]:
    attribute, subjects = loaded.generator.attribute, loaded.generator.subjects
    (source_id,) = source["image_id"][:]
    condition = condition_of(request.condition)
    subject = subjects.get(condition, condition)
    rows: list[dict[str, object]] = []
    for own in settings:
        template = make_plan(
            source,
            own.sampled_by(architecture_of(loaded.generator.pipeline)),
            seed=request.seed,
            generator=loaded.generator.name,
            attribute=attribute,
            same_noise=True,
        )[0]
        for value in targets:
            rows.append(
                {"condition": condition}
                | template
                | {
                    # Into the name of a file, where a value may have any character.
                    "image_id": f"{source_id}-{len(rows)}-{request.seed}",
                    attribute.column: value,
                    f"source_{attribute.column}": request.value,
                    "subject": subject,
                    "prompt": prompt_for(subject, value, attribute),
                    "strategy": loaded.generator.strategy,
                    "batch_position": 0,
                    "request_seed": request.seed,
                    "index": 0,
                }
            )
    return rows


def _source(image_id: str, condition: str, attribute: Attribute, cut: Mapping[str, Any]) -> Dataset:
    """Return the one row that a plan is made from, with the columns of a photograph."""
    shapes = {**SHAPE_COLUMNS, BUCKETED: ImageFeature()}
    return Dataset.from_dict(
        {
            **{name: [None] for name in attribute.columns},
            **{name: [value] for name, value in cut.items()},
            "label": [0],
            "skin_type": [None],
            "image_id": [image_id],
            "group_id": [image_id],
            "corpus": ["demo"],
        },
        features=Features(
            {
                **corpus_features([condition_of(condition)], attribute.columns),
                **{name: shapes[name] for name in cut if name in shapes},
            }
        ),
    )


def _settings(
    config: DemoConfig, request: TransferRequest, strength: float, attribute: Attribute
) -> SynthesisConfig:
    settings = SynthesisConfig(
        strategy="vanilla",
        images_per_source=1,
        targets=attribute.known[:1],
        strength=strength,
        guidance_scale=request.guidance_scale,
        steps=request.steps,
        tone=request.tone,
        tone_subject=config.tone_subject,
        detail=1.0,
        # As the command for one image makes it: a batch changes the last bits, and is of one strength.
        batch_size=1,
    )
    settings.validate()
    return settings.aimed(attribute)
