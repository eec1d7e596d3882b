"""LoRA files of other programs, and ours as those programs read them."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

import skindiff
from skindiff.cli import main
from skindiff.commands.grid import GRID
from skindiff.errors import ConfigError, GeneratorError
from skindiff.generators.adapter import ADAPTER_NAME, load_adapter
from skindiff.generators.lora_formats import LORA_FILE
from skindiff.generators.resolve import find_generator, load_generator
from skindiff.generators.text_to_image.architecture import Architecture
from skindiff.generators.text_to_image.flux import Flux
from skindiff.generators.text_to_image.loading import ARCHITECTURES, architecture_of
from tests.generators.test_adapter import PLAIN_PROMPT, Trained, draw, fresh_like, train_both
from tests.tiny import TINY_BUILDERS, save_tiny_pipeline, tiny_flux

pytestmark = pytest.mark.usefixtures("tiny_sizes")


@pytest.fixture(scope="module", params=TINY_BUILDERS)
def architecture(request: pytest.FixtureRequest) -> Architecture:
    return next(known for known in ARCHITECTURES if known.name == request.param)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, architecture: Architecture) -> Path:
    return tmp_path_factory.mktemp("lora")


@pytest.fixture(scope="module")
def trained(home: Path, architecture: Architecture) -> Trained:
    return train_both(home, vectors=2, text_encoder=True, build=TINY_BUILDERS[architecture.name])


@pytest.fixture(scope="module")
def base(home: Path, architecture: Architecture) -> str:
    return str(save_tiny_pipeline(home / "base", build=TINY_BUILDERS[architecture.name]))


@pytest.fixture(scope="module")
def exported(home: Path, trained: Trained) -> Path:
    folder = home / "exported"
    assert main(["export", str(trained[1].folder), "--output_dir", str(folder), "--name", "skin"]) == 0
    return folder


def kohya(exported: Path) -> Path:
    return exported / "loras" / "skin.safetensors"


def layers(pipeline: Any) -> dict[str, torch.Tensor]:
    """Every update that a pipeline has: what it adds to the weights."""
    return {
        f"{part}.{name}": module.get_delta_weight(ADAPTER_NAME)
        for part in architecture_of(pipeline).adaptable(pipeline)
        for name, module in getattr(pipeline, part).named_modules()
        if ADAPTER_NAME in getattr(module, "lora_A", {})
    }


def test_an_export_read_back_has_the_same_weights_and_strength(
    trained: Trained, exported: Path, base: str
) -> None:
    found = layers(skindiff.load(kohya(exported), base_model=base))
    own = fresh_like(trained[0])
    load_adapter(own, trained[1].folder)
    expected = layers(own)
    assert found.keys() == expected.keys()
    parts = {name.partition(".")[0] for name in found}
    assert parts == set(architecture_of(own).adaptable(own))
    # diffusers puts the strength of the flow models' layers into their weights as it reads them.
    rtol, atol = (0, 0) if "unet" in parts else (1e-4, 1e-6)
    for name, delta in expected.items():
        torch.testing.assert_close(found[name], delta, rtol=rtol, atol=atol)
        assert delta.abs().max() > 0


LAYER = r"attn2?_(to_q|to_k|to_v|to_out_0|add_[qkv]_proj|to_add_out)"
CLIP = r"_text_model_encoder_layers_\d+_(self_attn_([qkv]|out)_proj|mlp_fc[12])"
UNET = r"lora_unet_(down_blocks_\d+|mid_block|up_blocks_\d+)_attentions_\d+_transformer_blocks_\d+_" + (
    r"(attn[12]_(to_[qkv]|to_out_0)|ff_net_(0_proj|2))"
)
COMFY = {
    "Stable Diffusion 1.x and 2.x": [UNET, rf"lora_te{CLIP}"],
    "Stable Diffusion XL": [UNET, rf"lora_te1{CLIP}", rf"lora_te2{CLIP}"],
    "Stable Diffusion 3": [
        rf"lora_transformer_transformer_blocks_\d+_{LAYER}", rf"lora_te1{CLIP}", rf"lora_te2{CLIP}",
    ],
    "FLUX.1": [
        rf"lora_transformer_(transformer_blocks_\d+_{LAYER}|single_transformer_blocks_\d+_attn_to_[qkv])",
        rf"lora_te1{CLIP}",
    ],
    "Z-Image": [
        r"diffusion_model\.(layers|noise_refiner|context_refiner)\.\d+\.attention\.(to_[qkv]|to_out\.0)"
    ],
}  # fmt: skip
"""Layers that ComfyUI finds, of each network (comfy/lora.py at its commit ec93dcac)."""
ENDS = re.compile(r"\.(lora_down\.weight|lora_up\.weight|alpha)$")


def test_an_export_has_the_keys_that_the_programs_look_for(
    exported: Path, architecture: Architecture
) -> None:
    weights = load_file(kohya(exported))
    assert all(map(ENDS.search, weights))
    layers = {ENDS.sub("", name) for name in weights}
    assert len(weights) == 3 * len(layers)
    # The rank is 2, which a reader would take without it.
    assert all(weights[f"{layer}.alpha"] == 5.0 for layer in layers)
    patterns = COMFY[architecture.name]
    assert len(patterns) == len(architecture.kohya)
    unread = {layer for layer in layers if not any(re.fullmatch(one, layer) for one in patterns)}
    assert not unread
    for pattern in patterns:
        assert any(re.fullmatch(pattern, layer) for layer in layers), pattern


def test_learned_words_are_exported_with_all_their_vectors(
    trained: Trained, exported: Path, architecture: Architecture
) -> None:
    names = {home.key or "emb_params" for home in architecture.token_homes}
    for token in trained[1].tokens.tokens.values():
        found = load_file(exported / "embeddings" / f"{token.strip('<>')}.safetensors")
        assert set(found) == names
        assert all(len(rows) == 2 for rows in found.values())


def test_an_export_says_the_words_and_overwrites_nothing(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(trained[1].folder), "--output_dir", str(tmp_path / "out")]
    assert main(words) == 0
    said = "in prompts squamous cell carcinoma is skindiff-squamous-cell-carcinoma" in capsys.readouterr().out
    assert said == bool(trained[1].tokens.tokens)
    assert main(words) == 2
    assert "is there; give another folder, or another --name, or --overwrite true" in capsys.readouterr().err
    others = [
        tmp_path / "out" / place for place in ("loras/mine.safetensors", "checkpoints/mine.safetensors")
    ]
    for other in others:
        other.parent.mkdir(exist_ok=True)
        other.write_bytes(b"mine")
    assert main([*words, "--overwrite", "true"]) == 0
    assert [other.read_bytes() for other in others] == [b"mine", b"mine"]
    assert main(["export", "bundled", "--output_dir", str(tmp_path / "other")]) == 2
    assert "is no adapter of skindiff" in capsys.readouterr().err


def test_a_folder_with_a_lora_alone_goes_on_a_base_model(trained: Trained, base: str, tmp_path: Path) -> None:
    shutil.copy(trained[1].folder / LORA_FILE, tmp_path)
    own = fresh_like(trained[0])
    load_adapter(own, trained[1].folder)
    generator = load_generator(find_generator(str(tmp_path), base_model=base))
    drawn = draw(generator.pipeline, PLAIN_PROMPT)
    # Weights in memory and weights of a file may be aligned unlike.
    np.testing.assert_allclose(drawn, draw(own, PLAIN_PROMPT), atol=1e-5)
    assert generator.strategy == "lora"
    assert "+adapter@" in generator.name
    assert np.abs(draw(generator.load_base(), PLAIN_PROMPT) - draw(own, PLAIN_PROMPT)).max() > 1e-3


def test_a_lora_of_peft_keeps_its_strength(base: str, architecture: Architecture, tmp_path: Path) -> None:
    pipeline = TINY_BUILDERS[architecture.name]()
    settings = LoraConfig(
        r=2, lora_alpha=6, use_rslora=True, target_modules=["to_q"], init_lora_weights=False
    )
    ((part, network), *_) = architecture.adaptable(pipeline).items()
    wrapped = get_peft_model(network, settings)
    expected = {
        name: module.get_delta_weight("default")
        for name, module in wrapped.base_model.model.named_modules()
        if hasattr(module, "lora_A")
    }
    wrapped.save_pretrained(tmp_path)
    found = layers(skindiff.load(tmp_path, base_model=base))
    assert found.keys() == {f"{part}.{name}" for name in expected}
    for name, delta in expected.items():
        torch.testing.assert_close(found[f"{part}.{name}"], delta)
    (tmp_path / "adapter_config.json").unlink()
    with pytest.raises(GeneratorError, match="so that its strength is not known"):
        skindiff.load(tmp_path, base_model=base)


def test_a_lora_needs_a_base_model_in_words(exported: Path) -> None:
    with pytest.raises(GeneratorError, match=r"base_model: .*does not say on which model it goes"):
        skindiff.load(kohya(exported))
    with pytest.raises(ConfigError, match="'bundled' is no adapter and needs none; leave it out"):
        skindiff.load("bundled", base_model="bundled")


def without_half(weights: dict[str, torch.Tensor]) -> None:
    del weights[next(name for name in weights if "lora_up" in name)]


def as_dora(weights: dict[str, torch.Tensor]) -> None:
    weights[next(iter(weights)).partition(".")[0] + ".dora_scale"] = torch.ones(1)


def of_another_model(weights: dict[str, torch.Tensor]) -> None:
    for name in [name for name in weights if re.search(r"s[._]0[._]att", name)]:
        weights[re.sub(r"s([._])0([._])att", r"s\g<1>7\2att", name)] = weights.pop(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_half, "half of an update is missing"),
        (as_dora, "it is a DoRA, and of other programs' updates only LoRA is read"),
        (of_another_model, "is not in this model|are not in this model|not found in the base model"),
    ],
)
def test_what_does_not_fit_is_one_line(
    exported: Path, base: str, tmp_path: Path, change: object, message: str
) -> None:
    weights = load_file(kohya(exported))
    change(weights)  # type: ignore[operator]
    save_file(weights, tmp_path / "x.safetensors")
    with pytest.raises(GeneratorError, match=message):
        skindiff.load(tmp_path / "x.safetensors", base_model=base)


def test_files_that_are_no_lora_say_what_to_do(exported: Path, base: str, tmp_path: Path) -> None:
    shutil.copy(Path(base) / "vae/diffusion_pytorch_model.safetensors", tmp_path / "whole.safetensors")
    with pytest.raises(ConfigError, match=r"'.*whole\.safetensors' is no adapter and needs none"):
        skindiff.load(tmp_path / "whole.safetensors", base_model=base)
    with pytest.raises(GeneratorError, match=r"is no whole Stable Diffusion in one file: .*base_model"):
        skindiff.load(tmp_path / "whole.safetensors")
    (tmp_path / "x.ckpt").write_bytes(b"")
    with pytest.raises(GeneratorError, match=r"is a pickled file.*convert it to safetensors"):
        skindiff.load(tmp_path / "x.ckpt")
    (tmp_path / "two").mkdir()
    for name in ("a", "b"):
        shutil.copy(kohya(exported), tmp_path / "two" / f"{name}.safetensors")
    with pytest.raises(GeneratorError, match=r"holds 2 LoRA files \(a.safetensors, b.safetensors"):
        skindiff.load(tmp_path / "two", base_model=base)


def test_a_lora_draws_by_command(exported: Path, base: str, tmp_path: Path) -> None:
    words = ["sample", "--generator", str(kohya(exported)), "--base_model", base, "--classes", "[nodule]"]
    words += [
        "--groups",
        "[V]",
        "--images",
        "1",
        "--synthesis.steps",
        "2",
        "--synthesis.image_size",
        "32",
        "--output_dir",
        str(tmp_path / "run"),
    ]
    assert main(words) == 0
    assert (tmp_path / "run" / GRID).is_file()


def kohya_of_flux(names: dict[str, int], width: int) -> dict[str, torch.Tensor]:
    """Layers as kohya's own scripts name them, each of so many outputs, and of rank 2."""
    found = {}
    for name, outputs in names.items():
        layer = f"lora_unet_{name}"
        found[f"{layer}.lora_down.weight"] = torch.randn(2, width)
        found[f"{layer}.lora_up.weight"] = torch.randn(outputs, 2)
        found[f"{layer}.alpha"] = torch.tensor(2.0)
    return found


def test_kohyas_joined_layers_of_flux_are_read(tmp_path: Path) -> None:
    base, width = str(save_tiny_pipeline(tmp_path / "base", build=tiny_flux)), 32
    names = {"double_blocks_0_img_attn_qkv": 3 * width, "double_blocks_0_img_attn_proj": width}
    save_file(kohya_of_flux(names, width), tmp_path / "lora.safetensors")
    place = find_generator(str(tmp_path / "lora.safetensors"), base_model=base)
    network = load_generator(place).pipeline.transformer
    put = {name for name, module in network.named_modules() if "lora_A" in dict(module.named_children())}
    block = "transformer_blocks.0.attn"
    assert put == {f"{block}.{name}" for name in ("to_q", "to_k", "to_v", "to_out.0")}


def test_joined_layers_of_flux_are_counted_as_diffusers_takes_them_apart() -> None:
    names = {"double_blocks_0_txt_attn_qkv": 9216, "single_blocks_0_linear1": 21504}
    for name, outputs in names.items():
        tensors = kohya_of_flux({name: outputs}, 8)
        apart = FluxPipeline.lora_state_dict(tensors)
        count = next(count for end, count in Flux.joined.items() if name.endswith(end))
        assert len(apart) == 2 * count
