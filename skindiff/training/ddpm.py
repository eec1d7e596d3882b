"""Train the class-conditional DDPM on images in memory.

The same objective as textual inversion and LoRA (:mod:`skindiff.training.diffusion_objective`), on pixels
instead of latents and classes instead of prompts. Everything random about an example is sampled from
``(seed, step, position in the global batch)``.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler
from torch import nn
from torch.nn import functional

from skindiff.corpora.image_table import ImageTable
from skindiff.generators.ddpm import ConditionalDDPMPipeline, build_unet, check_levels
from skindiff.seeding import derive_seed, torch_generator
from skindiff.training.balancing import Balance, balancing_weights
from skindiff.training.checkpoints import remove_checkpoints
from skindiff.training.diffusion_objective import DiffusionObjective, NoisedBatch, denoising_loss
from skindiff.training.generator_data import (
    generator_images,
    generator_table,
    refuse_absent_class,
    table_fingerprint,
)
from skindiff.training.latents import LatentMoments
from skindiff.training.loop import MicroBatch, train
from skindiff.training.loop_config import LoopConfig, idle_of_loop
from skindiff.training.samplers import Sampler, shuffled_batches, weighted_batches
from skindiff.training.validation_loss import FixedNoiseLoss
from skindiff.wrong_settings import refuse

NAME = "ddpm"
LOG_FILE, PIPELINE = "training_log.json", "pipeline"
_BETA_SCHEDULES = {"cosine": "squaredcos_cap_v2", "linear": "linear"}


def _loop_defaults() -> LoopConfig:
    return LoopConfig(
        steps=3000,
        batch_size=64,
        learning_rate=5e-4,
        lr_schedule="cosine",
        warmup_steps=100,
        weight_decay=0.0,
        ema_decay=0.999,
    )


@dataclass
class DDPMConfig:
    """Size and training of the conditional DDPM; the defaults suit 32 px and half an hour on two cores."""

    family: Literal["ddpm"] = "ddpm"
    """Name of the family."""
    image_size: int = 32
    """Height and width in pixels."""
    channels: int = 3
    """1 for grey images, 3 for colour."""
    patch: int = 2
    """Side in pixels of the squares whose pixels become channels of the U-Net; 1 is the plain U-Net, at about
    a quarter of the speed."""
    widths: list[int] | None = None
    """Channels of each level of the U-Net, multiples of 32, from the full side down by halves; null chooses
    by size, [64, 96, 128] at 32 px."""
    blocks: int = 1
    """Residual blocks per level."""
    attention_sides: list[int] = field(default_factory=list)
    """Sides, in patches, of the levels with self-attention; the bottom has one anyway."""
    dropout: float = 0.0
    """Dropout in the residual blocks, from 0 to below 1; above 0 two processes no longer follow one."""
    prediction: Literal["epsilon", "v_prediction"] = "v_prediction"
    """What the U-Net predicts: the noise (Ravani et al.), or the velocity (Salimans & Ho 2022)."""
    noise_schedule: Literal["cosine", "linear"] = "cosine"
    """cosine (Nichol & Dhariwal 2021) keeps more of small images; linear is the first DDPM's."""
    timesteps: int = 1000
    """Steps of the noise schedule, which ancestral sampling takes one by one."""
    min_snr_gamma: float = 5.0
    """Bound of the min-SNR weighting (Hang et al. 2023); 0 weighs all timesteps alike."""
    class_dropout: float = 0.1
    """Share of the examples that are shown without their class, which guidance is measured against."""
    mirror: Literal["none", "horizontal", "both"] = "horizontal"
    """Show each image mirrored half of the time: left-right, or also upside down (dermatoscopy has no up)."""
    balance: Balance = "class"
    """Sample every image equally often (none), or classes, or classes within values of corpus.attribute."""
    validation_examples: int = 128
    """Pairs of image and timestep of the loss on fixed noise that validations log; 0 switches it off."""
    loop: LoopConfig = field(default_factory=_loop_defaults)
    """Steps, batch, rates, moving average; its seed is the one given to train_ddpm."""

    def idle(self) -> dict[str, str]:
        """Return the settings of the loop that the training overrules."""
        return idle_of_loop()

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError that names the first setting that cannot work."""
        if self.channels not in (1, 3):
            refuse(f"{path}channels is {self.channels}: set it to 1 (grey) or 3 (colour)")
        check_levels(self.image_size, self.patch, self.widths, self.attention_sides, path)
        if self.blocks < 1:
            refuse(f"{path}blocks is {self.blocks}: set it to at least 1")
        if self.timesteps < 2:
            refuse(f"{path}timesteps is {self.timesteps}: set it to at least 2, such as 1000")
        for name in ("dropout", "class_dropout"):
            if not 0 <= getattr(self, name) < 1:
                refuse(f"{path}{name} is {getattr(self, name)}: set it to at least 0 and below 1")
        for name in ("min_snr_gamma", "validation_examples"):
            if not 0 <= getattr(self, name) < float("inf"):
                refuse(f"{path}{name} is {getattr(self, name)}: set it to 0 or more")
        self.loop.validate(f"{path}loop.")


def paper_ddpm(**overrides: Any) -> DDPMConfig:
    """Return the DDPM that Ravani et al. (section IV.D) describes: predicted noise, plain mean squared
    error, T steps.

    It publishes neither image size nor T nor optimiser, and no warm-up, mirrored images or balanced classes;
    64 px, 1,000 linear steps and Adam at 2e-4 are Ho et al.'s way (arXiv 2006.11239, appendix B) at a size
    that its figure 10 looks like.
    """
    loop = LoopConfig(steps=20000, batch_size=64, learning_rate=2e-4, optimiser="adam", weight_decay=0.0)
    loop = replace(loop, lr_schedule="constant", warmup_steps=0, ema_decay=0.999)
    config = DDPMConfig(
        image_size=64,
        patch=1,
        blocks=2,
        attention_sides=[16],
        prediction="epsilon",
        noise_schedule="linear",
        min_snr_gamma=0.0,
        class_dropout=0.0,
        mirror="none",
        balance="none",
        loop=loop,
    )
    return replace(config, **overrides)


def build_ddpm(config: DDPMConfig, class_names: tuple[str, ...]) -> ConditionalDDPMPipeline:
    """Return an untrained pipeline; its first weights depend on ``config.loop.seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(NAME, config.loop.seed, "first weights"))
        unet = build_unet(
            len(class_names),
            config.image_size,
            config.channels,
            patch=config.patch,
            widths=config.widths,
            blocks=config.blocks,
            attention_sides=config.attention_sides,
            dropout=config.dropout,
        )
    scheduler = DDPMScheduler(
        num_train_timesteps=config.timesteps,
        beta_schedule=_BETA_SCHEDULES[config.noise_schedule],
        prediction_type=config.prediction,
        timestep_spacing="trailing",
    )
    pipeline = ConditionalDDPMPipeline(unet, scheduler, list(class_names), config.image_size, config.channels)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def train_ddpm(
    accelerator: Accelerator, config: DDPMConfig, table: ImageTable, folder: Path, seed: int
) -> ConditionalDDPMPipeline:
    """Train a conditional DDPM and keep it in ``folder/pipeline``, its log in ``folder/training_log.json``.

    A training that was killed is resumed where ``loop.checkpoint_every`` is set. There is no batch norm, so
    two processes with the same global batch follow one.

    Args:
        accelerator: device, precision and processes.
        config: see :class:`DDPMConfig`.
        table: the training images, of one size; they are resampled where that is not the config's.
        folder: of this training alone; checkpoints live there too.
        seed: root of everything random.

    Returns:
        The pipeline with the averaged weights, on the accelerator's device.

    Raises:
        ConfigError: a setting cannot work, or the corpus is grey and the network is not, or the other way.
        TrainingError: a class has no image, a checkpoint is of other settings, or the loss is not finite.
    """
    config = replace(config, loop=replace(config.loop, seed=seed))
    config.validate()
    refuse_absent_class(table)
    table = generator_table(table, config.image_size, config.channels)
    pipeline = build_ddpm(config, table.class_names).to(accelerator.device)
    pipeline.unet.requires_grad_(True)
    task = _Task(config, table, pipeline, accelerator.device)
    folder.mkdir(parents=True, exist_ok=True)
    log = train(
        accelerator,
        config.loop,
        module=pipeline.unet,
        loss=task.loss,
        sampler=_sampler(config, table, accelerator.num_processes),
        folder=folder,
        name=NAME,
        validate=task.validate if config.validation_examples else None,
        context=_context(config, table),
    )
    pipeline.unet.eval().requires_grad_(False)
    if accelerator.is_main_process:
        pipeline.save_pretrained(folder / PIPELINE, safe_serialization=True)
        (folder / LOG_FILE).write_text(json.dumps(log))
        # Only once what they were for is there.
        remove_checkpoints(folder)
    accelerator.wait_for_everyone()
    return pipeline


class _Task:
    """Loss and validation loss of a conditional U-Net on a table's images."""

    def __init__(
        self, config: DDPMConfig, table: ImageTable, pipeline: ConditionalDDPMPipeline, device: torch.device
    ) -> None:
        self.config, self.device = config, device
        self.null_class, self.patch = pipeline.null_class, pipeline.patch
        self.objective = DiffusionObjective.from_scheduler(
            pipeline.scheduler.config, min_snr_gamma=config.min_snr_gamma
        )
        self.labels = torch.from_numpy(table.labels)
        self.images = generator_images(table.pixels, torch.device("cpu"))

    def loss(self, module: nn.Module, batch: MicroBatch) -> torch.Tensor:
        """Return the mean weighted loss over a micro-batch."""
        noised = self._noised(batch)
        labels = self.labels[batch.indices].masked_fill(noised.dropped, self.null_class)
        prediction = module(noised.latents, noised.timesteps, labels.to(self.device)).sample
        return denoising_loss(prediction, noised)

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Return ``validation_loss``: the unweighted error at fixed images, timesteps and noise."""
        patches = functional.pixel_unshuffle(self.images, self.patch)
        moments = LatentMoments(patches[:, None], torch.zeros(()), "")
        fixed = FixedNoiseLoss(
            self.objective,
            moments,
            self.labels,
            examples=self.config.validation_examples,
            device=self.device,
            dtype=torch.float32,
            seed=self.config.loop.seed,
        )
        return {"validation_loss": fixed(lambda x, t, c: module(x, t, c.to(self.device)).sample)}

    def _noised(self, batch: MicroBatch) -> NoisedBatch:
        objective, chosen = self.objective, self.images[batch.indices]
        timesteps = torch.empty(len(chosen), dtype=torch.int64)
        noise, chances = torch.empty_like(chosen), torch.empty(len(chosen), 3)
        for place, position in enumerate(batch.positions.tolist()):
            generator = torch_generator(NAME, self.config.loop.seed, batch.step, position)
            timesteps[place] = objective.draw_timestep(chosen.shape[1:], generator)
            torch.rand(3, generator=generator, out=chances[place])
            torch.randn(chosen.shape[1:], generator=generator, out=noise[place])
        images = functional.pixel_unshuffle(self._mirrored(chosen, chances[:, 1:] < 0.5), self.patch)
        noise = functional.pixel_unshuffle(noise, self.patch)
        return NoisedBatch(
            latents=objective.add_noise(images, noise, timesteps).to(self.device, non_blocking=True),
            timesteps=timesteps.to(self.device, non_blocking=True),
            target=objective.target(images, noise, timesteps).to(self.device, non_blocking=True),
            weights=objective.weights(timesteps).to(self.device, non_blocking=True),
            dropped=chances[:, 0] < self.config.class_dropout,
        )

    def _mirrored(self, images: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """Mirror (b, c, h, w) images left-right and upside down where ``chosen`` (b, 2) says so."""
        across, upside = chosen[:, :, None, None, None].unbind(1)
        if self.config.mirror != "none":
            images = torch.where(across, images.flip(-1), images)
        if self.config.mirror == "both":
            images = torch.where(upside, images.flip(-2), images)
        return images


def _sampler(config: DDPMConfig, table: ImageTable, processes: int) -> Sampler:
    weights, batch = balancing_weights(table, config.balance), config.loop.global_batch(processes)
    if weights is None:
        return shuffled_batches(len(table), batch, NAME, config.loop.seed)
    return weighted_batches(weights, batch, NAME, config.loop.seed)


def _context(config: DDPMConfig, table: ImageTable) -> str:
    """Return a digest of everything but the loop's settings that decides what is learnt."""
    settings = {key: value for key, value in asdict(config).items() if key != "loop"}
    text = json.dumps(settings, sort_keys=True) + table_fingerprint(table)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
