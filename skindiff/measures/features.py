"""The network in whose features images are compared: FID's Inception, or any timm model."""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import timm
import torch
from safetensors.torch import load_file
from torch.nn import functional

from skindiff.errors import ConfigError
from skindiff.seeding import derive_seed

INCEPTION = "inception"
"""The Inception of 2015 whose features the published FIDs are measured in."""


@dataclass
class FeatureConfig:
    """Which network's features images are compared in; scores of different networks cannot be compared."""

    network: str = "resnet18"
    """inception (FID's own, which needs its weights), or any timm name, such as tf_efficientnet_lite0."""
    weights: str | None = None
    """A local safetensors file: of torch-fidelity's Inception (its .pth saved as safetensors), or in timm's
    names; null leaves a timm network with random weights, which tell colours and textures but no meaning."""
    pretrained: bool = False
    """Take timm's own weights, out of the local cache or from the Hub."""
    image_size: int | None = None
    """Height and width in pixels that a timm network sees; null is its own. Inception sees 299."""
    batch_size: int = 64
    """Images per forward pass."""

    def validate(self, path: str = "") -> None:
        """Raise a :class:`ConfigError` that names the first setting that cannot work."""
        if self.network == INCEPTION and self.weights is None:
            raise ConfigError(
                f"{path}weights is null, and {path}network={INCEPTION} is nothing without its weights: name "
                "their safetensors file, or take a timm network"
            )
        if self.network != INCEPTION and not timm.is_model(self.network.partition(".")[0]):
            raise ConfigError(
                f"{path}network: timm knows no {self.network!r}; use {INCEPTION} or a timm name"
            )
        if self.pretrained and self.weights is not None:
            raise ConfigError(f"{path}pretrained and {path}weights={self.weights} are both set: take one")
        if self.weights is not None and Path(self.weights).suffix != ".safetensors":
            raise ConfigError(f"{path}weights is {self.weights}: only safetensors files are read")
        if self.weights is not None and not Path(self.weights).is_file():
            raise ConfigError(f"{path}weights is {self.weights}, which is not a file: check the path")
        if self.image_size is not None and self.image_size < 8:
            raise ConfigError(f"{path}image_size is {self.image_size}: set it to at least 8 pixels, or null")
        if self.batch_size < 1:
            raise ConfigError(f"{path}batch_size is {self.batch_size}: set it to at least 1")


@dataclass(frozen=True)
class FeatureNetwork:
    """A network that turns images into features.

    Attributes:
        name: for the report: network, weights and size.
        forward: maps (b, 3, h, w) uint8 on the device to (b, features).
        device: where it is.
        batch_size: images per forward pass.
    """

    name: str
    forward: Callable[[torch.Tensor], torch.Tensor]
    device: torch.device
    batch_size: int

    @torch.no_grad()
    def __call__(self, pixels: np.ndarray) -> torch.Tensor:
        """Return (n, features) float32 features on the CPU of (n, height, width, 3) uint8 images."""
        found = []
        for start in range(0, len(pixels), self.batch_size):
            part = torch.from_numpy(np.ascontiguousarray(pixels[start : start + self.batch_size]))
            found.append(self.forward(part.permute(0, 3, 1, 2).to(self.device)).float().cpu())
        return torch.cat(found)


def load_feature_network(config: FeatureConfig, device: torch.device) -> FeatureNetwork:
    """Load the network of ``config``.

    Raises:
        ConfigError: a setting cannot work, the weights do not fit, or torch-fidelity is not installed.
    """
    config.validate()
    if config.network == INCEPTION:
        forward, size = _inception(config, device), 299
    else:
        forward, size = _timm(config, device)
    source = "timm's weights" if config.pretrained else "random weights"
    if config.weights is not None:
        digest = hashlib.sha256(Path(config.weights).read_bytes()).hexdigest()[:12]
        source = f"{Path(config.weights).name}@{digest}"
    name = f"{config.network} ({source}, {size} px)"
    return FeatureNetwork(name, forward, device, config.batch_size)


def _inception(config: FeatureConfig, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    try:
        from torch_fidelity import FeatureExtractorInceptionV3
    except ImportError as error:
        raise ConfigError(
            f'network is {INCEPTION}, which needs torch-fidelity: pip install "skindiff[fidelity]"'
        ) from error
    assert config.weights is not None
    with tempfile.TemporaryDirectory() as folder:
        # The class reads nothing but a pickle, so it gets one that was written here just now.
        own = Path(folder) / "inception.pth"
        torch.save(load_file(config.weights), own)
        try:
            network = FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(own)
            ).to(device)
        except RuntimeError as error:
            raise ConfigError(
                f"weights is {config.weights}, which is no Inception of torch-fidelity: save its .pth as "
                "safetensors"
            ) from error
    return lambda images: network(images)[0]


def _timm(config: FeatureConfig, device: torch.device) -> tuple[Callable[[torch.Tensor], torch.Tensor], int]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("fidelity", config.network))
        network = timm.create_model(config.network, pretrained=config.pretrained, num_classes=0)
    settings = cast(dict[str, Any], network.pretrained_cfg)
    if config.weights is not None:
        _read_weights(network, config.weights, settings["classifier"])
    network = network.to(device).eval().requires_grad_(False)
    size = config.image_size or int(settings["input_size"][-1])
    mean, std = (torch.tensor(settings[name], device=device).view(1, 3, 1, 1) for name in ("mean", "std"))

    def forward(images: torch.Tensor) -> torch.Tensor:
        scaled = images.float() / 255
        if scaled.shape[-2:] != (size, size):
            scaled = functional.interpolate(scaled, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
        features: torch.Tensor = network((scaled - mean) / std)
        return features

    return forward, size


def _read_weights(network: torch.nn.Module, weights: str, head: str | tuple[str, ...]) -> None:
    heads = (head,) if isinstance(head, str) else tuple(head)
    state = {
        name: tensor
        for name, tensor in load_file(weights).items()
        if not name.startswith(tuple(f"{one}." for one in heads))
    }
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        cause = " ".join(str(error).split())[:160]
        raise ConfigError(f"weights is {weights}, which does not fit the network ({cause})") from error
