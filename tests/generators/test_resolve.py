"""One word, one generator: bundled, folders, runs, adapters and ids of the Hub."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

import skindiff
from skindiff.errors import GeneratorError
from skindiff.generators.ddpm import ConditionalDDPMPipeline
from skindiff.generators.learned_embeds import embedding_files
from skindiff.generators.models import model_revision
from skindiff.generators.prompts import prompt_for
from skindiff.generators.resolve import find_generator, load_generator
from skindiff.generators.text_to_image.loading import load_pipeline
from tests.generators.made_adapter import (
    BASE,
    NEWEST,
    RECORDED,
    Made,
    cache_repository,
    make_adapter,
    record_base,
)
from tests.tiny_generators import tiny_ddpm

PROMPT = prompt_for("<skindiff-eczema>", "V")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_adapter(tmp_path_factory.mktemp("resolved"))


@pytest.fixture
def made(trained: Made, monkeypatch: pytest.MonkeyPatch) -> Made:
    trained.use_cache(monkeypatch)
    return trained


def draw(pipeline: StableDiffusionPipeline, prompt: str = PROMPT) -> np.ndarray:
    generator = torch.Generator().manual_seed(0)
    options = {"num_inference_steps": 3, "guidance_scale": 3.0, "output_type": "np"}
    return np.asarray(pipeline(prompt, generator=generator, **options).images)


def plain(made: Made) -> StableDiffusionPipeline:
    """The adapter on its base, by diffusers alone."""
    pipeline = StableDiffusionPipeline.from_pretrained(made.base, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_textual_inversion(embedding_files(made.adapter))
    pipeline.load_lora_weights(str(made.adapter))
    return pipeline


WORDS: dict[str, Callable[[Made], str | Path]] = {
    "adapter folder": lambda made: made.adapter,
    "run folder": lambda made: str(made.run),
    "Hub id": lambda made: "me/adapter",
    "Hub id at a revision": lambda made: f"me/adapter@{NEWEST}",
}


@pytest.mark.parametrize("word", WORDS)
def test_an_adapter_draws_as_plain_diffusers_draws_it_on_its_recorded_base(made: Made, word: str) -> None:
    pipeline = skindiff.load(WORDS[word](made))
    np.testing.assert_array_equal(draw(pipeline), draw(plain(made)))
    assert pipeline.get_active_adapters() == ["skindiff"]
    pipeline.unload_lora_weights()  # which it could not if they were fused
    without = StableDiffusionPipeline.from_pretrained(made.base, safety_checker=None)
    without.set_progress_bar_config(disable=True)
    generic = "an image of eczema"
    np.testing.assert_array_equal(draw(pipeline, generic), draw(without, generic))


def test_the_recorded_revision_is_found_and_named(made: Made) -> None:
    place = find_generator(str(made.run))
    assert (place.model, place.revision, place.adapter) == (BASE, RECORDED, made.run / "adapter")
    generator = load_generator(place)
    assert generator.name.startswith(f"{BASE}@{RECORDED}+adapter@")
    assert (generator.strategy, generator.class_names) == ("ti+lora", ["eczema", "squamous cell carcinoma"])
    np.testing.assert_array_equal(draw(generator.load_base()), draw(load_pipeline(str(made.base))))
    other = find_generator(str(made.run), base_model=str(made.base))
    assert (other.model, other.revision) == (str(made.base), None)


def test_a_revision_stands_in_the_word_or_beside_it(made: Made) -> None:
    inside, beside = skindiff.load(f"{BASE}@{RECORDED}"), skindiff.load(BASE, revision=RECORDED)
    np.testing.assert_array_equal(draw(inside), draw(beside))
    assert np.abs(draw(inside) - draw(skindiff.load(BASE))).max() > 1e-3  # the newest is another
    assert model_revision(f"{BASE}@{RECORDED}") == model_revision(BASE, RECORDED) == f"{BASE}@{RECORDED}"
    assert model_revision(BASE) == f"{BASE}@{NEWEST}"
    with pytest.raises(GeneratorError, match="names another one: give one of them"):
        skindiff.load(f"{BASE}@{RECORDED}", revision=NEWEST)
    with pytest.raises(GeneratorError, match=f"'{BASE}@v7' cannot be found"):
        skindiff.load(f"{BASE}@v7")


def test_a_revision_is_not_lost_where_a_folder_has_the_name_of_the_model(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made.base, tmp_path / BASE)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GeneratorError, match=f"revision '{RECORDED}': '{BASE}' is a folder"):
        skindiff.load(made.adapter)


def test_a_run_that_trained_from_scratch(tmp_path: Path) -> None:
    tiny_ddpm().save_pretrained(tmp_path / "run" / "pipeline")
    generator = load_generator(find_generator(str(tmp_path / "run")))
    assert isinstance(generator.pipeline, ConditionalDDPMPipeline)
    assert generator.class_names == ["one", "two"]
    own = model_revision(str(tmp_path / "run" / "pipeline"))
    assert generator.name == f"ddpm@{own.rpartition('@')[2]}"
    assert isinstance(skindiff.load(tmp_path / "run"), ConditionalDDPMPipeline)


@pytest.mark.parametrize("recorded", ["tiny@0123abc", ""])
def test_an_adapter_on_a_folder_says_how_to_give_it(made: Made, tmp_path: Path, recorded: str) -> None:
    adapter = shutil.copytree(made.adapter, tmp_path / "adapter")
    record_base(adapter, recorded)
    with pytest.raises(GeneratorError, match=r"base_model: .*give it by --base_model") as error:
        skindiff.load(adapter)
    assert "\n" not in str(error.value)
    assert load_generator(find_generator(str(adapter), base_model=str(made.base))).adapter


def test_an_adapter_on_the_bundled_pipeline(made: Made, tmp_path: Path) -> None:
    adapter = shutil.copytree(made.adapter, tmp_path / "adapter")
    record_base(adapter, model_revision("bundled"))
    assert find_generator(str(adapter)).model == "bundled"


@pytest.mark.parametrize(
    "kind", ["PixArtSigmaPipeline", "StableDiffusionInpaintPipeline", "ConditionalDDPMPipeline"]
)
def test_a_base_of_another_architecture_is_refused_by_its_index(
    made: Made, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(place: Path) -> None:
        place.mkdir(parents=True)
        (place / "model_index.json").write_text(json.dumps({"_class_name": kind}))

    cache_repository(tmp_path, "owner/other", NEWEST, write)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    adapter = shutil.copytree(made.adapter, tmp_path / "adapter")
    record_base(adapter, f"owner/other@{NEWEST}")
    for load in (lambda: load_pipeline("owner/other"), lambda: skindiff.load(adapter)):
        with pytest.raises(GeneratorError, match=f"is a {kind}, but skindiff trains and uses") as error:
            load()
        assert "Stable Diffusion 1.x and 2.x" in str(error.value)
        assert "\n" not in str(error.value)
