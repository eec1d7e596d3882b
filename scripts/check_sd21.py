"""Run Stable Diffusion 2.1-base's real architecture through skindiff once, with random weights.

    python scripts/check_sd21.py                                   # on the CPU, within 20 GB
    python scripts/check_sd21.py --device cuda --dtype bfloat16 --batch_size 4

Its weights are not needed: networks of the same shape are drawn at random and a tokenizer of the same layout
is made up, so nothing is fetched. One step of textual inversion, one of LoRA and one batch of img2img at
512 px then go through the functions that recipes/fitz_lora.py calls. Parameters, seconds and the peak memory
of each stage are printed. Such images mean nothing, but must be finite.
"""

import contextlib
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from datasets import Dataset
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from jsonargparse import auto_cli, set_parsing_settings
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from skindiff.corpora.phantom import PhantomConfig, load_phantom
from skindiff.errors import ConfigError, SkindiffError, TrainingError
from skindiff.generators.adapter import Adapter, load_adapter, unload_adapter
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.synthesis.config import SynthesisConfig
from skindiff.synthesis.plan import make_plan
from skindiff.synthesis.writer import write_synthetic
from skindiff.training.loop_config import LoopConfig
from skindiff.training.lora import LoRAConfig, train_lora
from skindiff.training.textual_inversion import TextualInversionConfig, train_textual_inversion

VOCABULARY, PLACES = 49408, 77
WORDS = [
    *(
        "an",
        "image",
        "of",
        "on",
        "the",
        "skin",
        "individual",
        "a",
        "very",
        "light",
        "dark",
        "brown",
        "medium",
    ),
    *("skinned", "nodule", "ulcer", "papules", "track", "ring", "excoriations", "plaque"),
]
"""Words that get a token of their own; Stable Diffusion's vocabulary has the common ones too."""
PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


@dataclass
class CheckSD21:
    """One step of everything on Stable Diffusion 2.1-base's architecture."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Where to run."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the frozen weights; below float32 mixed precision is on as well."""
    batch_size: int = 1
    """Images of each step and of the img2img batch."""
    gradient_checkpointing: bool = False
    """Trade speed for memory in the U-Net."""
    image_size: int = 512
    """Height and width in pixels."""
    threads: int | None = None
    """CPU threads; null takes torch's own choice."""
    seed: int = 0
    """Seed of weights, real and synthetic images."""


def check(settings: CheckSD21) -> None:
    """Raise :class:`ConfigError` on the first setting that cannot work here."""
    if settings.batch_size < 1:
        raise ConfigError(f"batch_size is {settings.batch_size}: set it to at least 1")
    if settings.image_size < 64 or settings.image_size % 64:
        raise ConfigError(f"image_size is {settings.image_size}: set it to a multiple of 64 pixels")
    if settings.threads is not None and settings.threads < 1:
        raise ConfigError(f"threads is {settings.threads}: set it to at least 1, or leave it out")
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is cuda, but torch sees no such device: set it to cpu")
    if settings.device == "cpu" and settings.dtype == "float16":
        raise ConfigError("dtype is float16, which a CPU cannot train in: set it to bfloat16 or float32")


def byte_symbols() -> list[str]:
    """Return the 256 printable characters that stand for bytes in CLIP's vocabulary, in its order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(code) for code in printable] + [chr(256 + n) for n in range(256 - len(printable))]


def pair_at(pieces: list[str], pair: tuple[str, str]) -> int | None:
    """Return the first place where two neighbouring pieces are ``pair``."""
    return next((place for place, found in enumerate(pairwise(pieces)) if found == pair), None)


def build_tokenizer() -> CLIPTokenizer:
    """Return a tokenizer of Stable Diffusion 2's layout, whose merges (but for WORDS) are made up.

    Ids 0 to 255 are bytes, 256 to 511 bytes that end a word, then one for each merge, and 49406 and 49407
    begin and end a text. ``!`` (id 0) pads.
    """
    symbols = byte_symbols()
    merges: dict[str, tuple[str, str]] = {}
    for word in WORDS:
        pieces = [*word[:-1], f"{word[-1]}</w>"]
        for merge in list(merges.values()):
            while (place := pair_at(pieces, merge)) is not None:
                pieces[place : place + 2] = ["".join(merge)]
        while len(pieces) > 1:
            merges.setdefault(pieces[0] + pieces[1], (pieces[0], pieces[1]))
            pieces[:2] = [pieces[0] + pieces[1]]
    wanted = VOCABULARY - 2 * len(symbols) - 2
    # Pairs from the end of the list first: they stand for bytes that no prompt of ours holds.
    made_up = ((left, right) for left in reversed(symbols) for right in reversed(symbols))
    for left, right in made_up:
        if len(merges) == wanted:
            break
        merges.setdefault(left + right, (left, right))
    tokens = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *merges, "<|startoftext|>", "<|endoftext|>"]
    vocab = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=list(merges.values()), pad_token="!", model_max_length=PLACES)


def build_pipeline(seed: int) -> StableDiffusionPipeline:
    """Return the architecture of Stable Diffusion 2.1-base (its own config files) with random weights."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=64,
        block_out_channels=(320, 640, 1280, 1280),
        cross_attention_dim=1024,
        attention_head_dim=(5, 10, 20, 20),
        use_linear_projection=True,
    )
    vae = AutoencoderKL(
        sample_size=768,
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
    )
    text = CLIPTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=23,
        num_attention_heads=16,
        max_position_embeddings=PLACES,
        hidden_act="gelu",
        projection_dim=512,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=1,
    )
    scheduler = PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    return StableDiffusionPipeline(
        vae=vae, text_encoder=CLIPTextModel(text), tokenizer=build_tokenizer(), unet=unet,
        scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


@contextlib.contextmanager
def measured(stage: str, device: str) -> Iterator[Callable[[str], None]]:
    """Print seconds and peak memory of what happens inside the context; takes remarks for the same line."""
    remarks: list[str] = []
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif sys.platform == "linux":
        # Lets the peak resident size start again from the present one, so that each stage has its own.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    began = time.perf_counter()
    yield remarks.append
    seconds = time.perf_counter() - began
    print(f"{stage:<18} {seconds:8.1f} s  peak {peak_gib(device):5.2f} GiB  {', '.join(remarks)}", flush=True)


def peak_gib(device: str) -> float:
    """Return the most memory held since the last reset: of the device, or of this process."""
    if device == "cuda":
        return float(torch.cuda.max_memory_allocated()) / 2**30
    # Kibibytes everywhere but on macOS, which counts bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def one_step(settings: CheckSD21) -> LoopConfig:
    """Return a loop of a single step."""
    return LoopConfig(steps=1, batch_size=settings.batch_size, learning_rate=1e-3, seed=settings.seed)


def describe(log: list[dict[str, Any]]) -> str:
    """Return loss and gradient norm of the last step, and see that something was learnt."""
    loss, norm = log[-1]["loss"], log[-1]["grad_norm"]
    if not norm > 0:
        raise TrainingError(f"the gradient's norm is {norm}: nothing was learnt")
    return f"loss {loss:.4f}, gradient norm {norm:.3g}"


def learn(
    settings: CheckSD21,
    accelerator: Accelerator,
    pipeline: StableDiffusionPipeline,
    images: Dataset,
    folder: Path,
) -> Adapter:
    """Take one step of textual inversion and one of LoRA, and return the adapter with both."""
    common: dict[str, Any] = {
        "loop": one_step(settings),
        "image_size": settings.image_size,
        "random_flip": False,
        "gradient_checkpointing": settings.gradient_checkpointing,
        "validation_examples": 0,
    }
    cache = folder / "cache"
    with measured("textual inversion", settings.device) as remark:
        config = TextualInversionConfig(steps_per_condition=False, **common)
        words = train_textual_inversion(
            accelerator, pipeline, config, images, folder / "words", latent_cache=cache
        )
        remark(describe(words.log))
    with measured("LoRA", settings.device) as remark:
        adapter = train_lora(
            accelerator,
            pipeline,
            LoRAConfig(**common),
            images,
            folder / "lora",
            learnt=words,
            latent_cache=cache,
        )
        remark(describe(adapter.log))
    return adapter


def draw(
    settings: CheckSD21,
    accelerator: Accelerator,
    pipeline: StableDiffusionPipeline,
    adapter: Adapter,
    images: Dataset,
    folder: Path,
) -> None:
    """Load the adapter afresh, fused as in synthesis, and transfer one batch by img2img."""
    with measured("reload adapter", settings.device):
        unload_adapter(pipeline, adapter)
        load_adapter(pipeline, adapter.folder, fuse=True)
    # The default sampler; latent_mean would generate some dozens of images for its prototypes first.
    config = SynthesisConfig(
        images_per_source=1, batch_size=settings.batch_size, image_size=settings.image_size, tone="none"
    )
    plan = make_plan(images, config, seed=settings.seed, generator="random", tokens=adapter.tokens.tokens)
    with measured("img2img batch", settings.device) as remark:
        summary = write_synthetic(accelerator, plan, pipeline, images, folder / "synthetic")
        steps = "".join(f"{text}: {real} run" for text, real in summary["denoising_steps"].items())
        remark(f"{summary['drawn']} of {summary['planned']} images, {steps}")


def main(settings: CheckSD21) -> None:
    """Build, train, generate; a line is printed for each."""
    check(settings)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    accelerator = Accelerator(cpu=settings.device == "cpu", mixed_precision=PRECISIONS[settings.dtype])
    checkpointing = "on" if settings.gradient_checkpointing else "off"
    print(
        f"{settings.device}, {settings.dtype}, batch {settings.batch_size}, {settings.image_size} px, "
        f"gradient checkpointing {checkpointing}, {torch.get_num_threads()} threads"
    )
    with measured("build", settings.device) as remark:
        pipeline = build_pipeline(settings.seed).to(accelerator.device, getattr(torch, settings.dtype))
        for module in architecture_of(pipeline).networks(pipeline):
            module.eval().requires_grad_(False)
            remark(f"{type(module).__name__} {sum(p.numel() for p in module.parameters()):,} parameters")
        remark(f"tokenizer of {len(pipeline.tokenizer):,} entries and {PLACES} places")
    phantom = PhantomConfig(
        seed=settings.seed,
        image_size=settings.image_size,
        classes=["plaque"],
        images_per_class={"II": settings.batch_size},
        repeat_share=0,
    )
    images = load_phantom(phantom)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        adapter = learn(settings, accelerator, pipeline, images, folder)
        draw(settings, accelerator, pipeline, adapter, images, folder)


if __name__ == "__main__":
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    try:
        main(auto_cli(CheckSD21, as_positional=False))
    except SkindiffError as error:
        sys.exit(f"error: {error}")
