"""The network in whose features images are compared: a backbone, or FID's Inception."""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from skindiff.errors import ConfigError
from skindiff.measures.backbones import BATCH_SIZE, LITE0, FeatureNetwork, check_backbone, load_backbone
from skindiff.wrong_settings import refuse

INCEPTION = "inception"
"""The Inception of 2015 whose features the published FIDs are measured in."""


@dataclass
class FeatureConfig:
    """Which network's features images are compared in; scores of different networks cannot be compared."""

    network: str = LITE0
    """lite0 (ImageNet's, installed with skindiff), bundled (the bundled pipeline's U-Net), a timm name such
    as resnet18.a1_in1k or a timm model of the Hub (timm/ID, hf-hub:OWNER/NAME), or inception (FID's own,
    which needs its weights)."""
    weights: str | None = None
    """A local safetensors file: in timm's names for a timm name, or of torch-fidelity's Inception (its .pth
    saved as safetensors). Null takes the weights that belong to the network; random ones, which tell colours
    and textures but no meaning, are had for a timm name by random."""
    image_size: int | None = None
    """Height and width in pixels that the network sees; null is its own. Inception sees 299."""
    batch_size: int = BATCH_SIZE
    """Images per forward pass."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError that names the first setting that cannot work."""
        if self.network == INCEPTION and self.weights is None:
            refuse(
                f"{path}weights is null, and {path}network={INCEPTION} is nothing without its weights: name "
                "their safetensors file, or take lite0"
            )
        if self.network != INCEPTION:
            check_backbone(self.network, self.weights, setting="network", path=path)
        elif not str(self.weights).endswith(".safetensors") or not Path(str(self.weights)).is_file():
            refuse(f"{path}weights is {self.weights}: give the safetensors file of Inception")
        if self.image_size is not None and self.image_size < 8:
            refuse(f"{path}image_size is {self.image_size}: set it to at least 8 pixels, or null")
        if self.batch_size < 1:
            refuse(f"{path}batch_size is {self.batch_size}: set it to at least 1")


def load_feature_network(config: FeatureConfig, device: torch.device) -> FeatureNetwork:
    """Load the network of ``config``.

    Raises:
        ConfigError: a setting cannot work, the weights are not to be had or do not fit, or torch-fidelity is
            not installed.
    """
    config.validate()
    if config.network != INCEPTION:
        return load_backbone(
            config.network,
            weights=config.weights,
            device=device,
            image_size=config.image_size,
            batch_size=config.batch_size,
        )
    file = Path(str(config.weights))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    name = f"{INCEPTION} ({file.name}@{digest}, 299 px)"
    return FeatureNetwork(name, _inception(config, device), device, config.batch_size)


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
