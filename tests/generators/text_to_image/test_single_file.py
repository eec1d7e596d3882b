"""A whole Stable Diffusion in one file, wherever a generator is given."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

import skindiff
from skindiff.errors import GeneratorError
from skindiff.foreign import read_json
from skindiff.generators.models import INDEX, model_revision
from skindiff.generators.resolve import find_generator, load_generator, name_of
from skindiff.generators.text_to_image import single_file
from skindiff.generators.text_to_image.clip_tokenizer import clip_tokenizer
from skindiff.generators.text_to_image.loading import check_text_to_image, load_pipeline
from skindiff.generators.text_to_image.single_file import SETTINGS, settings_folder
from tests.generators.text_to_image.checkpoints import checkpoint_of, save_checkpoint, tiny_whole
from tests.tiny import tiny_sdxl

Made = tuple[Path, Path]
OURS = Path(skindiff.__file__).parent / "assets" / "single_file"
UNET = "model.diffusion_model."
COUNTS = {
    "sd15": (859_520_964, 83_653_863, 123_060_480),
    "sd21-base": (865_910_724, 83_653_863, 340_387_840),
    "sd21": (865_910_724, 83_653_863, 340_387_840),
    "sdxl": (2_567_463_684, 83_653_863, 123_060_480, 694_659_840),
}
"""Published parameters of U-Net, autoencoder and text encoders."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(autouse=True)
def _nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: object, **__: object) -> None:
        raise AssertionError("something is fetched")

    monkeypatch.setattr("diffusers.loaders.single_file.snapshot_download", fetch)


def draw(pipeline: Any) -> np.ndarray:
    options = {"num_inference_steps": 3, "guidance_scale": 3.0, "output_type": "np"}
    generator = torch.Generator().manual_seed(0)
    return np.asarray(pipeline("an image of eczema", generator=generator, **options).images)


@pytest.mark.parametrize("open_clip", [False, True], ids=["1", "2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_it_draws_what_the_pipeline_draws_that_it_was_made_of(
    open_clip: bool, dtype: torch.dtype, tmp_path: Path
) -> None:
    whole = tiny_whole(prediction_type="v_prediction")
    file, config = save_checkpoint(tmp_path, whole, open_clip)
    if dtype == torch.float16:
        halved = {name: weight.half() for name, weight in checkpoint_of(whole, open_clip).items()}
        save_file(halved, file)
        for part in (whole.unet, whole.vae, whole.text_encoder):
            part.half().float()
    found = skindiff.load(file, model_config=str(config))
    assert {weight.dtype for weight in found.unet.state_dict().values()} == {torch.float32}
    for part in ("unet", "vae", "text_encoder"):
        expected = getattr(whole, part).state_dict()
        assert all(
            torch.equal(expected[name], weight) for name, weight in getattr(found, part).state_dict().items()
        )
    np.testing.assert_array_equal(draw(found), draw(whole))


def test_stable_diffusion_xl_draws_what_its_pipeline_draws(tmp_path: Path) -> None:
    whole = tiny_whole(tiny_sdxl)
    file, config = save_checkpoint(tmp_path, whole)
    found = skindiff.load(file, model_config=str(config))
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        state, expected = getattr(found, part).state_dict(), getattr(whole, part).state_dict()
        assert state.keys() == expected.keys()
        assert all(torch.equal(expected[name], weight) for name, weight in state.items())
    np.testing.assert_array_equal(draw(found), draw(whole))


def test_a_frozen_base_comes_in_half_precision_and_not_in_four_bits(made: Made) -> None:
    file, config = map(str, made)
    found = load_pipeline(file, config=config, dtype=torch.bfloat16)
    assert (found.unet.dtype, found.vae.dtype) == (torch.bfloat16, torch.float32)
    with pytest.raises(GeneratorError, match="is a single file, and 4 bits are made of folders alone"):
        load_pipeline(file, config=config, dtype=torch.bfloat16, quantised=True)


def test_its_name_is_the_files_and_its_revision_that_of_file_and_settings(made: Made, tmp_path: Path) -> None:
    file, config = made
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert model_revision(str(file)) == f"mine.safetensors@{sha256[:12]}"
    assert model_revision(str(file), config="sd21") == f"mine.safetensors@{sha256[:12]}-sd21"
    name = name_of(find_generator(str(file), config=str(config)))
    assert name.startswith(f"mine.safetensors@{sha256[:12]}-")
    moved = shutil.copytree(config, tmp_path / "elsewhere")
    assert name_of(find_generator(str(file), config=str(moved))) == name
    scheduler = moved / "scheduler" / "scheduler_config.json"
    scheduler.write_text(json.dumps({**read_json(scheduler), "prediction_type": "v_prediction"}))
    assert name_of(find_generator(str(file), config=str(moved))) != name


@pytest.mark.parametrize("name", COUNTS)
def test_our_settings_have_the_parameters_that_are_published(name: str) -> None:
    folder = OURS / name
    with torch.device("meta"):
        networks: list[torch.nn.Module] = [
            kind.from_config(kind.load_config(folder / part))
            for kind, part in ((UNet2DConditionModel, "unet"), (AutoencoderKL, "vae"))
        ]
        for part in sorted(folder.glob("text_encoder*")):
            kind = CLIPTextModelWithProjection if part.name.endswith("_2") else CLIPTextModel
            networks.append(kind._from_config(CLIPTextConfig.from_pretrained(part)))
    found = tuple(sum(weight.numel() for weight in network.parameters()) for network in networks)
    assert found == COUNTS[name]
    said = read_json(folder / "scheduler" / "scheduler_config.json")
    assert said.get("prediction_type", "epsilon") == ("v_prediction" if name == "sd21" else "epsilon")


def test_all_our_settings_are_in_the_table() -> None:
    assert {name for names in SETTINGS.values() for name in names} == {path.name for path in OURS.iterdir()}
    assert set(COUNTS) == {path.name for path in OURS.iterdir()}


def test_without_settings_ours_and_our_tokenizer_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, words = tiny_whole(), OURS / "sd15" / "tokenizer"
    sizes = {"vocab_size": 49408, "max_position_embeddings": 77}
    text = CLIPTextModel(CLIPTextConfig(**{**whole.text_encoder.config.to_dict(), **sizes})).eval()
    whole.register_modules(text_encoder=text, tokenizer=clip_tokenizer(words / "tokenizer_config.json"))
    file, config = save_checkpoint(tmp_path, whole)
    ours = shutil.copytree(config, tmp_path / "assets" / "single_file" / "sd15")
    shutil.rmtree(ours / "tokenizer")
    shutil.copytree(words, ours / "tokenizer")
    monkeypatch.setattr(single_file, "files", lambda _: tmp_path)
    assert settings_folder(file, None) == settings_folder(file, "sd15") == ours
    found = skindiff.load(file)
    np.testing.assert_array_equal(draw(found), draw(whole))
    assert found.skindiff.name == model_revision(str(file))


def header_only(path: Path, **shapes: tuple[int, ...]) -> Path:
    """A file with weights by these names, and of a U-Net, an autoencoder and a text encoder."""
    parts = ("unet", "vae") if "text" in shapes else ("unet", "vae", "text")
    clip = "cond_stage_model.model.token_embedding.weight"
    names = {"unet": f"{UNET}x", "vae": "first_stage_model.x", "text": clip}
    own = {names.get(name, name): torch.zeros(shape) for name, shape in shapes.items()}
    save_file({**{names[part]: torch.zeros(1) for part in parts}, **own}, path)
    return path


V2 = f"{UNET}input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight"
XL = "conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias"
REFINER = "conditioner.embedders.0.model.transformer.resblocks.9.mlp.c_proj.bias"
FOREIGN: dict[str, tuple[dict[str, tuple[int, ...]], str]] = {
    "FLUX": ({f"{UNET}double_blocks.0.img_attn.norm.key_norm.scale": (1,)}, "is a FLUX.1-schnell, but"),
    "FLUX.2": ({"single_stream_modulation.lin.weight": (1,)}, "is a FLUX.2-dev, but skindiff"),
    "Stable Diffusion 3.5": ({"joint_blocks.37.x_block.mlp.fc1.weight": (1,)}, "is a stable-diffusion-3.5"),
    "Z-Image": ({"layers.0.adaLN_modulation.0.weight": (1,)}, "is a Z-Image-Turbo, but skindiff"),
    "inpainting": ({f"{UNET}input_blocks.0.0.weight": (1, 9, 1, 1)}, "is a stable-diffusion-inpainting, but"),
    "refiner": ({REFINER: (1,)}, "is a stable-diffusion-xl-refiner-1.0, but skindiff"),
    "2 of either kind": ({V2: (1, 1024)}, "noise or velocity: give .* sd21-base for noise, sd21 for"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_built_otherwise_is_named_in_one_line(name: str, tmp_path: Path) -> None:
    shapes, says = FOREIGN[name]
    file = header_only(tmp_path / "x.safetensors", **shapes)
    for refuse in (check_text_to_image, skindiff.load):
        with pytest.raises(GeneratorError, match=says) as error:
            refuse(str(file))
        assert "\n" not in str(error.value)


def test_sdxl_is_known_by_its_weights(tmp_path: Path) -> None:
    file = header_only(
        tmp_path / "xl.safetensors",
        **{XL: (1,), "text": (1,), "conditioner.embedders.1.model.positional_embedding": (1, 1)},
    )
    assert single_file.file_class_name(file, None) == "StableDiffusionXLPipeline"
    assert settings_folder(file, None) == OURS / "sdxl"
    assert check_text_to_image(str(file)).name == "Stable Diffusion XL"


def test_stable_diffusion_2_takes_the_kind_that_is_said(tmp_path: Path) -> None:
    file = header_only(tmp_path / "x.safetensors", **{V2: (1, 1024)})
    assert check_text_to_image(str(file), config="sd21").name == "Stable Diffusion 1.x and 2.x"
    assert settings_folder(file, "sd21-base") == OURS / "sd21-base"


Weights = dict[str, torch.Tensor]
Change = Callable[[Weights], object]


def without(*prefixes: str) -> Change:
    def change(weights: Weights) -> None:
        for name in [name for name in weights if name.startswith(prefixes)]:
            del weights[name]

    return change


def with_nan(weights: Weights) -> None:
    next(weights[name] for name in weights if name.startswith(UNET)).view(-1)[0] = float("nan")


def beside(weights: Weights) -> None:
    weights[f"{UNET}input_blocks.9.0.op.weight"] = torch.zeros(3)


OF_WEIGHTS: dict[str, tuple[Change, str]] = {
    "no U-Net": (without(UNET), "weights of its U-Net are not there by their usual names"),
    "no autoencoder": (without("first_stage_model"), "weights of its autoencoder are not there"),
    "no text encoder": (without("cond_stage_model"), "weights of its text encoder are not there"),
    "nothing": (dict.clear, "weights of its U-Net are not there"),
    "a tensor of the U-Net": (without(f"{UNET}out.2.bias"), "asks for more weights than the"),
    "a tensor of the text": (
        without("cond_stage_model.transformer.text_model.final_layer_norm.bias"),
        "text_encoder asks for more weights|text_encoder has no weights for",
    ),
    "a tensor of the autoencoder": (
        without("first_stage_model.quant_conv.bias"),
        "vae asks for more weights",
    ),
    "one too many": (beside, r"its U-Net has [\d,]+ weights, and its settings ask for"),
    "NaN": (with_nan, "unet: .* holds NaN"),
}


@pytest.mark.parametrize("name", OF_WEIGHTS)
def test_weights_that_are_not_whole_are_refused_in_one_line(name: str, made: Made, tmp_path: Path) -> None:
    change, says = OF_WEIGHTS[name]
    weights = load_file(made[0])
    change(weights)
    save_file(weights, tmp_path / "x.safetensors")
    with pytest.raises(GeneratorError, match=says) as error:
        skindiff.load(tmp_path / "x.safetensors", model_config=str(made[1]))
    assert "\n" not in str(error.value)


def setting(file: str, **values: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


OF_SETTINGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a smaller U-Net": (setting("unet/config.json", block_out_channels=[16, 16]), "cannot be loaded"),
    "a larger U-Net": (setting("unet/config.json", layers_per_block=9), "unet asks for more weights than"),
    "wide beyond memory": (setting("text_encoder/config.json", hidden_size=10**6), "more weights than"),
    "no tokenizer": (lambda folder: shutil.rmtree(folder / "tokenizer"), "its settings have no tokenizer"),
    "of elsewhere": (setting(INDEX, image_encoder=["antigravity", "x"]), "have no image_encoder"),
    "of elsewhere, in a folder": (setting(INDEX, unet=["antigravity", "x"]), "only those of the libraries"),
    "half a part": (setting(INDEX, unet=["antigravity"]), "unet names no class"),
    "another kind": (setting(INDEX, _class_name="FluxPipeline"), "is a FluxPipeline, but skindiff"),
    "no index": (lambda folder: (folder / INDEX).unlink(), f"no {INDEX}"),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_SETTINGS)
def test_settings_that_do_not_fit_are_refused_in_one_line(name: str, made: Made, tmp_path: Path) -> None:
    change, says = OF_SETTINGS[name]
    folder = shutil.copytree(made[1], tmp_path / "theirs")
    change(folder)
    with pytest.raises(GeneratorError, match=says) as error:
        skindiff.load(made[0], model_config=str(folder))
    assert "\n" not in str(error.value)


def test_weights_beside_the_settings_are_not_taken(made: Made, tmp_path: Path) -> None:
    tiny_whole(seed=5).save_pretrained(tmp_path / "other")
    found = load_pipeline(str(made[0]), config=str(tmp_path / "other"))
    np.testing.assert_array_equal(draw(found), draw(tiny_whole()))


def test_words_that_are_no_settings_and_settings_without_a_file(made: Made, tmp_path: Path) -> None:
    file, config = made
    with pytest.raises(
        GeneratorError, match=r"its settings 'sd3' .* are no folder: give .* sd15, sd21-base, sd21"
    ):
        skindiff.load(file, model_config="sd3")
    with pytest.raises(
        GeneratorError, match="'bundled' is no single file and has settings: leave 'sd15' out"
    ):
        skindiff.load("bundled", model_config="sd15")
    with pytest.raises(GeneratorError, match="is a file, which has none: leave it out"):
        skindiff.load(file, revision="main", model_config=str(config))


def test_files_of_another_kind_say_what_they_are(made: Made, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(GeneratorError, match=r"photo\.jpg' is a file, and no weights in safetensors"):
        skindiff.load(tmp_path / "photo.jpg")
    (tmp_path / "old.ckpt").write_bytes(b"")
    with pytest.raises(GeneratorError, match="is a pickled file"):
        check_text_to_image(str(tmp_path / "old.ckpt"))
    (tmp_path / "torn.safetensors").write_bytes(made[0].read_bytes()[:9000])
    for refuse in (check_text_to_image, skindiff.load):
        with pytest.raises(GeneratorError, match=r"torn\.safetensors' cannot be read .*: get it again"):
            refuse(str(tmp_path / "torn.safetensors"))


def test_a_lora_goes_on_it(made: Made, tmp_path: Path) -> None:
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    halves = {"lora_down": torch.randn(2, 16), "lora_up": torch.randn(16, 2)}
    save_file(
        {f"{layer}.{half}.weight": weight for half, weight in halves.items()}, tmp_path / "style.safetensors"
    )
    place = find_generator(str(tmp_path / "style.safetensors"), base_model=str(made[0]), config=str(made[1]))
    generator = load_generator(place)
    assert generator.name.startswith("mine.safetensors@")
    assert "+adapter@" in generator.name
    assert np.abs(draw(generator.pipeline) - draw(tiny_whole())).max() > 1e-3
    np.testing.assert_array_equal(draw(generator.load_base()), draw(tiny_whole()))
