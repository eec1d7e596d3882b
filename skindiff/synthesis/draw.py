"""Generating the rows of a plan in batches that mix sources, so that any row can be generated again alone.

Everything random about a row comes from its own seed on the CPU, prompts and sources are encoded one at a
time, and each row is generated at the place in the batch that its plan gives it, in a batch that is always
full (with copies where rows are missing). The other rows of the batch then do not change it.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageOps

from skindiff.corpora.buckets import BUCKET, BUCKETED, bucket_size
from skindiff.corpora.crops import CropKind, as_square
from skindiff.corpora.pixel_reader import as_srgb
from skindiff.errors import SynthesisError
from skindiff.generators.text_to_image.architecture import Mode
from skindiff.generators.text_to_image.conditioning import Conditioning
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.synthesis.batches import Drawn, draw_in_batches, fixed_threads
from skindiff.synthesis.colour_transfer import SKIN_REFERENCE, Lab, transfer_colour, transfer_contrast
from skindiff.synthesis.detail import restore_detail
from skindiff.synthesis.rows import PlanRow
from skindiff.synthesis.schedulers import make_scheduler, start_noise_ratio
from skindiff.synthesis.tone import TonePrototypes, latent_shift, noise_offset

logger = logging.getLogger(__name__)

_BATCH_SETTINGS = (
    "mode",
    "strength",
    "guidance_scale",
    "steps",
    "scheduler",
    "image_size",
    "output_size",
    "batch_size",
)
"""Columns in which the rows of one batch agree, and those of :data:`_FURTHER` that there are."""
_FURTHER = (BUCKET, "tiling", "dtype")

_RECOLOURING = ("colour", "prototype_colour", "prototype_contrast")


class Drawer:
    """A generator at work on a corpus; prompts and sources are encoded once and kept.

    Args:
        pipeline: the generator, with the adapter that the plan's strategy means; it is left as it is.
        sources: corpus with the ``image_id`` and ``image`` of every source, or whole photographs, which are
            cut as the images were that the generator learnt from; none for text-to-image.
        prototypes: for rows whose tone needs them.
    """

    def __init__(
        self,
        pipeline: Any,
        sources: Dataset | None = None,
        prototypes: TonePrototypes | None = None,
    ) -> None:
        self._pipeline, self._architecture = pipeline, architecture_of(pipeline)
        self._dtype = self._architecture.network(pipeline).dtype
        self._sources, self._step = sources, self._architecture.size_step(pipeline)
        self._crop: CropKind = getattr(getattr(pipeline, "skindiff", None), "crop", "centre")
        self._prototypes = prototypes
        self._numbers = {} if sources is None else {name: n for n, name in enumerate(sources["image_id"][:])}
        self._embeddings: dict[str, Conditioning] = {}
        self._moments: dict[tuple[Any, ...], tuple[torch.Tensor, torch.Tensor]] = {}
        self._drawing: dict[tuple[str, str], Any] = {}
        self._announced: set[str] = set()

    def draw(self, rows: Sequence[PlanRow], on_images: Callable[[int], object] = lambda count: None) -> Drawn:
        """Generate rows of a plan.

        Args:
            rows: ``plan.to_list()`` or any part of it.
            on_images: called with the number of rows that each batch has finished.

        Raises:
            SynthesisError: a source is unknown, or a prototype or skin type is missing.
        """
        self._check(rows)
        steps: dict[str, int] = {}

        def draw_batch(batch: list[PlanRow]) -> torch.Tensor:
            with self._in_tiles(batch[0]):
                pixels, real_steps = self._draw_batch(batch)
            steps[self._announce(batch[0], real_steps)] = real_steps
            return pixels

        further = [name for name in _FURTHER if rows and name in rows[0]]
        settings = (*_BATCH_SETTINGS, *further)
        return draw_in_batches(rows, settings, draw_batch, on_images, steps)

    def _check(self, rows: Sequence[PlanRow]) -> None:
        for row in rows:
            if (asked := row.get("dtype", "float32")) != str(self._dtype).removeprefix("torch."):
                raise SynthesisError(
                    f"dtype {asked!r} of row {row['image_id']!r}: the generator is held in {self._dtype}; "
                    "load it in that of the row"
                )
            if row["mode"] == "img2img" and row["source_id"] not in self._numbers:
                raise SynthesisError(
                    f"source_id {row['source_id']!r} of row {row['image_id']!r} is not among the "
                    "sources: give the corpus that the plan was made from"
                )

    def _announce(self, row: PlanRow, real_steps: int) -> str:
        strength = "" if row["strength"] is None else f", strength {row['strength']:g}"
        settings = f"{row['mode']}, {row['scheduler']}, {row['steps']} steps{strength}"
        if settings not in self._announced:
            self._announced.add(settings)
            logger.info("%s: %d denoising steps are run for each image", settings, real_steps)
        return settings

    def _draw_batch(self, batch: list[PlanRow]) -> tuple[torch.Tensor, int]:
        """Return pixels of shape (batch, 3, height, width) in [0, 1] on the CPU and the steps really run."""
        first = batch[0]
        drawing = self._drawing_pipeline(first["mode"], first["scheduler"])
        generators = [torch.Generator("cpu").manual_seed(row["seed"]) for row in batch]
        settings: dict[str, Any] = {
            **self._architecture.conditions(
                Conditioning.joined([self._embedding(row["prompt"]) for row in batch]),
                Conditioning.joined([self._embedding("") for _ in batch]),
            ),
            **self._architecture.guidance(first["guidance_scale"]),
            "num_inference_steps": first["steps"],
            "generator": generators,
            "output_type": "pt" if self._decodes_itself() else "latent",
        }
        with torch.inference_mode():
            if first["mode"] == "img2img":
                latents = [
                    self._source_latent(row, generator, drawing.scheduler)
                    for row, generator in zip(batch, generators, strict=True)
                ]
                settings |= self._architecture.transfer_size(*self._shape(first))
                output = drawing(image=torch.stack(latents), strength=first["strength"], **settings)
            else:
                size = self._size(first)
                # In half precision torch may draw coarser noise than in float32.
                if any(row["tone"] == "offset_noise" for row in batch) or not self._decodes_itself():
                    settings["latents"] = self._start_noise(batch, generators, size)
                output = drawing(height=size, width=size, **settings)
            images = output.images
            if not self._decodes_itself():
                found = self._architecture.unpack(self._pipeline, images, *self._shape(first))
                images = self._architecture.decode(self._pipeline, found).clamp(0, 1)
            if first["mode"] == "img2img" and any(row["detail"] > 0 for row in batch):
                images = self._with_detail(images, batch)
        return images.float().cpu(), drawing.num_timesteps

    def _decodes_itself(self) -> bool:
        """Return whether diffusers' pipeline can decode: the autoencoder has the network's precision."""
        return bool(self._architecture.networks(self._pipeline)[-1].dtype == self._dtype)

    @contextmanager
    def _in_tiles(self, row: PlanRow) -> Iterator[None]:
        """Let the autoencoder work image by image and tile by tile in the context, if the row asks for it."""
        autoencoder = self._architecture.networks(self._pipeline)[-1]
        if not row.get("tiling"):
            yield
            return
        self._say_if_idle(row, autoencoder.tile_sample_min_size)
        autoencoder.enable_tiling()
        autoencoder.enable_slicing()
        try:
            yield
        finally:
            autoencoder.disable_tiling()
            autoencoder.disable_slicing()

    def _say_if_idle(self, row: PlanRow, tile: int) -> None:
        if row["batch_size"] == 1 and max(self._shape(row)) <= tile and "tiling" not in self._announced:
            self._announced.add("tiling")
            logger.warning("tiling changes nothing: images up to %d pixels are one tile", tile)

    def _drawing_pipeline(self, mode: Mode, scheduler: str) -> Any:
        if (mode, scheduler) not in self._drawing:
            made = make_scheduler(scheduler, self._pipeline)
            self._drawing[mode, scheduler] = self._architecture.drawing(self._pipeline, mode, made)
        return self._drawing[mode, scheduler]

    def _embedding(self, prompt: str) -> Conditioning:
        if prompt not in self._embeddings:
            self._embeddings[prompt] = self._architecture.encode_prompts(self._pipeline, [prompt]).cast(
                self._dtype
            )
        return self._embeddings[prompt]

    def _size(self, row: PlanRow) -> int:
        size: int = row["image_size"] or self._architecture.image_size(self._pipeline)
        if size % self._step:
            raise SynthesisError(
                f"image_size {size}: {self._architecture.name} takes multiples of {self._step} pixels; use "
                f"{max(self._step, size // self._step * self._step)}"
            )
        return size

    def _shape(self, row: PlanRow) -> tuple[int, int]:
        """Return width and height in pixels that a source is transferred at."""
        return (
            bucket_size(row["bucket"], self._size(row), self._step)
            if BUCKET in row
            else (self._size(row),) * 2
        )

    def _source_latent(self, row: PlanRow, generator: torch.Generator, scheduler: Any) -> torch.Tensor:
        """Return the latent that img2img starts from (before its noise), (channels, height, width).

        The posterior's noise is the first that a row's generator samples, as it is in diffusers, so with tone
        ``none`` diffusers alone generates the same image from the same seed.
        """
        mean, std = self._source_moments(row)
        latent = mean + std * torch.randn(mean.shape, generator=generator)
        latent = self._architecture.scale(self._pipeline, latent)
        if row["tone"] == "latent_mean" and row["source_skin_type"] != row["skin_type"]:
            assert row["skin_type"] is not None
            prototypes = self._prototypes or TonePrototypes({}, {})
            latent = latent + latent_shift(
                latent, row["source_skin_type"], row["skin_type"], prototypes, row["tone_strength"]
            )
        if row["tone"] == "offset_noise":
            assert row["strength"] is not None
            ratio = start_noise_ratio(
                self._pipeline, scheduler, row["steps"], row["strength"], tuple(latent.shape)
            )
            latent = latent + ratio * noise_offset(row["seed"], len(latent), row["tone_strength"])
        return latent.to(self._pipeline.device, self._dtype)

    def _source_moments(self, row: PlanRow) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and standard deviation of the source's (unscaled) latent, float32 on the CPU."""
        tone = (row["tone"], row["source_skin_type"], row["skin_type"], row["tone_strength"])
        recoloured = tone if row["tone"] in _RECOLOURING else None
        key = (row["source_id"], self._shape(row), recoloured, row.get("tiling", False))
        if key not in self._moments:
            images = 2.0 * self._source_image(row)[None] - 1.0
            mean, std = self._architecture.encode_moments(self._pipeline, images)
            self._moments[key] = (mean[0], std[0])
        return self._moments[key]

    def _source_image(self, row: PlanRow) -> torch.Tensor:
        """Return the source of a row, in its new colours where its tone asks for that.

        (3, height, width), sRGB in [0, 1], on the CPU.
        """
        assert self._sources is not None
        bucketed = BUCKET in row and BUCKETED in self._sources.column_names
        column, shape = BUCKETED if bucketed else "image", self._shape(row)
        image = self._sources.select_columns([column])[self._numbers[row["source_id"]]][column]
        if BUCKET in row and not bucketed and image.width == image.height and shape[0] != shape[1]:
            raise SynthesisError(
                f"source_id {row['source_id']!r} of row {row['image_id']!r} is a square, and the row has the "
                f"shape {row['bucket']}: give the corpus that the plan was made from, or whole photographs"
            )
        if BUCKET not in row and image.width != image.height:
            image = as_square(as_srgb(image), shape[0], self._crop)
        pixels = _fitted(image, shape)[None]
        if row["tone"] in _RECOLOURING:
            pixels = self._recoloured(pixels, row)
        return torch.from_numpy(pixels[0]).permute(2, 0, 1).float() / 255.0

    def _recoloured(self, pixels: NDArray[np.uint8], row: PlanRow) -> NDArray[np.uint8]:
        source, target, strength = row["source_skin_type"], row["skin_type"], row["tone_strength"]
        if source == target:
            return pixels
        assert target is not None
        references: Mapping[str, Lab] = SKIN_REFERENCE
        if row["tone"] != "colour":
            prototypes = self._prototypes or TonePrototypes({}, {})
            prototypes.refuse_missing({source, target}, row["tone"])
            references = prototypes.colours
            if row["tone"] == "prototype_contrast":
                assert source is not None  # plans refuse it
                contrast = prototypes.contrasts[f"{source}>{target}"].numpy()
                ends = references[source], references[target]
                return transfer_contrast(pixels[0], *ends, contrast, strength)[None]
        return transfer_colour(pixels, [source], [target], strength=strength, references=references)

    def _with_detail(self, images: torch.Tensor, batch: list[PlanRow]) -> torch.Tensor:
        """Put back what the autoencoder lost of each source; an unfinished image stays unfinished."""
        means = torch.stack([self._source_moments(row)[0] for row in batch])
        reconstruction = self._architecture.decode(self._pipeline, means, scaled=False).cpu()
        sources = torch.stack([self._source_image(row) for row in batch])
        amount = torch.tensor([row["detail"] for row in batch])
        return restore_detail(images.float().cpu(), sources, reconstruction, amount)

    def _start_noise(
        self, batch: list[PlanRow], generators: list[torch.Generator], size: int
    ) -> torch.Tensor:
        """Return start noises with offsets for text-to-image, as the pipeline takes them."""
        shape = self._architecture.latent_shape(self._pipeline, size)
        noise = torch.stack([torch.randn(shape, generator=each) for each in generators])
        for row, start in zip(batch, noise, strict=True):
            if row["tone"] == "offset_noise":
                start += noise_offset(row["seed"], shape[0], row["tone_strength"])
        packed = self._architecture.pack(self._pipeline, noise)
        return packed.to(self._pipeline.device, self._dtype)


@contextmanager
def offloaded(pipeline: Any, device: torch.device) -> Iterator[None]:
    """Have each network of a pipeline on the device only while it runs; then all are where they were."""
    before = pipeline.device
    pipeline.enable_model_cpu_offload(device=device)
    try:
        yield
    finally:
        pipeline.remove_all_hooks()
        pipeline.to(before)


def redraw(
    row: PlanRow,
    pipeline: Any,
    sources: Dataset | None = None,
    prototypes: TonePrototypes | None = None,
) -> PILImage.Image:
    """Generate one row of a plan, or of a synthetic data set, again.

    On the same device the result is the same bit for bit: batch size, place in the batch and (on a CPU)
    number of threads are those that the row records.

    Args:
        row: with the columns of a plan; any others, such as ``image``, are ignored.
        pipeline: the generator that ``row["generator"]`` names.
        sources: a corpus with the row's source; none for text-to-image.
        prototypes: those that the data set was generated with, for rows whose tone needs them.

    Raises:
        SynthesisError: the source or a prototype is missing, or the image is not finite or constant.
    """
    with fixed_threads(row["threads"]):
        drawn = Drawer(pipeline, sources, prototypes).draw([row])
    if drawn.refused:
        raise SynthesisError(
            f"row {row['image_id']!r} gives an image that is {drawn.refused[0]}: generate it with another "
            "seed, or in float32 or bfloat16"
        )
    return PILImage.fromarray(drawn.images[0])


def _fitted(image: PILImage.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    image = as_srgb(image)
    if image.size != size:
        image = ImageOps.fit(image, size, PILImage.Resampling.LANCZOS)
    return np.array(image)
