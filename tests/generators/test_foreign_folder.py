"""Folders of pipelines that a stranger made: one line each, in bounded time and memory."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import skindiff
from skindiff.errors import GeneratorError
from tests.generators.text_to_image.checkpoints import tiny_whole
from tests.tiny import save_tiny_pipeline
from tests.tiny_generators import tiny_ddpm

UNET, TEXT = "unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"
Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    save_tiny_pipeline(folder / "sd")
    tiny_ddpm().save_pretrained(folder / "ddpm")
    return folder


def setting(file: str, **values: Any) -> Change:
    def change(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


def text(file: str, content: str | bytes) -> Change:
    raw = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / file).write_bytes(raw)


def tensors(file: str, change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    def rewrite(folder: Path) -> None:
        kept = load_file(folder / file)
        change(kept)
        save_file(kept, folder / file, metadata={"format": "pt"})

    return rewrite


def with_value(value: float) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda kept: next(iter(kept.values())).view(-1)[:1].fill_(value)


def under_another_name(kept: dict[str, torch.Tensor]) -> None:
    kept["other"] = kept.pop(min(kept))


DEEP = "[" * 100_000
INDEX, SCHEDULER = "model_index.json", "scheduler/scheduler_config.json"
BOTH: dict[str, tuple[Change, str]] = {
    "deep index": (text(INDEX, DEEP), "nested deeper"),
    "index is a list": (text(INDEX, "[]"), "model_index.json"),
    "index is bytes": (text(INDEX, b"\xff\xfe"), "no UTF-8"),
    "deep settings": (text("unet/config.json", '{"a":' * 100_000), "nested deeper"),
    "settings are a list": (text("unet/config.json", "[1]"), "no mapping"),
    "class is a list": (setting(INDEX, unet=["diffusers", ["x"]]), r"\w"),
    "part is a word": (setting(INDEX, unet="x"), r"\w"),
    "no such class": (setting(INDEX, unet=["diffusers", "Nothing"]), "cannot be loaded"),
    "no such library": (setting(INDEX, unet=["nothing", "UNet2DModel"]), "cannot be loaded"),
    "huge widths": (setting("unet/config.json", block_out_channels=[10**6, 10**6]), "cannot be loaded"),
    "huge depth": (setting("unet/config.json", layers_per_block=10**6), "more weights than"),
    "negative widths": (setting("unet/config.json", block_out_channels=[-16, -24]), "cannot be loaded"),
    "wide beyond numbers": (setting("unet/config.json", block_out_channels=[10**18, 32]), "beyond"),
    "widths are words": (setting("unet/config.json", block_out_channels="x"), "cannot be loaded"),
    "huge image": (setting("unet/config.json", sample_size=10**6), "sample_size"),
    "negative image": (setting("unet/config.json", sample_size=-8), "sample_size"),
    "no image": (setting("unet/config.json", sample_size=None), r"\w"),
    "huge kernels": (setting("unet/config.json", in_channels=10**6), "more weights than|sample_size"),
    "a number is a list": (setting("unet/config.json", norm_eps=[1e-5]), "norm_eps is not a number"),
    "many timesteps": (setting(SCHEDULER, num_train_timesteps=10**12), "num_train_timesteps"),
    "negative timesteps": (setting(SCHEDULER, num_train_timesteps=-5), "num_train_timesteps"),
    "no timesteps": (setting(SCHEDULER, num_train_timesteps=0), "num_train_timesteps"),
    "timesteps are words": (setting(SCHEDULER, num_train_timesteps="x"), "num_train_timesteps"),
    "beta is not a number": (text(SCHEDULER, '{"beta_end": NaN}'), "not finite"),
    "a spacing that is none": (setting(SCHEDULER, timestep_spacing=-3), "cannot be loaded"),
    "many betas": (setting(SCHEDULER, trained_betas=[0.1] * 100_001), "trained_betas"),
    "quantised": (setting("unet/config.json", quantization_config={"load_in_4bit": True}), "quantization"),
    "no weights": (lambda folder: (folder / UNET).unlink(), "cannot be loaded"),
    "weights are a folder": (lambda folder: ((folder / UNET).unlink(), (folder / UNET).mkdir()), r"\w"),
    "empty weights": (text(UNET, b""), "no readable safetensors"),
    "torn weights": (
        lambda folder: (folder / UNET).write_bytes((folder / UNET).read_bytes()[:9000]),
        "no readable safetensors",
    ),
    "a header beyond the file": (text(UNET, b"\xff" * 8 + b"{}"), "no readable safetensors"),
    "a tensor is missing": (tensors(UNET, lambda kept: kept.popitem()), "more weights than"),
    "all tensors are missing": (tensors(UNET, dict.clear), "more weights than"),
    "NaN": (tensors(UNET, with_value(float("nan"))), "holds NaN or infinite"),
    "infinite": (tensors(UNET, with_value(float("-inf"))), "holds NaN or infinite"),
    "no safetensors in the index": (
        text("unet/diffusion_pytorch_model.safetensors.index.json", DEEP),
        "nested deeper",
    ),
}  # fmt: skip
OF_TEXT: dict[str, tuple[Change, str]] = {
    "wide text": (setting("text_encoder/config.json", hidden_size=10**6), "more weights than"),
    "negative text": (setting("text_encoder/config.json", hidden_size=-16), "cannot be loaded"),
    "quantised text": (
        setting("text_encoder/config.json", quantization_config={"quant_method": "fp8"}),
        "quantization",
    ),
    "text without weights": (tensors(TEXT, lambda kept: kept.popitem()), "more weights than"),
    "text under another name": (tensors(TEXT, under_another_name), "text_encoder has no weights for"),
    "text NaN": (tensors(TEXT, with_value(float("nan"))), "text_encoder: .* NaN"),
    "no tokenizer": (text("tokenizer/tokenizer.json", "{}"), "cannot be loaded"),
    "deep tokenizer": (text("tokenizer/tokenizer.json", DEEP), "nested deeper"),
    "another width of text": (setting("unet/config.json", cross_attention_dim=8), r"\w"),
    "longest prompt": (setting("tokenizer/tokenizer_config.json", model_max_length=10**30), "tokenizer"),
    "a prompt in words": (setting("tokenizer/tokenizer_config.json", model_max_length="x"), r"\w"),
    "places in words": (setting("text_encoder/config.json", max_position_embeddings="x"), r"\w"),
    "a shift in words": (setting("vae/config.json", shift_factor="x"), r"\w"),
    "a class of 5,000 letters": (setting(INDEX, vae=["diffusers", "x" * 5000]), "cannot be loaded"),
    "negative prompt": (setting("tokenizer/tokenizer_config.json", model_max_length=-1), "tokenizer"),
    "scale is a word": (setting("vae/config.json", scaling_factor="x"), "scaling_factor"),
    "no scale": (setting("vae/config.json", scaling_factor=0), "scaling_factor"),
}
OF_CLASSES: dict[str, tuple[Change, str]] = {
    "huge images": (setting(INDEX, image_size=10**6), "image_size"),
    "a size in words": (setting(INDEX, image_size="8"), "cannot be loaded"),
    "channels": (setting(INDEX, channels=10**9), "channels"),
    "no classes": (setting(INDEX, class_names=None), "cannot be loaded"),
    "classes are numbers": (setting(INDEX, class_names=[1, 2]), "class_names"),
    "one class twice": (setting(INDEX, class_names=["one", "one"]), "class_names"),
}
CASES = [(kind, *case) for kind in ("sd", "ddpm") for case in BOTH.items()]
CASES += [("sd", *case) for case in OF_TEXT.items()] + [("ddpm", *case) for case in OF_CLASSES.items()]


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("kind", "name", "case"), CASES, ids=[f"{kind}, {name}" for kind, name, _ in CASES])
def test_a_strangers_folder_is_refused_in_one_line(
    made: Path, tmp_path: Path, kind: str, name: str, case: tuple[Change, str]
) -> None:
    change, says = case
    folder = shutil.copytree(made / kind, tmp_path / "theirs")
    change(folder)
    with pytest.raises(GeneratorError, match=says) as error:
        skindiff.load(folder)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1100


def test_weights_of_other_precisions_beside_do_not_count(made: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(made / "sd", tmp_path / "theirs")
    shutil.copyfile(folder / UNET, folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    skindiff.load(folder)
    tensors(UNET, lambda kept: kept.popitem())(folder)
    with pytest.raises(GeneratorError, match="more weights than"):
        skindiff.load(folder)


def test_a_folder_of_links_is_read_as_one_of_files(made: Path, tmp_path: Path) -> None:
    for path in (made / "sd").rglob("*"):
        if path.is_file():
            link = tmp_path / "links" / path.relative_to(made / "sd")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    skindiff.load(tmp_path / "links")


def precision(name: str, kept_plain: tuple[str, ...] = ()) -> Change:
    """Give every file of weights a precision in its name, and half of the bytes."""

    def change(folder: Path) -> None:
        for path in folder.glob("*/*.safetensors"):
            if path.parent.name not in kept_plain:
                halved = {key: tensor.half() for key, tensor in load_file(path).items()}
                save_file(halved, path.with_suffix(f".{name}.safetensors"), metadata={"format": "pt"})
                path.unlink()

    return change


@pytest.mark.parametrize("plain", [(), ("vae",)], ids=["all", "without the autoencoder"])
def test_weights_that_are_there_in_half_precision_alone_are_read(
    made: Path, tmp_path: Path, plain: tuple[str, ...]
) -> None:
    folder = shutil.copytree(made / "sd", tmp_path / "half")
    precision("fp16", plain)(folder)
    found, whole = skindiff.load(folder), skindiff.load(made / "sd")
    for part in ("unet", "text_encoder", "vae"):
        state, expected = getattr(found, part).state_dict(), getattr(whole, part).state_dict()
        assert {tensor.dtype for tensor in state.values() if tensor.is_floating_point()} == {torch.float32}
        for key, tensor in expected.items():
            torch.testing.assert_close(
                state[key], tensor.half().to(tensor.dtype) if part not in plain else tensor
            )


def test_two_precisions_and_none_plain_are_told(made: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(made / "sd", tmp_path / "two")
    precision("fp16")(folder)
    for path in folder.glob("*/*.fp16.safetensors"):
        shutil.copy(path, path.with_name(path.name.replace("fp16", "bf16")))
    with pytest.raises(GeneratorError, match="weights in bf16 and fp16, and none plain: keep one of them"):
        skindiff.load(folder)


def test_pickled_weights_are_refused_with_how_to_convert_them(made: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(made / "sd", tmp_path / "pickled")
    whole = folder / "unet/diffusion_pytorch_model.safetensors"
    torch.save(load_file(whole), whole.with_suffix(".bin"))
    whole.unlink()
    with pytest.raises(GeneratorError, match=r"unet has pickled weights alone.*use_safetensors=False"):
        skindiff.load(folder)


def without_safety_checker(folder: Path) -> None:
    """Index and folder as people leave them who took the safety checker away."""
    setting(INDEX, safety_checker=[None, None], feature_extractor=[None, None])(folder)


def with_safety_checker(folder: Path) -> None:
    """An index that names a safety checker whose folder was never downloaded."""
    parts = {
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
    }
    setting(INDEX, requires_safety_checker=True, **parts)(folder)


def two_files_of_words(folder: Path) -> None:
    """A tokenizer as vocab.json and merges.txt, as all of before tokenizer.json."""
    tokenizer, ends = folder / "tokenizer", {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    model = json.loads((tokenizer / "tokenizer.json").read_text())["model"]
    places = json.loads((tokenizer / "tokenizer_config.json").read_text())["model_max_length"]
    shutil.rmtree(tokenizer)
    tokenizer.mkdir()
    merges = "".join(f"{' '.join(pair)}\n" for pair in model["merges"])
    (tokenizer / "vocab.json").write_text(json.dumps(model["vocab"]))
    (tokenizer / "merges.txt").write_text(f"#version: 0.2\n{merges}")
    special = {**ends, "pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    (tokenizer / "special_tokens_map.json").write_text(json.dumps(special))
    said = {**special, "model_max_length": places, "do_lower_case": True, "add_prefix_space": False}
    (tokenizer / "tokenizer_config.json").write_text(json.dumps({**said, "tokenizer_class": "CLIPTokenizer"}))


def of_2022(folder: Path) -> None:
    """Index, settings and names of weights as diffusers 0.2 and transformers 4.21 wrote them."""
    old = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.2.2",
        "feature_extractor": ["transformers", "CLIPFeatureExtractor"],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / INDEX).write_text(json.dumps(old))
    two_files_of_words(folder)
    for part, newer in (
        ("unet", ("use_linear_projection", "upcast_attention")),
        ("vae", ("scaling_factor",)),
    ):
        path = folder / part / "config.json"
        kept = {name: value for name, value in json.loads(path.read_text()).items() if name not in newer}
        path.write_text(json.dumps(kept))

    def names(kept: dict[str, torch.Tensor]) -> None:
        for name in list(kept):
            kept[f"text_model.{name.removeprefix('text_model.')}"] = kept.pop(name)
        kept["text_model.embeddings.position_ids"] = torch.arange(32)[None]

    tensors(TEXT, names)(folder)


def old_attention(folder: Path) -> None:
    """Names of the autoencoder's attention of before diffusers 0.15."""
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def names(kept: dict[str, torch.Tensor]) -> None:
        for name in [name for name in kept if ".attentions." in name]:
            new = name
            for ours, theirs in old.items():
                new = new.replace(ours, theirs)
            kept[new] = kept.pop(name)
        assert any("proj_attn" in name for name in kept)

    tensors("vae/diffusion_pytorch_model.safetensors", names)(folder)


@pytest.mark.parametrize(
    "change",
    [without_safety_checker, with_safety_checker, two_files_of_words, of_2022, old_attention],
    ids=lambda change: change.__name__,
)
def test_folders_of_others_draw_the_same_images(change: Change, tmp_path: Path) -> None:
    whole = tiny_whole()
    whole.save_pretrained(tmp_path / "theirs")
    change(tmp_path / "theirs")
    drawn = [
        pipeline(
            "An image of eczema",
            num_inference_steps=2,
            generator=torch.Generator().manual_seed(0),
            output_type="np",
        ).images
        for pipeline in (whole, skindiff.load(tmp_path / "theirs"))
    ]
    np.testing.assert_array_equal(drawn[0], drawn[1])
