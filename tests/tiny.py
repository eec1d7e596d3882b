"""Pipelines of base models small enough for tests, built in code: no download, about 190,000 weights."""

from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, Features
from datasets import Image as ImageFeature
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from PIL import Image
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from skindiff.corpora.buckets import (
    BUCKET,
    BUCKETED,
    SHAPE_COLUMNS,
    SHOWN,
    bucket_place,
    bucket_size,
    shares,
)
from skindiff.corpora.schema import corpus_features

TINY_SIZE = 32
"""Height and width of the tiny pipeline's images in pixels; its latents are 4 x 8 x 8."""

TINY_CLASSES = ("eczema", "squamous cell carcinoma")
_WORDS = (
    "an image of on the skin a very light medium brown dark skinned individual eczema squamous cell "
    "carcinoma psoriasis folliculitis lesion red - < > _ , . 1 2"
)


@cache
def _tiny_bpe() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Merge the letters of each word in turn. (BpeTrainer breaks ties unlike in each process.)"""
    letters = [chr(code) for code in range(33, 127)]
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    merges: list[tuple[str, str]] = []
    for word in _WORDS.split():
        pieces = [*word[:-1], f"{word[-1]}</w>"]
        for merge in merges:
            place = 0
            while place + 1 < len(pieces):
                if (pieces[place], pieces[place + 1]) == merge:
                    pieces[place : place + 2] = ["".join(merge)]
                place += 1
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces[:2] = [pieces[0] + pieces[1]]
            tokens.append(pieces[0])
    return {token: number for number, token in enumerate(tokens)}, merges


def tiny_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer of 32 places in which each word of the prompt template is one token."""
    vocab, merges = _tiny_bpe()
    return CLIPTokenizer(vocab=dict(vocab), merges=list(merges), model_max_length=32)


def _tiny_text(kind: type[Any], hidden_size: int, **settings: Any) -> Any:
    config = CLIPTextConfig(
        vocab_size=len(tiny_tokenizer()),
        hidden_size=hidden_size,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
        projection_dim=16,
        **settings,
    )
    return kind(config).eval().requires_grad_(False)


def _tiny_unet(cross_attention_dim: int, **settings: Any) -> UNet2DConditionModel:
    network: UNet2DConditionModel = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 24),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        mid_block_type="UNetMidBlock2DCrossAttn",
        cross_attention_dim=cross_attention_dim,
        attention_head_dim=2,
        norm_num_groups=4,
        **settings,
    )
    return network.eval().requires_grad_(False)


def _tiny_vae(**settings: Any) -> AutoencoderKL:
    network: AutoencoderKL = AutoencoderKL(
        sample_size=TINY_SIZE,
        block_out_channels=(8, 8, 16),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=4,
        mid_block_add_attention=False,
        **{"latent_channels": 4, **settings},
    )
    return network.eval().requires_grad_(False)


def tiny_pipeline(prediction_type: str = "epsilon", seed: int = 0) -> StableDiffusionPipeline:
    """A pipeline with random but seeded weights; two calls with one seed give equal pipelines."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = tiny_tokenizer()
        text_encoder = _tiny_text(CLIPTextModel, 16)
        unet = _tiny_unet(16)
        vae = _tiny_vae()
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
    )
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def tiny_sdxl(prediction_type: str = "epsilon", seed: int = 0) -> StableDiffusionXLPipeline:
    """The same of Stable Diffusion XL; its two text encoders differ in width."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = {
            "text_encoder": _tiny_text(CLIPTextModel, 16),
            "text_encoder_2": _tiny_text(CLIPTextModelWithProjection, 24, hidden_act="gelu"),
            "unet": _tiny_unet(
                16 + 24,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=6 * 8 + 16,
            ),
            "vae": _tiny_vae(),
        }
    second = tiny_tokenizer()
    second.pad_token = "!"
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="leading",
        steps_offset=1,
        prediction_type=prediction_type,
    )
    pipeline = StableDiffusionXLPipeline(
        **parts,
        tokenizer=tiny_tokenizer(),
        tokenizer_2=second,
        scheduler=scheduler,
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _tiny_t5(width: int = 16) -> tuple[T5Tokenizer, T5EncoderModel]:
    """T5 whose words are those of the prompts and letters."""
    pieces = [*(f"▁{word}" for word in sorted(set(_WORDS.split()))), *map(chr, range(33, 127))]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -8.0)]
    vocab = [*special, *((piece, -2.0 - 6.0 * (len(piece) < 2)) for piece in pieces)]
    tokenizer = T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=512)
    config = T5Config(
        vocab_size=len(tokenizer), d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2, use_cache=False
    )
    return tokenizer, T5EncoderModel(config).eval().requires_grad_(False)


def tiny_flux(seed: int = 0, *, guidance_embeds: bool = True, channels: int = 4) -> FluxPipeline:
    """The same of FLUX.1, of dev's kind or of schnell's, for images of 32 pixels; 4 x 8 x 8 latents."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer_2, text_encoder_2 = _tiny_t5()
        transformer = FluxTransformer2DModel(
            in_channels=4 * channels,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            pooled_projection_dim=16,
            guidance_embeds=guidance_embeds,
            axes_dims_rope=(4, 4, 8),
        )
        pipeline = FluxPipeline(
            FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=guidance_embeds),
            _tiny_vae(latent_channels=channels, scaling_factor=0.3611, shift_factor=0.1159),
            _tiny_text(CLIPTextModel, 16),
            tiny_tokenizer(),
            text_encoder_2,
            tokenizer_2,
            transformer.eval().requires_grad_(False),
        )
    # Which nothing in its folder says: real ones generate 1024 pixels.
    pipeline.default_sample_size = 8
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def small_flux() -> Callable[..., None]:
    """What ``FluxPipeline.__init__`` is replaced by, to let what a folder holds generate 32 pixels."""
    make = FluxPipeline.__init__

    @wraps(make)
    def make_small(self: Any, *given: Any, **named: Any) -> None:
        make(self, *given, **named)
        self.default_sample_size = 8

    return make_small


def tiny_sd3(seed: int = 0, *, t5: bool = True) -> StableDiffusion3Pipeline:
    """The same of Stable Diffusion 3.5, with two kinds of blocks and 16 channels, and T5 or none."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer_3, text_encoder_3 = _tiny_t5(40) if t5 else (None, None)
        transformer = SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=16,
            out_channels=16,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=40,
            caption_projection_dim=16,
            pooled_projection_dim=16 + 16,
            pos_embed_max_size=8,
            dual_attention_layers=(0,),
            qk_norm="rms_norm",
        )
        second = tiny_tokenizer()
        second.pad_token = "!"
        pipeline = StableDiffusion3Pipeline(
            transformer.eval().requires_grad_(False),
            FlowMatchEulerDiscreteScheduler(shift=3.0),
            _tiny_vae(latent_channels=16, scaling_factor=1.5305, shift_factor=0.0609),
            _tiny_text(CLIPTextModelWithProjection, 16),
            tiny_tokenizer(),
            _tiny_text(CLIPTextModelWithProjection, 24, hidden_act="gelu"),
            second,
            text_encoder_3,
            tokenizer_3,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def tiny_z_image(seed: int = 0) -> ZImagePipeline:
    """The same of Z-Image, which generates 1024 pixels where it is not told otherwise."""
    template = "{% for one in messages %}{{ one.content }}{% endfor %}-"
    # Its merges end at no mark of a word's end, so that letters are enough.
    letters = {letter: number for number, letter in enumerate([*map(chr, range(33, 127)), "Ġ", "Ċ"])}
    tokenizer = Qwen2Tokenizer(vocab=letters, merges=[], chat_template=template, model_max_length=512)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text = Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=8,
            max_position_embeddings=512,
        )
        transformer = ZImageTransformer2DModel(
            in_channels=16,
            dim=32,
            n_layers=2,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=16,
            axes_dims=[4, 4, 8],
            axes_lens=[1024, 64, 64],
        )
        for token in (transformer.x_pad_token, transformer.cap_pad_token):
            torch.nn.init.normal_(token, std=0.02)
        pipeline = ZImagePipeline(
            FlowMatchEulerDiscreteScheduler(shift=3.0),
            _tiny_vae(latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159),
            Qwen3Model(text).eval().requires_grad_(False),
            tokenizer,
            transformer.eval().requires_grad_(False),
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


TINY_BUILDERS: dict[str, Callable[..., Any]] = {
    "Stable Diffusion 1.x and 2.x": tiny_pipeline,
    "Stable Diffusion XL": tiny_sdxl,
    "Stable Diffusion 3": tiny_sd3,
    "FLUX.1": tiny_flux,
    "Z-Image": tiny_z_image,
}
"""A tiny pipeline of each architecture."""


def save_tiny_pipeline(folder: Path, seed: int = 0, build: Callable[..., Any] = tiny_pipeline) -> Path:
    """Write a tiny pipeline where ``load_pipeline`` can read it; returns the folder."""
    build(seed=seed).save_pretrained(folder, safe_serialization=True)
    return folder


def tiny_corpus(rows: int = 8, size: int = TINY_SIZE, seed: int = 0) -> Dataset:
    """A corpus of two classes of noise on a coloured ground, all skin types in turn and null."""
    generator = np.random.default_rng(seed)
    skin_types = ("I", "II", "III", "IV", "V", "VI", None)
    images = []
    for row in range(rows):
        ground = np.array([200, 160, 140]) if row % 2 == 0 else np.array([120, 60, 50])
        noise = generator.integers(-30, 30, size=(size, size, 3))
        images.append(Image.fromarray((ground + noise).clip(0, 255).astype(np.uint8)))
    return Dataset.from_dict(
        {
            "image": images,
            "label": [row % len(TINY_CLASSES) for row in range(rows)],
            "skin_type": [skin_types[row % len(skin_types)] for row in range(rows)],
            "image_id": [f"tiny-{row}" for row in range(rows)],
            "group_id": [f"tiny-{row}" for row in range(rows)],
            "corpus": ["tiny"] * rows,
        },
        features=corpus_features(TINY_CLASSES),
    )


def bucketed_corpus(*buckets: str, seed: int = 0) -> Dataset:
    """The tiny corpus as ``corpus.crop: longest`` makes it, an image for each bucket."""
    generator = np.random.default_rng(seed)
    pictures = []
    for bucket in buckets:
        width, height = bucket_size(bucket, TINY_SIZE)
        noise = generator.integers(0, 60, size=(height, width, 3))
        pictures.append(Image.fromarray((np.array([180, 130, 110]) + noise).astype(np.uint8)))
    plain = tiny_corpus(len(buckets), seed=seed)
    shown = [shares(bucket_place(bucket, TINY_SIZE), TINY_SIZE) for bucket in buckets]
    columns = {name: list(plain[name]) for name in plain.column_names}
    return Dataset.from_dict(
        {**columns, BUCKET: list(buckets), BUCKETED: pictures, SHOWN: shown},
        features=Features({**plain.features, **SHAPE_COLUMNS, BUCKETED: ImageFeature()}),
    )
