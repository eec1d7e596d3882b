import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

import skindiff
from skindiff.errors import GeneratorError
from skindiff.generators.ddpm import ConditionalDDPMPipeline
from skindiff.generators.foreign_folder import load_checked
from skindiff.generators.text_to_image.loading import check_text_to_image
from tests.hub_http import httpx
from tests.tiny import save_tiny_pipeline
from tests.tiny_generators import tiny_ddpm


def test_the_class_is_found_for_our_families_and_for_stable_diffusion(tmp_path: Path) -> None:
    tiny_ddpm().save_pretrained(tmp_path / "ddpm")
    save_tiny_pipeline(tmp_path / "sd")

    pipeline = skindiff.load(tmp_path / "ddpm")

    assert isinstance(pipeline, ConditionalDDPMPipeline)
    assert (pipeline.family, pipeline.config.class_names) == ("ddpm", ["one", "two"])
    assert not pipeline.unet.training
    assert not any(parameter.requires_grad for parameter in pipeline.unet.parameters())
    for name, weight in tiny_ddpm().unet.state_dict().items():
        assert torch.equal(weight, pipeline.unet.state_dict()[name])
    assert isinstance(skindiff.load(str(tmp_path / "sd")), StableDiffusionPipeline)


def test_importing_skindiff_does_not_import_torch() -> None:
    program = "import sys, skindiff; sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = skindiff.lode


def test_what_cannot_be_loaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GeneratorError, match="no such folder"):
        skindiff.load("nowhere")
    with pytest.raises(GeneratorError, match=r"the folder has no model_index\.json"):
        skindiff.load(tmp_path)
    index = tmp_path / "model_index.json"
    for text in ("{", "[]"):
        index.write_text(text)
        with pytest.raises(GeneratorError, match=r"model_index\.json cannot be read"):
            skindiff.load(tmp_path)
    index.write_text(json.dumps({"_class_name": "FluxFillPipeline"}))
    with pytest.raises(
        GeneratorError, match="is a FluxFillPipeline, which skindiff does not know; give one of"
    ):
        skindiff.load(tmp_path)
    with pytest.raises(GeneratorError, match="is a folder, which has none"):
        skindiff.load(tmp_path, revision="main")
    with pytest.raises(GeneratorError, match="'owner/model' cannot be found"):
        skindiff.load("owner/model")


def test_a_missing_or_foreign_weight_file_is_named(tmp_path: Path) -> None:
    tiny_ddpm().save_pretrained(tmp_path)
    weights = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    config = tmp_path / "model_index.json"
    index = json.loads(config.read_text())

    config.write_text(json.dumps({**index, "class_names": ["one", "two", "three"]}))
    with pytest.raises(GeneratorError, match="3 names for a U-Net of 3 class embeddings"):
        skindiff.load(tmp_path)
    config.write_text(json.dumps({**index, "_class_name": "CvaeConvPipeline"}))
    with pytest.raises(GeneratorError, match="cannot be loaded"):
        skindiff.load(tmp_path)
    config.write_text(json.dumps(index))
    weights.unlink()
    with pytest.raises(GeneratorError, match=r"cannot be loaded .*check that it is complete"):
        skindiff.load(tmp_path)


def refused_by_the_hub(kind: type[HfHubHTTPError], status: int) -> Callable[..., None]:
    def fetch(*_: object, **__: object) -> None:
        request = httpx.Request("HEAD", "https://hub/owner/model")
        raise kind("Cannot access.\nVisit.", response=httpx.Response(status, request=request))

    return fetch


@pytest.mark.parametrize(
    ("kind", "token", "says"),
    [
        (
            GatedRepoError,
            None,
            r"'owner/model' is gated: accept the terms .*/owner/model, and log in by `hf auth",
        ),
        (GatedRepoError, "hf_x", "'owner/model' is gated: accept the terms"),
        (RepositoryNotFoundError, None, "is not on the Hub, or is private, and no token is there"),
        (RepositoryNotFoundError, "hf_x", r"'owner/model' cannot be found \(Cannot access\.\)"),
    ],
)
def test_a_gated_model_and_a_missing_token_are_one_line(
    kind: type[HfHubHTTPError], token: str | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = refused_by_the_hub(kind, 403)
    monkeypatch.setattr("skindiff.generators.models.hf_hub_download", fetch)
    monkeypatch.setattr("skindiff.generators.models.get_token", lambda: token)
    with pytest.raises(GeneratorError, match=says) as error:
        check_text_to_image("owner/model")
    assert "\n" not in str(error.value)
    monkeypatch.setattr("skindiff.generators.foreign_folder.model_info", fetch)
    monkeypatch.setattr(StableDiffusionPipeline, "download", fetch)
    with pytest.raises(GeneratorError, match=says):  # of the weights, where the index could be had
        load_checked(StableDiffusionPipeline, "owner/model", None)
