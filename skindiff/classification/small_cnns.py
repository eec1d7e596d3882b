"""The two small classifiers of the papers, registered with timm: ``timm.create_model`` builds them.

``medmnist_cnn`` is the 28-pixel network of the MedMNIST team as Le Roux (2022, "Exploring the Impact of Deep
Learning Data Augmentation on Medical Imagery Classification") prints it layer by layer in Fig. 9;
``lesion_detector`` is the network of three convolutional blocks, batch norm and dropout that Bingol et al.
("Overcoming Medical Data Scarcity with GAN Generated Synthetic Images", section III) judge generated images
with. Neither has pretrained weights.
"""

from itertools import pairwise
from typing import Any

import torch
from timm.layers import to_2tuple
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn
from torch.nn import functional

BLOCK_CHANNELS = (32, 64, 128)
BLOCK_DROPOUT = 0.25
DETECTOR_GRID = 4
DETECTOR_UNITS = 256
"""Widths, dropout and head of the detector are ours: its paper gives the number of blocks and their parts."""

_HALF = (0.5, 0.5, 0.5)
_COMMON = {"num_classes": 1000, "mean": _HALF, "std": _HALF, "interpolation": "bicubic", "crop_pct": 1.0}

default_cfgs = generate_default_cfgs(
    {
        "medmnist_cnn.untrained": {
            **_COMMON,
            "input_size": (3, 28, 28),
            "fixed_input_size": True,
            "first_conv": "layer1.0",
            "classifier": "fc.4",
        },
        "lesion_detector.untrained": {
            **_COMMON,
            "input_size": (3, 64, 64),
            "first_conv": "blocks.0.0",
            "classifier": "head",
        },
    }
)


def _convolution(inputs: int, outputs: int, *, padding: int = 0, pool: bool = False) -> nn.Sequential:
    """Return a 3 x 3 convolution with batch norm and ReLU, then a halving of the sides where asked for."""
    parts = [nn.Conv2d(inputs, outputs, 3, padding=padding), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*parts, *([nn.MaxPool2d(2)] if pool else []))


class MedMNISTCNN(nn.Module):
    """Five convolutions and three linear layers; 235,225 parameters for RGB and 9 classes (Fig. 9).

    Args:
        num_classes: outputs.
        in_chans: 3 for RGB, 1 for grey.
        img_size: side in pixels, 16 or more (or both sides, as timm gives them); 28 in the paper.
        drop_rate: dropout before the last layer; the paper has none.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        img_size: int | tuple[int, int] = 28,
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.layer1 = _convolution(in_chans, 16)
        self.layer2 = _convolution(16, 16, pool=True)
        self.layer3 = _convolution(16, 64)
        self.layer4 = _convolution(64, 64)
        self.layer5 = _convolution(64, 64, padding=1, pool=True)
        height, width = (((side - 4) // 2 - 4) // 2 for side in to_2tuple(img_size))
        if min(height, width) < 1:
            raise ValueError(f"medmnist_cnn needs images of at least 16 pixels, not {img_size}")
        hidden = (nn.Linear(64 * height * width, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU())
        self.fc = nn.Sequential(*hidden, nn.Linear(128, num_classes))
        self.drop_rate = drop_rate

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map (b, in_chans, img_size, img_size) normalised images to (b, num_classes) logits."""
        features = self.layer5(self.layer4(self.layer3(self.layer2(self.layer1(images)))))
        hidden = self.fc[:4](features.flatten(1))
        logits: torch.Tensor = self.fc[4](functional.dropout(hidden, self.drop_rate, self.training))
        return logits


class LesionDetector(nn.Module):
    """Three blocks of convolution, batch norm, ReLU, halving and dropout, then two linear layers.

    The last block is averaged to a grid of 4 x 4, so that images of any side from 8 pixels fit.

    Args:
        num_classes: outputs.
        in_chans: 3 for RGB, 1 for grey.
        drop_rate: dropout before the last layer, besides the blocks' own.
    """

    def __init__(self, num_classes: int = 1000, in_chans: int = 3, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.num_classes = num_classes
        widths = (in_chans, *BLOCK_CHANNELS)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    *_convolution(inputs, outputs, padding=1, pool=True), nn.Dropout2d(BLOCK_DROPOUT)
                )
                for inputs, outputs in pairwise(widths)
            )
        )
        self.hidden = nn.Linear(BLOCK_CHANNELS[-1] * DETECTOR_GRID**2, DETECTOR_UNITS)
        self.head = nn.Linear(DETECTOR_UNITS, num_classes)
        self.drop_rate = drop_rate

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map (b, in_chans, h, w) normalised images to (b, num_classes) logits."""
        grid = functional.adaptive_avg_pool2d(self.blocks(images), DETECTOR_GRID)
        hidden = functional.relu(self.hidden(grid.flatten(1)))
        logits: torch.Tensor = self.head(functional.dropout(hidden, self.drop_rate, self.training))
        return logits


@register_model
def medmnist_cnn(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Return a :class:`MedMNISTCNN`; called by ``timm.create_model``."""
    network: nn.Module = build_model_with_cfg(MedMNISTCNN, "medmnist_cnn", pretrained, **kwargs)
    return network


@register_model
def lesion_detector(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Return a :class:`LesionDetector`; called by ``timm.create_model``."""
    network: nn.Module = build_model_with_cfg(LesionDetector, "lesion_detector", pretrained, **kwargs)
    return network
