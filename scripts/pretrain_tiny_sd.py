"""Pre-train a tiny Stable Diffusion pipeline, from nothing or further; this made the bundled tiny-skin-sd.

    python scripts/pretrain_tiny_sd.py --output_dir runs/tiny-skin-sd
    python scripts/pretrain_tiny_sd.py --output_dir runs/fitz --corpus fitzpatrick17k --data_dir DIR \
        --conditions "[acne, eczema, keloid]"
    python scripts/pretrain_tiny_sd.py --output_dir runs/further --corpus fitzpatrick17k --data_dir DIR \
        --conditions "[acne, eczema]" --start runs/fitz/pipeline --views 4 --unseen "[folliculitis]"

On phantom it sees skin of all six tones, bare or with generic marks (patches, spots, strokes, paint), and
none of the seven lesion classes: textual inversion and LoRA have the same work to do as on the real thing.
Interrupted runs go on where they stopped when called again. The log is written beside the pipeline.
"""

import json
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from datasets import Dataset, Features, Image, Value, load_from_disk
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from jsonargparse import auto_cli, set_parsing_settings
from PIL import Image as PILImage
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from skindiff.corpora.cache import pixels, resize_to_cache
from skindiff.corpora.fitzpatrick17k import Fitzpatrick17kConfig, load_fitzpatrick17k
from skindiff.corpora.phantom import render_phantom
from skindiff.corpora.schema import SKIN_TYPES
from skindiff.generators.prompts import prompt_for
from skindiff.seeding import numpy_generator, torch_generator
from skindiff.training.diffusion_objective import DiffusionObjective, denoising_loss, noised_batch
from skindiff.training.encoding import encode_tables
from skindiff.training.loop import MicroBatch, train
from skindiff.training.loop_config import LoopConfig
from skindiff.training.samplers import shuffled_batches
from skindiff.training.validation_loss import FixedNoiseLoss
from skindiff.wrong_settings import refuse

PROMPT_TOKENS = 32
UNSEEN_DRAWS = 10
PHANTOM_SUBJECTS = [
    "smooth skin",
    "hairy skin",
    *(f"{c} {s}" for c in ("red", "brown", "pale", "painted") for s in ("patch", "spots", "lines")),
]


@dataclass
class Pretraining:
    """Everything that makes a tiny pipeline again."""

    output_dir: str = "runs/tiny-skin-sd"
    """Where the pool, the checkpoints, the log and the pipeline go."""
    corpus: str = "phantom"
    """phantom, or fitzpatrick17k (from data_dir)."""
    data_dir: str | None = None
    """Folder of the corpus."""
    conditions: list[str] = field(default_factory=list)
    """Conditions of fitzpatrick17k to learn from: leave out those that the pipeline should not know."""
    start: str | None = None
    """A pipeline to train further: its autoencoder and tokens stay, and settings of those are not read."""
    views: int = 1
    """Random squares of each photograph, of 4/5 of its side, each turned by one more right angle."""
    unseen: list[str] = field(default_factory=list)
    """Conditions of fitzpatrick17k that no training sees: the loss on their photographs is measured."""
    images: int = 8000
    """Phantom images to render."""
    seed: int = 20
    """Seed of everything; no study has phantom images of this seed."""
    image_size: int = 64
    """Side of the training images in pixels."""
    vae_channels: list[int] = field(default_factory=lambda: [24, 48, 64])
    """Channels of the autoencoder's three levels."""
    unet_channels: list[int] = field(default_factory=lambda: [48, 96, 128])
    """Channels of the U-Net's three levels."""
    noise_offset: float = 0.3
    """Standard deviation of the noise on each latent channel's mean: the prompt then decides the tone."""
    kl_weight: float = 1e-5
    """Weight of the KL term of the autoencoder's loss."""
    redness_weight: float = 1.0
    """Weight of an extra L1 term on red against green and blue, which a short training otherwise neglects."""
    colour_jitter: float = 0.2
    """Spread of the log gains per channel that recolour a part of every other crop: an autoencoder that has
    seen skin only shows every colour as skin."""
    vae: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            steps=2400,
            batch_size=24,
            learning_rate=2e-3,
            lr_schedule="cosine",
            warmup_steps=50,
            ema_decay=0.995,
            checkpoint_every=200,
            seed=20,
        )
    )
    """Training of the autoencoder, on 32-pixel crops."""
    unet: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            steps=3000,
            batch_size=16,
            learning_rate=7e-4,
            lr_schedule="cosine",
            warmup_steps=100,
            ema_decay=0.998,
            checkpoint_every=200,
            seed=20,
        )
    )
    """Training of the U-Net and the text encoder."""


def _render(job: tuple[int, int, int]) -> dict[str, object]:
    torch.set_num_threads(1)
    seed, size, number = job
    rng = numpy_generator("pre-training", seed, number)
    skin_type = str(rng.choice(SKIN_TYPES))
    drawn = render_phantom(
        skin_type, None if rng.random() < 0.3 else "marks", size, "pre-training", seed, number
    )
    return {"image": PILImage.fromarray(drawn.pixels), "prompt": prompt_for(drawn.marks, skin_type)}


def _views(photograph: PILImage.Image, number: int, config: Pretraining) -> list[PILImage.Image]:
    """Return random squares of a photograph that is larger than they are, turned by right angles."""
    rng, room = numpy_generator("views", config.seed, number), photograph.width - config.image_size
    places = rng.integers(room + 1, size=(config.views, 2)).tolist()
    cuts = [photograph.crop((x, y, x + config.image_size, y + config.image_size)) for x, y in places]
    return [cut.rotate(90 * turn) for turn, cut in enumerate(cuts)]


def photographs(config: Pretraining, conditions: list[str], size: int, folder: Path) -> Dataset:
    """Return photographs of some conditions with a prompt each, which names no condition of ``unseen``."""
    source = Fitzpatrick17kConfig(data_dir=str(config.data_dir), conditions=conditions)
    corpus = resize_to_cache(load_fitzpatrick17k(source).dataset, size, folder / "cache").dataset
    names = ["skin lesion" if name in config.unseen else name for name in corpus.features["label"].names]
    prompts = [
        prompt_for(names[label], t) for label, t in zip(corpus["label"], corpus["skin_type"], strict=True)
    ]
    return corpus.select_columns("image").add_column("prompt", prompts)


def build_pool(config: Pretraining, folder: Path) -> Dataset:
    """Return the captioned training images, rendered or read once."""
    if folder.is_dir():
        return load_from_disk(str(folder))
    kinds = Features({"image": Image(), "prompt": Value("string")})
    if config.corpus == "phantom":
        jobs = [(config.seed, config.image_size, number) for number in range(config.images)]
        with ProcessPoolExecutor() as workers:
            rows = list(workers.map(_render, jobs, chunksize=64))
        pool = Dataset.from_list(rows, features=kinds)
    elif config.views == 1:
        pool = photographs(config, config.conditions, config.image_size, folder.parent)
    else:
        whole = photographs(config, config.conditions, config.image_size * 5 // 4, folder.parent)
        rows = [
            {"image": view, "prompt": row["prompt"]}
            for number, row in enumerate(whole)
            for view in _views(row["image"], number, config)
        ]
        pool = Dataset.from_list(rows, features=kinds)
    pool.save_to_disk(str(folder))
    return load_from_disk(str(folder))


def build_tokenizer(prompts: Iterable[str]) -> CLIPTokenizer:
    """Return a CLIP tokenizer in which each word of ``prompts`` is one token and any text can be spelt."""
    letters = [chr(code) for code in range(33, 127)]
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    merges: list[tuple[str, str]] = []
    for word in sorted(
        {word for prompt in prompts for part in prompt.lower().split() for word in part.split("-")}
    ):
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
    vocab = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=PROMPT_TOKENS)


def build_networks(
    config: Pretraining, vocabulary: int
) -> tuple[AutoencoderKL, UNet2DConditionModel, CLIPTextModel]:
    """Return the three networks with seeded random weights."""
    torch.manual_seed(config.seed)
    vae = AutoencoderKL(
        sample_size=config.image_size,
        block_out_channels=tuple(config.vae_channels),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        norm_num_groups=8,
        mid_block_add_attention=False,
    )
    unet = UNet2DConditionModel(
        sample_size=config.image_size // 4,
        block_out_channels=tuple(config.unet_channels),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=96,
        attention_head_dim=4,
        norm_num_groups=8,
    )
    text = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=PROMPT_TOKENS,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return vae, unet, CLIPTextModel(text)


def recoloured(crop: torch.Tensor, spread: float, generator: torch.Generator) -> torch.Tensor:
    """Return ``crop`` (``(3, height, width)``, 0 to 255) with a soft-edged part of it in another colour."""
    gains = (spread * torch.randn(3, 1, 1, generator=generator)).exp()
    lattice = 3 * torch.randn(1, 1, 4, 4, generator=generator)
    cover = torch.nn.functional.interpolate(lattice, crop.shape[1:], mode="bicubic")[0].sigmoid()
    return (crop * (1 + cover * (gains - 1))).clamp(0, 255)


def train_autoencoder(
    accelerator: Accelerator, config: Pretraining, vae: AutoencoderKL, pool: Dataset, folder: Path
) -> list:
    """Train the autoencoder on random turned 32-pixel crops: L1 of colours, edges, redness; a little KL."""
    images = torch.from_numpy(pixels(pool)).permute(0, 3, 1, 2)

    def loss(module: torch.nn.Module, batch: MicroBatch) -> torch.Tensor:
        crops = []
        for row, position in zip(batch.indices.tolist(), batch.positions.tolist(), strict=True):
            generator = torch_generator("vae", config.vae.seed, batch.step, position)
            y, x = torch.randint(images.shape[-1] - 31, (2,), generator=generator).tolist()
            turns, mirror = torch.randint(4, (2,), generator=generator).tolist()
            crop = images[row, :, y : y + 32, x : x + 32].rot90(turns, (1, 2)).float()
            crop = crop.flip(-1) if mirror % 2 else crop
            crops.append(recoloured(crop, config.colour_jitter, generator) if mirror > 1 else crop)
        target = torch.stack(crops).to(accelerator.device) / 127.5 - 1
        posterior = vae.encode(target).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=torch_generator("vae noise", batch.step)).to(
            target.device
        )
        drawn = vae.decode(posterior.mean + posterior.std * noise).sample.float()
        error = drawn - target
        edges = sum((drawn.diff(dim=axis) - target.diff(dim=axis)).abs().mean() for axis in (2, 3))
        kl = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean()
        # Redness is a small part of RGB and the largest part of an erythema.
        chroma = sum((error[:, 0] - error[:, other]).abs().mean() for other in (1, 2))
        weighted = config.redness_weight * chroma + config.kl_weight * kl
        return error.abs().mean() + 0.5 * edges + weighted

    global_batch = config.vae.global_batch(accelerator.num_processes)
    return train(
        accelerator,
        config.vae,
        module=vae,
        loss=loss,
        sampler=shuffled_batches(len(pool), global_batch, "vae"),
        folder=folder,
        name="vae",
    )


class Denoiser(torch.nn.Module):
    """The U-Net and the text encoder as one module."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder

    def forward(
        self, latents: torch.Tensor, timesteps: torch.Tensor, ids: torch.Tensor, which: torch.Tensor
    ) -> torch.Tensor:
        """Return the prediction for ``latents`` under prompt ``ids[which]``."""
        return self.unet(latents, timesteps, self.text_encoder(ids)[0][which]).sample


def train_denoiser(
    accelerator: Accelerator,
    config: Pretraining,
    pipeline: StableDiffusionPipeline,
    pool: Dataset,
    folder: Path,
) -> list:
    """Train the U-Net and the text encoder on the pool's latents (each image and its mirror image)."""
    (moments,) = encode_tables(
        accelerator, pipeline, [pool], folder, size=config.image_size, flip=True, batch_size=64
    )
    prompts = ["", *sorted(set(pool["prompt"]))]
    number = {prompt: place for place, prompt in enumerate(prompts)}
    which = torch.tensor([number[prompt] for prompt in pool["prompt"]])
    ids = pipeline.tokenizer(
        prompts, padding="max_length", max_length=PROMPT_TOKENS, return_tensors="pt"
    ).input_ids
    objective = DiffusionObjective.from_scheduler(pipeline.scheduler.config, noise_offset=config.noise_offset)

    def loss(module: torch.nn.Module, batch: MicroBatch) -> torch.Tensor:
        noised, _ = noised_batch(
            objective,
            moments,
            batch,
            key=("unet", config.unet.seed),
            prompt_dropout=0.1,
            device=accelerator.device,
            dtype=torch.float32,
        )
        rows = torch.where(noised.dropped, 0, which[batch.indices])
        unique, inverse = rows.unique(return_inverse=True)
        prediction = module(
            noised.latents,
            noised.timesteps,
            ids[unique].to(accelerator.device),
            inverse.to(accelerator.device),
        )
        return denoising_loss(prediction, noised)

    module = Denoiser(pipeline.unet.requires_grad_(True), pipeline.text_encoder.requires_grad_(True))
    global_batch = config.unet.global_batch(accelerator.num_processes)
    return train(
        accelerator,
        config.unet,
        module=module,
        loss=loss,
        sampler=shuffled_batches(len(pool), global_batch, "unet"),
        folder=folder,
        name="unet",
    )


def latent_scale(vae: AutoencoderKL, pool: Dataset) -> float:
    """Return the factor that gives the latents unit variance, over the first 1,000 images."""
    images = torch.from_numpy(pixels(pool, range(min(1000, len(pool))))).permute(0, 3, 1, 2)
    with torch.no_grad():
        means = [
            vae.encode(part.float().to(vae.device) / 127.5 - 1).latent_dist.mean for part in images.split(100)
        ]
    return float(1.0 / torch.cat(means).std())


def from_nothing(
    accelerator: Accelerator, config: Pretraining, pool: Dataset, folder: Path
) -> tuple[StableDiffusionPipeline, list]:
    """Return a pipeline whose autoencoder is trained, with the log of that."""
    vocabulary = [
        prompt_for(subject, t)
        for t in SKIN_TYPES
        for subject in (*PHANTOM_SUBJECTS, *config.conditions, "skin lesion")
    ]
    tokenizer = build_tokenizer(vocabulary)
    vae, unet, text_encoder = build_networks(config, len(tokenizer))
    log = train_autoencoder(accelerator, config, vae, pool, folder / "vae")
    vae.requires_grad_(False).register_to_config(scaling_factor=latent_scale(vae, pool))
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    return pipeline, log


def started(config: Pretraining) -> StableDiffusionPipeline:
    """Return the pipeline to train further, in float32."""
    pipeline = StableDiffusionPipeline.from_pretrained(config.start, dtype=torch.float32, safety_checker=None)
    pipeline.vae.requires_grad_(False)
    return pipeline


def unseen_losses(
    accelerator: Accelerator, config: Pretraining, pipeline: StableDiffusionPipeline, folder: Path
) -> list[float]:
    """Return the loss on the photographs of ``unseen``, each number of other noise and timesteps."""
    pool = photographs(config, config.unseen, config.image_size, folder)
    (moments,) = encode_tables(accelerator, pipeline, [pool], folder / "unseen", size=config.image_size)
    prompts = sorted(set(pool["prompt"]))
    rows = torch.tensor([prompts.index(prompt) for prompt in pool["prompt"]])
    ids = pipeline.tokenizer(
        prompts, padding="max_length", max_length=PROMPT_TOKENS, return_tensors="pt"
    ).input_ids.to(accelerator.device)
    module = Denoiser(pipeline.unet, pipeline.text_encoder).to(accelerator.device).eval()
    objective = DiffusionObjective.from_scheduler(pipeline.scheduler.config)
    losses = [
        FixedNoiseLoss(objective, moments, rows, len(rows), accelerator.device, torch.float32, seed)
        for seed in range(UNSEEN_DRAWS)
    ]
    with torch.no_grad():
        return [
            loss(lambda latents, times, which: module(latents, times, ids, which.to(latents.device)))
            for loss in losses
        ]


def main(config: Pretraining) -> None:
    """Render or read, train the autoencoder if there is none, train the denoiser, save in half precision."""
    if taught := set(config.unseen) & set(config.conditions):
        refuse(f"unseen: {', '.join(sorted(taught))} is in conditions too; name it in one of the two")
    if config.corpus == "phantom" and (config.unseen or config.views > 1):
        refuse("corpus is phantom, whose images are rendered: views and unseen go with fitzpatrick17k")
    accelerator = Accelerator()
    folder, began = Path(config.output_dir), time.time()
    pool = build_pool(config, folder / "pool")
    logs: dict[str, list] = {}
    unseen: dict[str, list[float]] = {}
    if config.start:
        pipeline = started(config)
        if config.unseen:
            unseen["before"] = unseen_losses(accelerator, config, pipeline, folder)
    else:
        pipeline, logs["vae"] = from_nothing(accelerator, config, pool, folder)
    logs["unet"] = train_denoiser(accelerator, config, pipeline, pool, folder / "unet")
    if config.unseen:
        unseen["after"] = unseen_losses(accelerator, config, pipeline, folder)
    pipeline.to(dtype=torch.float16)
    pipeline.save_pretrained(folder / "pipeline")
    summary = {
        name: {"steps": len(log), "loss": [round(row["loss"], 4) for row in log[9::50]]}
        for name, log in logs.items()
    }
    summary |= {"loss on unseen": unseen} if unseen else {}
    summary["images"], summary["minutes_of_last_call"] = len(pool), round((time.time() - began) / 60, 1)
    (folder / "pretraining.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(f"pipeline: {folder / 'pipeline'}")


if __name__ == "__main__":
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    main(auto_cli(Pretraining, as_positional=False))
