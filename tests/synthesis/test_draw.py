import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset

from skindiff.corpora.schema import SKIN_TYPES
from skindiff.errors import SynthesisError
from skindiff.generators.prompts import prompt_for
from skindiff.generators.text_to_image.architecture import Architecture
from skindiff.generators.text_to_image.loading import ARCHITECTURES, architecture_of
from skindiff.synthesis.config import SynthesisConfig
from skindiff.synthesis.draw import Drawer, redraw
from skindiff.synthesis.plan import make_plan
from skindiff.synthesis.schedulers import make_scheduler
from skindiff.synthesis.tone import TonePrototypes
from tests.tiny import TINY_BUILDERS, TINY_SIZE, tiny_corpus, tiny_pipeline


def prototypes(channels: int) -> TonePrototypes:
    return TonePrototypes(
        {name: torch.full((channels,), place / 10) for place, name in enumerate(SKIN_TYPES)},
        {name: (80.0 - 9 * place, 10.0, 12.0 + 2 * place) for place, name in enumerate(SKIN_TYPES)},
        {f"{source}>{target}": 1.5 * torch.eye(3) for source in SKIN_TYPES for target in SKIN_TYPES},
    )


PROTOTYPES = prototypes(4)


def _rows(
    sources: Dataset, architecture: Architecture = ARCHITECTURES[0], **settings: Any
) -> list[dict[str, Any]]:
    config = replace(SynthesisConfig(strategy="vanilla", images_per_source=2, batch_size=4), **settings)
    config = replace(config, image_size=config.image_size or TINY_SIZE)
    config = config.sampled_by(architecture)
    return make_plan(sources, config, seed=1, generator="tiny@0").to_list()


BUILDS = pytest.mark.parametrize("build", TINY_BUILDERS.values(), ids=TINY_BUILDERS)


@BUILDS
@pytest.mark.parametrize(("threads", "settings"), [
    (1, {}),
    (1, {"tone": "prototype_colour", "detail": 0.5}),
    (1, {"tone": "prototype_contrast", "detail": 1.0}),
    (1, {"tone": "none", "scheduler": "pndm", "guidance_scale": 1.0}),
    (1, {"tone": "offset_noise", "scheduler": "ddpm", "batch_size": 3}),
    # Two threads on a busy machine wait for each other for a minute.
    pytest.param(2, {"batch_size": 3}, marks=pytest.mark.slow),
    (1, {"tone": "colour", "scheduler": "euler", "output_size": 20}),
    (1, {"mode": "txt2img", "steps": 3, "tone": "offset_noise", "scheduler": "ddim"}),
    (1, {"mode": "txt2img", "steps": 3, "scheduler": "pipeline", "image_size": 16}),
])  # fmt: skip
def test_any_row_is_drawn_again_alone_bit_for_bit(
    build: Callable[[], Any], threads: int, settings: dict[str, Any]
) -> None:
    sources, pipeline = tiny_corpus(5), build()
    seam = architecture_of(pipeline)
    if settings.get("scheduler") not in seam.samplers:
        settings = {**settings, "scheduler": "dpmsolver++"}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        rows = [{**row, "threads": threads} for row in _rows(sources, seam, **settings)]
        known = prototypes(seam.latent_shape(pipeline, TINY_SIZE)[0])
        drawn = Drawer(pipeline, sources, known).draw(rows)
    finally:
        torch.set_num_threads(before)

    assert len(drawn.images) == 10
    for number in (0, 1, 6, 9):
        image = np.asarray(redraw(rows[number], pipeline, sources, known))
        assert np.array_equal(image, drawn.images[number])
        assert image.shape[0] == (rows[number]["output_size"] or rows[number]["image_size"] or TINY_SIZE)
    assert torch.get_num_threads() == before


def test_batch_mates_and_the_order_of_rows_do_not_matter() -> None:
    sources, pipeline = tiny_corpus(6), tiny_pipeline()
    rows = _rows(sources, batch_size=5)
    whole = Drawer(pipeline, sources, PROTOTYPES).draw(rows)

    chosen = [11, 3, 8, 4, 0]
    part = Drawer(pipeline, sources, PROTOTYPES).draw([rows[number] for number in chosen])

    for place, number in enumerate(chosen):
        assert np.array_equal(part.images[place], whole.images[number])


@BUILDS
def test_tone_none_draws_what_plain_diffusers_draws_from_the_same_seed(build: Callable[[], Any]) -> None:
    sources, pipeline = tiny_corpus(2), build()
    seam = architecture_of(pipeline)
    rows = _rows(sources, seam, tone="none", strength=0.5, steps=6, batch_size=1)

    ours = redraw(rows[2], pipeline, sources)

    components = {**pipeline.components, "scheduler": make_scheduler(seam.samplers[0], pipeline)}
    plain: Any = seam.transfers(**components)
    plain.set_progress_bar_config(disable=True)
    theirs = plain(
        prompt=prompt_for("squamous cell carcinoma", rows[2]["skin_type"]),
        image=sources[1]["image"],
        strength=0.5,
        num_inference_steps=6,
        generator=torch.Generator().manual_seed(rows[2]["seed"]),
        **seam.guidance(2.0),
        **seam.transfer_size(TINY_SIZE, TINY_SIZE),
    ).images[0]
    # A shift of the latents is rounded as their memory lies.
    steps = 1 if "shift_factor" in seam.latent_facts(pipeline) else 0
    assert np.abs(np.asarray(ours).astype(int) - np.asarray(theirs)).max() <= steps


def test_rows_of_one_source_differ_and_follow_their_source() -> None:
    sources, pipeline = tiny_corpus(2), tiny_pipeline()
    rows = _rows(sources, tone="none")

    drawn = Drawer(pipeline, sources).draw(rows)
    with_other_sources = Drawer(pipeline, sources.select([1, 0])).draw(rows)
    swapped = Drawer(pipeline, Dataset.from_dict(
        {"image_id": ["tiny-0", "tiny-1"], "image": [sources[1]["image"], sources[0]["image"]]}
    )).draw(rows)  # fmt: skip

    assert not np.array_equal(drawn.images[0], drawn.images[1])
    assert np.array_equal(drawn.images[0], with_other_sources.images[0])
    assert not np.array_equal(drawn.images[0], swapped.images[0])


def test_each_source_and_prompt_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sources, pipeline = tiny_corpus(3), tiny_pipeline()
    shapes: list[int] = []
    encode = pipeline.vae.encode
    monkeypatch.setattr(pipeline.vae, "encode", lambda x: (shapes.append(len(x)), encode(x))[1])
    texts: list[int] = []
    pipeline.text_encoder.register_forward_hook(lambda module, args, output: texts.append(len(args[0])))

    rows = _rows(sources, images_per_source=5)
    drawer = Drawer(pipeline, sources, PROTOTYPES)
    drawer.draw(rows[:8])
    drawer.draw(rows[8:])

    assert shapes == [1, 1, 1]
    assert texts == [1] * (len({row["prompt"] for row in rows}) + 1)


def test_colours_and_detail_come_from_prototypes_and_source() -> None:
    sources, pipeline = tiny_corpus(2), tiny_pipeline()
    settings = {"source_skin_type": "I", "skin_type": "VI", "tone": "prototype_colour", "detail": 1.0}
    rows = [{**row, **settings} for row in _rows(sources)]

    def drawn(**settings: Any) -> np.ndarray:
        changed = [{**row, **settings} for row in rows]
        images = Drawer(pipeline, sources, PROTOTYPES).draw(changed).images
        return np.stack([images[number] for number in range(len(rows))]).astype(float)

    blurred, sharp = drawn(detail=0.0), drawn()
    kept = drawn(skin_type="I")
    source = np.asarray(sources[0]["image"].resize((TINY_SIZE, TINY_SIZE)), dtype=float)

    def likeness(image: np.ndarray) -> float:
        return float(np.corrcoef(image.ravel(), source.ravel())[0, 1])

    assert likeness(sharp[0]) > likeness(blurred[0])
    assert sharp[0].mean() < kept[0].mean()


def test_the_mean_of_the_start_follows_the_prototypes() -> None:
    sources, pipeline = tiny_corpus(2), tiny_pipeline()
    far = TonePrototypes(
        {name: torch.full((4,), 20.0 * (name in ("V", "VI"))) for name in SKIN_TYPES}, PROTOTYPES.colours
    )
    rows = _rows(sources)

    none = Drawer(pipeline, sources, far).draw([{**row, "tone": "none"} for row in rows])
    moved = Drawer(pipeline, sources, far).draw(rows)
    kept = Drawer(pipeline, sources, far).draw(
        [{**row, "source_skin_type": row["skin_type"]} for row in rows]
    )

    assert not np.array_equal(none.images[0], moved.images[0])
    assert np.array_equal(none.images[0], kept.images[0])
    with pytest.raises(SynthesisError, match="no prototype of skin type"):
        Drawer(pipeline, sources).draw(rows)


def test_the_steps_really_run_are_reported_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    sources, pipeline = tiny_corpus(3), tiny_pipeline()
    forwards: list[int] = []
    pipeline.unet.register_forward_hook(lambda *_: forwards.append(1))

    with caplog.at_level(logging.INFO, "skindiff.synthesis.draw"):
        drawn = Drawer(pipeline, sources, PROTOTYPES).draw(_rows(sources, strength=0.5, steps=9))

    assert drawn.denoising_steps == {"img2img, dpmsolver++, 9 steps, strength 0.5": 4}
    assert len(forwards) == 2 * 4
    assert caplog.text.count("4 denoising steps are run for each image") == 1


def test_rows_of_several_settings_share_no_batch() -> None:
    sources, pipeline = tiny_corpus(2), tiny_pipeline()
    mixed = (
        _rows(sources, strength=0.3) + _rows(sources, strength=0.6) + _rows(sources, mode="txt2img", steps=2)
    )

    drawn = Drawer(pipeline, sources, PROTOTYPES).draw(mixed)

    assert sorted(drawn.denoising_steps.values()) == [2, 4, 8]
    for number in (1, 5, 9):
        assert np.array_equal(
            np.asarray(redraw(mixed[number], pipeline, sources, PROTOTYPES)), drawn.images[number]
        )


@pytest.mark.parametrize(("value", "reason"), [(float("nan"), "not finite"), (-50.0, "constant")])
def test_bad_images_are_refused_and_never_kept(value: float, reason: str) -> None:
    sources, pipeline = tiny_corpus(2), tiny_pipeline()
    with torch.no_grad():
        pipeline.vae.decoder.conv_out.bias.fill_(value)
    rows = _rows(sources)

    drawn = Drawer(pipeline, sources, PROTOTYPES).draw(rows)

    assert drawn.images == {}
    assert drawn.refused == dict.fromkeys(range(4), reason)
    with pytest.raises(SynthesisError, match=f"gives an image that is {reason}"):
        redraw(rows[0], pipeline, sources, PROTOTYPES)


def test_one_bad_row_does_not_spoil_its_batch() -> None:
    sources, pipeline = tiny_corpus(2), tiny_pipeline()
    rows = _rows(sources, tone="offset_noise")
    rows[1]["tone_strength"] = float("inf")

    drawn = Drawer(pipeline, sources).draw(rows)

    assert drawn.refused == {1: "not finite"}
    assert sorted(drawn.images) == [0, 2, 3]


def test_an_unknown_source_is_named() -> None:
    rows = _rows(tiny_corpus(2))

    with pytest.raises(SynthesisError, match=r"source_id 'tiny-1' of row .* is not among the sources"):
        Drawer(tiny_pipeline(), tiny_corpus(1), PROTOTYPES).draw(rows)
