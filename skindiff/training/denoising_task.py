"""What textual inversion and LoRA have in common: images, prompts and noise in, one loss out."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from datasets import Dataset
from torch import nn

from skindiff.corpora.buckets import BUCKET, row_sizes
from skindiff.errors import ConfigError
from skindiff.generators.fingerprints import weights_fingerprint
from skindiff.generators.text_to_image.conditioning import Conditioning
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.training.diffusion_objective import Objective, denoising_loss, noised_batch
from skindiff.training.encoding import PRECISIONS, Precision, encode_tables
from skindiff.training.flow_objective import FlowConfig
from skindiff.training.frozen_parts import at_work, frozen_texts
from skindiff.training.latents import Moments
from skindiff.training.loop import Log, MicroBatch
from skindiff.training.loop_config import LoopConfig
from skindiff.training.precision import BaseDtype, check_base_dtype
from skindiff.training.prompt_table import PromptTable
from skindiff.training.sample_grid import draw_grid
from skindiff.training.samplers import Sampler, one_shape_batches
from skindiff.training.validation_loss import FixedNoiseLoss
from skindiff.wrong_settings import refuse


class CommonSettings(Protocol):
    """The settings that both methods have."""

    loop: LoopConfig
    image_size: int | None
    random_flip: bool
    latent_precision: Precision
    noise_offset: float
    flow: FlowConfig
    gradient_checkpointing: bool
    compile_blocks: bool
    base_dtype: BaseDtype
    validation_examples: int
    sample_every: int


def check_common_settings(config: CommonSettings, path: str) -> None:
    """Raise a ConfigError that names the first shared setting that cannot work."""
    config.loop.validate(f"{path}loop.")
    config.flow.validate(f"{path}flow.")
    # accelerate launch has said it to this process; otherwise it is seen before the model is loaded.
    check_base_dtype(config.base_dtype, f"{path}base_dtype", os.environ.get("ACCELERATE_MIXED_PRECISION"))
    size = config.image_size
    if size is not None and (size < 8 or size % 8):
        refuse(f"{path}image_size is {size}: set it to a multiple of 8 pixels, or to null")
    if config.latent_precision not in PRECISIONS:
        refuse(f"{path}latent_precision is {config.latent_precision!r}: set it to {' or '.join(PRECISIONS)}")
    for name in ("noise_offset", "validation_examples", "sample_every"):
        if not 0 <= getattr(config, name) < float("inf"):
            refuse(f"{path}{name} is {getattr(config, name)}: set it to 0 or more")
    every = config.loop.validate_every
    if config.sample_every and (every == 0 or config.sample_every % every):
        refuse(
            f"{path}sample_every is {config.sample_every}: grids are made at validations, set it to a "
            f"multiple of {path}loop.validate_every={every} above 0"
        )


@dataclass(frozen=True)
class DenoisingTask:
    """Loss and validation loss of a denoiser (see the interface of architectures) on cached latents.

    Attributes:
        name: root of the random streams.
        seed: of the random streams.
        objective: noise schedule and weighting.
        moments: of the training rows, and of the validation rows where there are any.
        table: the prompts, for as many tables as there are moments.
        prompts: of the table, before or after the text encoders.
        images: what the network is told of the rows of each table, and of their mirror images.
        prompt_dropout: share of the training examples that see the empty prompt.
        validation_examples: pairs of image and timestep of the validation loss.
        device: of training.
        dtype: precision of the network's input.
    """

    name: str
    seed: int
    objective: Objective
    moments: list[Moments]
    table: PromptTable
    prompts: Conditioning
    images: list[Conditioning]
    prompt_dropout: float
    validation_examples: int
    device: torch.device
    dtype: torch.dtype

    def loss(self, module: nn.Module, batch: MicroBatch) -> torch.Tensor:
        """Return the mean loss over a micro-batch."""
        noised, variants = noised_batch(
            self.objective,
            self.moments[0],
            batch,
            key=(self.name, self.seed),
            prompt_dropout=self.prompt_dropout,
            device=self.device,
            dtype=self.dtype,
        )
        numbers = self.table.rows[0][batch.indices].masked_fill(noised.dropped, 0)
        told = self.images[0][batch.indices, variants]
        return denoising_loss(self._predict(module, noised.latents, noised.timesteps, numbers, told), noised)

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Return ``validation_loss`` on the last table: the held-out rows, or the training rows."""
        prompts, images = self.table.rows[-1], self.images[-1]
        fixed = FixedNoiseLoss(
            self.objective,
            self.moments[-1],
            torch.arange(len(prompts)),
            examples=self.validation_examples,
            device=self.device,
            dtype=self.dtype,
            seed=self.seed,
        )
        return {
            "validation_loss": fixed(
                lambda latents, timesteps, rows: self._predict(
                    module, latents, timesteps, prompts[rows], images[rows, 0]
                )
            )
        }

    def fingerprint(self, weights: Sequence[str], settings: Mapping[str, Any]) -> str:
        """Return a digest of everything but the loop's settings that decides what is learnt.

        Args:
            weights: of :func:`base_weights`.
            settings: of the method, of plain types.
        """
        facts = {
            "settings": {
                key: value for key, value in settings.items() if key not in ("loop", "sample_every")
            },
            "latents": [moments.key for moments in self.moments],
            "prompts": self.table.prompts,
            "rows": [rows.tolist() for rows in self.table.rows],
            **self.objective.facts,
            "weights": list(weights),
        }
        told = [{name: rows.tolist() for name, rows in images.tensors.items()} for images in self.images]
        if any(told):
            facts["images"] = told
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def _predict(
        self,
        module: nn.Module,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        numbers: torch.Tensor,
        images: Conditioning,
    ) -> torch.Tensor:
        # A batch holds few prompts: each is encoded (or sent) once, whatever the number of its images.
        unique, places = torch.unique(numbers, return_inverse=True)
        prompts = self.prompts[unique.to(self.prompts.device, non_blocking=True)].to(self.device)
        places = places.to(self.device, non_blocking=True)
        return module(latents, timesteps, prompts, places, images.to(self.device))


def base_weights(pipeline: Any) -> list[str]:
    """Return a digest of each network that an adapter can sit on, before anything is trained or unloaded."""
    return [
        weights_fingerprint(network) for network in architecture_of(pipeline).adaptable(pipeline).values()
    ]


def encode_once(
    accelerator: Accelerator,
    pipeline: Any,
    config: CommonSettings,
    tables: Sequence[Dataset],
    cache: Path,
    encode: Callable[[], Conditioning],
    learning: Sequence[nn.Module],
    *,
    unload: bool,
) -> tuple[Conditioning, list[Moments]]:
    """Encode prompts and then images, and bring what is trained to the device only after that.

    Args:
        accelerator: gives the device.
        pipeline: whose networks encode.
        config: of the training.
        tables: with the images.
        cache: of the encoded images.
        encode: encodes the prompts.
        learning: text encoders that are trained.
        unload: unload what has encoded and is not trained, unless sample grids need it.
    """
    architecture, device = architecture_of(pipeline), accelerator.device
    unload = unload and not config.sample_every
    with at_work(pipeline, frozen_texts(pipeline, learning), device, unload=unload):
        prompts = encode()
    with at_work(pipeline, architecture.networks(pipeline)[-1:], device, unload=unload):
        moments = moments_of(accelerator, pipeline, config, tables, cache)
    for network in (architecture.network(pipeline), *learning):
        network.to(device)
    return prompts, moments


def moments_of(
    accelerator: Accelerator,
    pipeline: Any,
    config: CommonSettings,
    tables: Sequence[Dataset],
    cache: Path,
) -> list[Moments]:
    """Return the moments of the images that are trained on, and of those that are validated on, if any."""
    return encode_tables(
        accelerator,
        pipeline,
        tables,
        cache,
        size=training_size(pipeline, config),
        flip=config.random_flip,
        precision=config.latent_precision,
    )


def batches_of(
    dataset: Dataset,
    size: int,
    step: int,
    global_batch: int,
    rows_of: Callable[[int], Sampler],
    pass_rows: int,
    *key: str | int,
) -> Sampler:
    """Return a sampler of a method's own order of rows; of a corpus with buckets its batches have one shape.

    Args:
        dataset: the training rows.
        size: of :func:`training_size`.
        step: what the sides of images are a multiple of.
        global_batch: rows of a step.
        rows_of: gives the method's sampler for batches of a number of rows.
        pass_rows: rows of the method's order that are grouped by shape together.
        key: of the random stream.
    """
    if BUCKET not in dataset.column_names:
        return rows_of(global_batch)
    return one_shape_batches(rows_of(pass_rows), row_sizes(dataset, size, step), global_batch, *key)


def training_size(pipeline: Any, config: CommonSettings) -> int:
    """Return the height and width of the training images in pixels.

    Raises:
        ConfigError: the model takes no images of the size asked for.
    """
    architecture = architecture_of(pipeline)
    size, step = config.image_size or architecture.image_size(pipeline), architecture.size_step(pipeline)
    if size % step:
        raise ConfigError(
            f"image_size is {size}, and this {architecture.name} model takes multiples of {step} pixels: set "
            f"it to {max(step, size // step * step)}"
        )
    return size


@contextmanager
def gradient_checkpointing(pipeline: Any, enabled: bool) -> Iterator[None]:
    """Recompute the network's activations in the backward pass inside the context, if ``enabled``."""
    if not enabled:
        yield
        return
    network = architecture_of(pipeline).network(pipeline)
    network.enable_gradient_checkpointing()
    try:
        yield
    finally:
        network.disable_gradient_checkpointing()


@contextmanager
def compiled_blocks(pipeline: Any, enabled: bool) -> Iterator[None]:
    """Compile the network's repeated blocks inside the context, if ``enabled``, each kind of them once.

    Raises:
        ConfigError: diffusers names no repeated blocks of this network.
    """
    if not enabled:
        yield
        return
    network = architecture_of(pipeline).network(pipeline)
    kinds = network._repeated_blocks
    if not kinds:
        raise ConfigError(
            f"compile_blocks is true, but diffusers names no repeated blocks of a {type(network).__name__}: "
            "set it to false"
        )
    network.compile_repeated_blocks()
    try:
        yield
    finally:
        for module in network.modules():
            if type(module).__name__ in kinds:
                module._compiled_call_impl = None


@dataclass(frozen=True)
class GridSampler:
    """Writes ``folder/samples/<name>-<step>.png`` every so many steps and after the last."""

    pipeline: Any
    prompts: list[list[str]]
    folder: Path
    name: str
    size: int
    seed: int
    every: int
    steps: int

    def __call__(self, module: nn.Module, log: Log) -> None:
        """Write a grid if it is time; ``module`` is the pipeline's own and needs no swap."""
        step = int(log[-1]["step"])
        if step % self.every == 0 or step == self.steps:
            path = self.folder / "samples" / f"{self.name}-{step:06d}.png"
            draw_grid(self.pipeline, self.prompts, path, size=self.size, seed=self.seed)
