import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.utils import logging as diffusers_logging

from skindiff.errors import GeneratorError
from skindiff.generators.models import model_folder, model_revision
from skindiff.generators.text_to_image.loading import load_pipeline
from tests.tiny import save_tiny_pipeline, tiny_pipeline


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pipeline(tmp_path_factory.mktemp("models") / "tiny")


def _draw(pipeline) -> np.ndarray:
    generator = torch.Generator().manual_seed(0)
    return pipeline("an image of eczema", num_inference_steps=2, generator=generator, output_type="np").images


def test_a_folder_loads_as_it_was_saved(saved: Path) -> None:
    pipeline = load_pipeline(str(saved))
    assert pipeline.safety_checker is None
    assert not any(parameter.requires_grad for parameter in pipeline.unet.parameters())
    np.testing.assert_array_equal(_draw(pipeline), _draw(tiny_pipeline()))


def test_weights_stored_in_half_precision_come_as_asked(tmp_path: Path) -> None:
    tiny_pipeline().to(torch.float16).save_pretrained(tmp_path / "half")
    pipeline = load_pipeline(str(tmp_path / "half"))
    assert {pipeline.unet.dtype, pipeline.vae.dtype, pipeline.text_encoder.dtype} == {torch.float32}


def test_loading_leaves_progress_bars_and_verbosity_as_they_were(saved: Path) -> None:
    before = diffusers_logging.get_verbosity(), diffusers_logging.is_progress_bar_enabled()
    load_pipeline(str(saved))
    assert (diffusers_logging.get_verbosity(), diffusers_logging.is_progress_bar_enabled()) == before


def test_the_revision_of_a_folder_follows_its_weights(saved: Path, tmp_path: Path) -> None:
    again = save_tiny_pipeline(tmp_path / "tiny")
    other = save_tiny_pipeline(tmp_path / "other" / "tiny", seed=1)
    assert model_revision(str(saved)) == model_revision(str(again))
    assert model_revision(str(saved)) != model_revision(str(other))
    assert model_revision(str(saved)).startswith("tiny@")


def test_the_revision_of_a_hub_model_is_what_was_asked_for_until_it_is_cached() -> None:
    assert model_revision("owner/absent-model", "v2") == "owner/absent-model@v2"
    assert model_folder("owner/absent-model") is None


def test_only_safetensors_are_read(tmp_path: Path) -> None:
    tiny_pipeline().save_pretrained(tmp_path / "pickled", safe_serialization=False)
    with pytest.raises(GeneratorError, match="safetensors"):
        load_pipeline(str(tmp_path / "pickled"))


@pytest.mark.parametrize("model", ["/no/such/folder", "./nowhere", "nowhere", "a/b/c"])
def test_a_missing_folder_is_one_clear_line(model: str) -> None:
    with pytest.raises(GeneratorError, match="no such folder") as error:
        load_pipeline(model)
    assert "\n" not in str(error.value)


def test_a_hub_model_that_is_not_cached_is_one_clear_line() -> None:
    with pytest.raises(GeneratorError, match="check the id and the network") as error:
        load_pipeline("owner/absent-model")
    assert "\n" not in str(error.value)


def test_a_folder_that_is_no_pipeline_is_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(GeneratorError, match=r"model_index\.json"):
        load_pipeline(str(tmp_path))
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "FluxFillPipeline"}))
    with pytest.raises(GeneratorError, match="FluxFillPipeline"):
        load_pipeline(str(tmp_path))
    with pytest.raises(GeneratorError, match="revision 'main'"):
        load_pipeline(str(saved), revision="main")


def test_an_autoencoder_with_a_shift_is_refused(tmp_path: Path) -> None:
    pipeline = tiny_pipeline()
    pipeline.vae.register_to_config(shift_factor=0.1)
    pipeline.save_pretrained(tmp_path / "shifted")
    with pytest.raises(GeneratorError, match=r"model '.*shifted': .* shift_factor of 0\.1.*: give a model"):
        load_pipeline(str(tmp_path / "shifted"))
