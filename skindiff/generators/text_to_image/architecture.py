"""What is asked of an architecture of text-to-image models, and nothing else is.

Training, tone, synthesis, demo and cards know a pipeline by this interface; which networks it has, and what
they are called, only the architecture's own file knows.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from diffusers import DiffusionPipeline
from torch import nn

from skindiff.corpora.buckets import STEP
from skindiff.generators.text_to_image.conditioning import Conditioning

Mode = Literal["txt2img", "img2img"]
SamplerName = Literal["dpmsolver++", "ddim", "pndm", "ddpm", "euler", "pipeline"]


class TokenHome(NamedTuple):
    """A tokenizer and the text encoder behind it, in which learned tokens live."""

    tokenizer: str
    text_encoder: str
    """Attributes of the pipeline."""
    key: str | None = None
    """Of its rows in the file of a token; None is the token itself, which diffusers looks for where there is
    one encoder."""


class Architecture(ABC):
    """One architecture; it has no state, and every method takes a pipeline of its class.

    Attributes:
        name: what people call it.
        generates: the class of diffusers that generates from text, and that saved pipelines are loaded as.
        transfers: the class that transfers an image (img2img).
        loading: further settings of ``from_pretrained``.
        kohya: what kohya's keys of each network of :meth:`adaptable` begin with; after a point the layer's
            name keeps its points, which are underscores otherwise.
        joined: how many layers one of kohya's own files is here, by how its name ends.
        single_file: whether its models are read from one file of weights too.
        reads_kohya: whether diffusers reads a LoRA in those keys.
        token_homes: where learned tokens live; empty where diffusers has no loader for them.
        samplers: names of the samplers that can follow its models, the usual one first.
    """

    name: ClassVar[str]
    generates: ClassVar[type[DiffusionPipeline]]
    transfers: ClassVar[type[DiffusionPipeline]]
    loading: ClassVar[dict[str, Any]] = {}
    kohya: ClassVar[Mapping[str, str]]
    joined: ClassVar[Mapping[str, int]] = {}
    single_file: ClassVar[bool] = False
    reads_kohya: ClassVar[bool] = True
    token_homes: ClassVar[tuple[TokenHome, ...]]
    samplers: ClassVar[tuple[SamplerName, ...]] = ("dpmsolver++", "ddim", "pndm", "ddpm", "euler", "pipeline")

    @property
    def class_names(self) -> tuple[str, str]:
        """The classes that ``model_index.json`` of a model of this architecture can name."""
        return self.generates.__name__, self.transfers.__name__

    def refuse_index(self, index: Mapping[str, Any], name: str) -> None:
        """Raise a GeneratorError for a model that its index tells to be another kind; by default for none."""
        return

    @abstractmethod
    def refuse_unfit(self, pipeline: Any, name: str = "the pipeline") -> None:
        """Raise a GeneratorError for a part that the pipeline's own class would not use as it was made."""

    @abstractmethod
    def network(self, pipeline: Any) -> Any:
        """Return the network that denoises."""

    @abstractmethod
    def networks(self, pipeline: Any) -> tuple[Any, ...]:
        """Return every network, the one that denoises first and the autoencoder last."""

    def text_encoders(self, pipeline: Any) -> tuple[Any, ...]:
        """Return the text encoders that there are."""
        return self.networks(pipeline)[1:-1]

    @abstractmethod
    def precisions(self, dtype: torch.dtype) -> dict[str, torch.dtype]:
        """Return the precision of each part of a pipeline whose frozen networks are held in ``dtype``, by
        its attribute; of all others it is ``default``."""

    @abstractmethod
    def adaptable(self, pipeline: Any) -> dict[str, Any]:
        """Return the networks that a LoRA can sit on, by the prefix of their keys in its file; the one that
        denoises first."""

    @abstractmethod
    def denoiser(self, pipeline: Any, *, live_text: bool, guidance: float = 1.0) -> nn.Module:
        """Return what is trained: ``forward(latents, timesteps, prompts, places, images)`` predicts.

        There latents are (b, channels, height, width) noised, timesteps (b,), ``prompts`` a few of them,
        ``places`` (b,) which of these belongs to each latent, and ``images`` the rows of
        :meth:`image_conditions` of the latents.

        Args:
            pipeline: whose networks are called.
            live_text: text encoders run in each step, on :meth:`live_prompts`; otherwise prompts are
                those of :meth:`encode_prompts`.
            guidance: that the network is told, where it takes one (:meth:`takes_guidance`).
        """

    @abstractmethod
    def activations(
        self, pipeline: Any, latents: torch.Tensor, timesteps: torch.Tensor, prompts: Conditioning
    ) -> list[torch.Tensor]:
        """Return what the inner blocks of the network that denoises make of latents, for use as features.

        Args:
            pipeline: whose network is called.
            latents: (b, channels, height, width) as the network sees them.
            timesteps: (b,).
            prompts: of :meth:`encode_prompts`, one for each latent.

        Returns:
            From the middle to the last block, each (b, channels, height, width).
        """

    @abstractmethod
    def image_size(self, pipeline: Any) -> int:
        """Return the height and width in pixels that the model was made for."""

    def token_side(self, pipeline: Any) -> int:
        """Return how many latent pixels the side of an image token has, where the network takes tokens."""
        return 1

    def takes_guidance(self, pipeline: Any) -> bool:
        """Return whether the network is told a guidance, which it was distilled to follow."""
        return False

    def size_step(self, pipeline: Any) -> int:
        """Return what the sides of images in pixels are a multiple of."""
        return int(max(STEP, pipeline.vae_scale_factor * self.token_side(pipeline)))

    @abstractmethod
    def latent_shape(self, pipeline: Any, size: int) -> tuple[int, int, int]:
        """Return channels, height and width of the latent of an image of ``size`` pixels."""

    @abstractmethod
    def latent_facts(self, pipeline: Any) -> dict[str, Any]:
        """Return everything that decides the latent of an image, of plain types, for a cache's key."""

    @abstractmethod
    def encode_moments(self, pipeline: Any, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode images in the autoencoder's own precision and on its device.

        Args:
            pipeline: with the autoencoder.
            images: (b, 3, height, width) in [-1, 1].

        Returns:
            Mean and standard deviation of the posterior, each (b, channels, height, width) in float32 on the
            CPU, not yet scaled: :meth:`scale` makes what the network sees.
        """

    @abstractmethod
    def scale(self, pipeline: Any, latents: torch.Tensor) -> torch.Tensor:
        """Return latents of the autoencoder as the network sees them, by a factor and perhaps a shift."""

    def scale_spread(self, pipeline: Any, std: torch.Tensor) -> torch.Tensor:
        """Return standard deviations of latents as the network sees them: scaled, but never shifted."""
        return self.scale(pipeline, std) - self.scale(pipeline, torch.zeros_like(std))

    @abstractmethod
    def decode(self, pipeline: Any, latents: torch.Tensor, *, scaled: bool = True) -> torch.Tensor:
        """Decode latents in the autoencoder's own precision and on its device.

        Args:
            pipeline: with the autoencoder.
            latents: (b, channels, height, width).
            scaled: they are what the network sees, not what the encoder gives.

        Returns:
            Images, (b, 3, height, width) in float32 on that device: [0, 1], a little beyond, or not finite.
        """

    @abstractmethod
    def tokenise(self, pipeline: Any, prompts: Sequence[str], *, cut: bool = False) -> Conditioning:
        """Turn prompts into ids as the pipeline does, but refuse what it would quietly get wrong.

        Args:
            pipeline: whose tokenizers are used.
            prompts: any number.
            cut: cut the end of prompts that are too long, for each encoder at its own limit.

        Returns:
            Ids of every tokenizer, each (prompts, places of the tokenizer), int64, on the CPU.

        Raises:
            GeneratorError: a ``<placeholder>`` of a prompt is not exactly its own added ids, or a prompt is
                too long for a text encoder and not to be cut.
        """

    @abstractmethod
    def surplus(self, pipeline: Any, prompts: Sequence[str]) -> dict[str, list[int]]:
        """Return how many tokens of each prompt are too many, by text encoder."""

    @abstractmethod
    def encode_ids(self, pipeline: Any, ids: Conditioning) -> Conditioning:
        """Return what the text encoders make of :meth:`tokenise`, in their precision and on their device."""

    def live_prompts(self, pipeline: Any, prompts: Sequence[str], *, cut: bool = False) -> Conditioning:
        """Return what :meth:`encode_ids` takes where text encoders learn: ids of these, and of the others
        what they make of them, once; for ``cut`` see :meth:`tokenise`.

        Raises:
            GeneratorError: see :meth:`tokenise`.
        """
        return self.tokenise(pipeline, prompts, cut=cut)

    def encode_prompts(self, pipeline: Any, prompts: Iterable[str], *, cut: bool = False) -> Conditioning:
        """Encode each prompt alone, so that its embedding never depends on what it is batched with.

        Prompts that occur more than once are encoded once; for ``cut`` see :meth:`tokenise`.

        Returns:
            What the network is told of each, (prompts, ...), in the text encoders' precision and on their
            device, by the names that pipelines are called with.

        Raises:
            GeneratorError: see :meth:`tokenise`.
        """
        prompts = list(prompts)
        unique = list(dict.fromkeys(prompts))
        ids = self.tokenise(pipeline, unique, cut=cut)
        with torch.no_grad():
            found = [self.encode_ids(pipeline, ids[place : place + 1]) for place in range(len(unique))]
        return Conditioning.joined(found)[[unique.index(prompt) for prompt in prompts]]

    def conditions(self, prompts: Conditioning, free: Conditioning | None = None) -> dict[str, Any]:
        """Return what a pipeline is called with in place of prompts.

        Args:
            prompts: of :meth:`encode_prompts`, one for each image.
            free: those of the empty prompt, which guidance is measured against.
        """
        negative = {} if free is None else free.tensors
        return {**prompts.tensors, **{f"negative_{name}": tensor for name, tensor in negative.items()}}

    def guidance(self, scale: float) -> dict[str, float]:
        """Return what a pipeline is called with for a guidance scale, at which 1 is none."""
        return {"guidance_scale": scale}

    def transfer_size(self, width: int, height: int) -> dict[str, int]:
        """Return what :attr:`transfers` is told of the size in pixels, where it does not follow the image."""
        return {}

    def set_timesteps(self, pipeline: Any, scheduler: Any, steps: int, shape: Sequence[int]) -> None:
        """Set a scheduler as pipelines do for latents of ``shape`` (channels, height, width)."""
        scheduler.set_timesteps(steps)

    def pack(self, pipeline: Any, latents: torch.Tensor) -> torch.Tensor:
        """Return start noise (b, channels, height, width) as :attr:`generates` takes ``latents``."""
        return latents

    def unpack(self, pipeline: Any, latents: torch.Tensor, width: int, height: int) -> torch.Tensor:
        """Return latents that a pipeline gave of images of that size in pixels, (b, channels, height,
        width)."""
        return latents

    def image_conditions(self, framings: torch.Tensor) -> Conditioning:
        """Return what the network is told of images in training beside their prompts; nothing by default.

        Args:
            framings: (..., 6) int64, of each image height and width in pixels of its upright original, top
                and left of its crop in that original at the scale of the image, and its height and width.
        """
        return Conditioning({})

    def drawing(self, pipeline: Any, mode: Mode, scheduler: Any) -> Any:
        """Return a pipeline of the same networks that generates in a mode with a scheduler, without a bar.

        It has no text encoders, whose precision it would take for the network's, and is called with
        :meth:`conditions`.
        """
        kind: Any = self.transfers if mode == "img2img" else self.generates
        texts = self.text_encoders(pipeline)
        parts = {name: None if any(part is text for text in texts) else part
                 for name, part in pipeline.components.items()}  # fmt: skip
        drawing = kind(**{**parts, "scheduler": scheduler}, **self._building(pipeline))
        drawing.set_progress_bar_config(disable=True)
        return drawing

    def _building(self, pipeline: Any) -> dict[str, Any]:
        """Return further settings of the classes' constructors."""
        return {}

    def unread_layers(self, pipeline: Any) -> dict[str, str]:
        """Return layers of :meth:`adaptable` that no prediction depends on: regular expressions of their
        names, by network; a LoRA there would learn nothing."""
        return {}
