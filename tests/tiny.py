"""A Stable Diffusion pipeline small enough for tests, built in code: no download, about 190,000 weights."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, Features
from datasets import Image as ImageFeature
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

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


def tiny_pipeline(prediction_type: str = "epsilon", seed: int = 0) -> StableDiffusionPipeline:
    """A pipeline with random but seeded weights; two calls with one seed give equal pipelines."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = tiny_tokenizer()
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=32,
                bos_token_id=0,
                eos_token_id=1,
                pad_token_id=1,
                projection_dim=16,
            )
        )
        unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(16, 24),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            mid_block_type="UNetMidBlock2DCrossAttn",
            cross_attention_dim=16,
            attention_head_dim=2,
            norm_num_groups=4,
        )
        vae = AutoencoderKL(
            sample_size=TINY_SIZE,
            block_out_channels=(8, 8, 16),
            layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=4,
            norm_num_groups=4,
            mid_block_add_attention=False,
        )
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
        vae=vae.eval().requires_grad_(False),
        text_encoder=text_encoder.eval().requires_grad_(False),
        tokenizer=tokenizer,
        unet=unet.eval().requires_grad_(False),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save_tiny_pipeline(folder: Path, seed: int = 0) -> Path:
    """Write the tiny pipeline where ``load_pipeline`` can read it; returns the folder."""
    tiny_pipeline(seed=seed).save_pretrained(folder, safe_serialization=True)
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
