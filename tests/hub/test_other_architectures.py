"""A model that skindiff cannot work with is refused by its index, before its weights come."""

import pytest

from tests.hub.conftest import Client
from tests.hub.server import Hub

KINDS = ("PixArtSigmaPipeline", "StableDiffusionInpaintPipeline")
PUSH = """
    import json
    from skindiff.hub.client import push_files
    kinds = {
        "pixart": "PixArtSigmaPipeline",
        "inpaint": "StableDiffusionInpaintPipeline",
        "refiner": "StableDiffusionXLImg2ImgPipeline",
    }
    for name, kind in kinds.items():
        index = {"_class_name": kind, "unet": ["diffusers", "UNet2DConditionModel"]}
        files = {
            "model_index.json": json.dumps(index).encode(),
            "unet/config.json": b"{}",
            "unet/diffusion_pytorch_model.safetensors": b"0" * 100_000,
        }
        push_files(files, f"me/{name}", repo_type="model", message="m")
"""
LOAD = """
    import skindiff
    from skindiff.cli import main
    from skindiff.demo.config import DemoConfig
    from skindiff.demo.generator_cache import GeneratorCache
    from skindiff.errors import GeneratorError
    from skindiff.generators.text_to_image.loading import load_pipeline

    cache = GeneratorCache(DemoConfig(generators=["me/pixart"]))
    for load in (skindiff.load, load_pipeline, cache.generator):
        for name in ("me/pixart", "me/inpaint"):
            try:
                load(name)
            except GeneratorError as error:
                print(error)
    for words in (["sample", "--generator"], ["train", "lora", "--model"]):
        for model in ("me/inpaint", "me/refiner"):
            assert main([*words, model, "--threads", "1", "--output_dir", "run"]) == 2
"""


@pytest.mark.slow
def test_another_architecture_is_refused_by_its_index_alone(hub: Hub, client: Client) -> None:
    client.succeed(PUSH)
    hub.requests.clear()
    outcome = client.run(LOAD, SKINDIFF_IN_PROCESS="1")
    assert outcome.code == 0, outcome.err[-4000:]
    said = outcome.out.splitlines()
    assert len(said) == 6
    for line, kind in zip(said, KINDS * 3, strict=True):
        assert f"is a {kind}, " in line
        assert "StableDiffusionPipeline" in line.partition(kind)[2]  # what skindiff does
    assert outcome.err.count("error: model 'me/inpaint' is a StableDiffusionInpaintPipeline") == 2
    assert outcome.err.count("error: model 'me/refiner' is the refiner of Stable Diffusion XL") == 2
    assert hub.count("GET", "me/.*/resolve/.*/model_index.json") > 0
    assert not any(hub.count(method, "unet|storage") for method in ("GET", "HEAD"))
