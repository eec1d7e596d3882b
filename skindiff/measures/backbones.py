"""Frozen networks that turn images into features: packaged, of timm, of the Hub, a file, or the bundled one.

Weights that were learnt from images are the rule. Random ones tell colours and textures but no meaning; they
are had by their name alone, and every report says so.
"""

import difflib
import hashlib
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import timm
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import RemoteEntryNotFoundError
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from skindiff.errors import ConfigError
from skindiff.generators.fingerprints import weights_fingerprint
from skindiff.generators.models import HUB_ERRORS, first_words, model_revision
from skindiff.generators.text_to_image.conditioning import Conditioning
from skindiff.generators.text_to_image.loading import architecture_of, load_pipeline
from skindiff.measures import lite0
from skindiff.seeding import derive_seed
from skindiff.wrong_settings import refuse

LITE0, BUNDLED, RANDOM = lite0.NAME, "bundled", "random"
WEIGHTS_FILE = "model.safetensors"
BATCH_SIZE = 16
"""Images per forward pass; on one core more are slower, as they leave its cache (lite0, 128 px)."""
TIMESTEP = 1
"""Of 1,000: the noise level that the bundled pipeline is told of; it sees images without noise. Its features
tell phantom's classes better than at 50 or 200."""
_HUB_ID = re.compile(r"(?:hf-hub:)?([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
_KNOWN = f"{LITE0}, {BUNDLED}, a timm name such as resnet18.a1_in1k, timm/ID, or hf-hub:OWNER/NAME"
_VERSION = 1
"""Part of every digest; raise it whenever the same weights would give the same pixels other features."""


@dataclass(frozen=True)
class FeatureNetwork:
    """A network that turns images into features.

    Attributes:
        name: for the report: network, weights and size.
        forward: maps (b, 3, h, w) on the device, uint8 or in [0, 1], to (b, features).
        device: where it is.
        batch_size: images per forward pass.
    """

    name: str
    forward: Callable[[torch.Tensor], torch.Tensor]
    device: torch.device
    batch_size: int

    # Not inference_mode: a linear layer is trained on what comes out.
    @torch.no_grad()
    def __call__(self, pixels: NDArray[np.uint8] | torch.Tensor) -> torch.Tensor:
        """Return (n, features) float32 features on the CPU.

        Args:
            pixels: (n, height, width, 3) uint8 array, or (n, 3, height, width) tensor in [0, 1].
        """
        if isinstance(pixels, np.ndarray):
            pixels = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)
        parts = [part.to(self.device) for part in pixels.split(self.batch_size)]
        return torch.cat([self.forward(part).float().cpu() for part in parts])


@dataclass(frozen=True)
class Backbone(FeatureNetwork):
    """A frozen network that turns images into features.

    Attributes:
        digest: SHA-256 of weights and preprocessing, for the keys of caches.
        width: number of features.
        image_size: height and width in pixels that the network sees.
        revision: commit of weights of the Hub, otherwise None.
        file: of safetensors that weights of the Hub, or of a file, are read from, otherwise None.
    """

    digest: str
    width: int
    image_size: int
    revision: str | None = None
    file: Path | None = None


@dataclass(frozen=True)
class _Source:
    """A network, and what its weights are."""

    network: nn.Module
    says: str
    weights: str
    settings: dict[str, Any]
    revision: str | None = None
    file: Path | None = None


def check_backbone(
    name: str,
    weights: str | None = None,
    revision: str | None = None,
    *,
    setting: str = "backbone",
    path: str = "",
) -> None:
    """Raise a ConfigError for a backbone that cannot be; nothing is fetched or read.

    Args:
        name: as :func:`load_backbone` takes it.
        weights: as :func:`load_backbone` takes them.
        revision: as :func:`load_backbone` takes it.
        setting: what the setting of the name is called.
        path: prefix of settings in the message, such as ``"fidelity.features."``.
    """
    on_hub, what = _hub_id(name), f"{path}{setting}"
    if on_hub is not None or name in (LITE0, BUNDLED):
        if weights is not None:
            refuse(f"{path}weights is {weights}, but {what}={name} has its own: leave them out")
    elif "/" in name or ":" in name:
        refuse(f"{what}: {name!r} is no backbone; use {_KNOWN}")
    else:
        _check_timm(name, weights, what, path)
    if revision is not None and (weights is not None or name in (LITE0, BUNDLED)):
        refuse(f"{path}revision is {revision}, but these weights are not of the Hub: leave it out")
    if revision is not None and on_hub is not None and on_hub[1] not in (None, revision):
        refuse(f"{path}revision is {revision}, but {name} names another: give one of them")
    if name == LITE0:
        lite0.refuse_missing()


def _check_timm(name: str, weights: str | None, what: str, path: str) -> None:
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        hint = f"did you mean {', '.join(close)}? " if close else ""
        refuse(f"{what}: timm knows no {name!r}: {hint}use {_KNOWN}")
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        tags = ", ".join(timm.list_pretrained(architecture)) or "none"
        raise ConfigError(f"{what}: {name!r} has a tag that timm does not know: take {tags}") from error
    if weights is None and not (config and config.hf_hub_id):
        refuse(f"{what}: there are no weights of {name} on the Hub: set {path}weights to a file")
    if weights not in (None, RANDOM):
        if Path(str(weights)).suffix != ".safetensors":
            refuse(f"{path}weights is {weights}: only safetensors files are read, or {RANDOM}")
        if not Path(str(weights)).is_file():
            refuse(f"{path}weights is {weights}, which is not a file: check the path")


def load_backbone(
    name: str,
    revision: str | None = None,
    weights: str | Path | None = None,
    device: torch.device | str = "cpu",
    *,
    image_size: int | None = None,
    batch_size: int = BATCH_SIZE,
) -> Backbone:
    """Load a backbone, frozen and in evaluation mode.

    Images are resampled to ``image_size`` (bicubic, antialiased) and normalised as the weights expect. The
    same images have the same features whatever they are batched with, up to rounding.

    Args:
        name: ``lite0`` (EfficientNet-Lite0 of ImageNet, see :mod:`skindiff.measures.lite0`); ``bundled`` (the
            bundled pipeline's own U-Net); a timm name, with or without a tag, whose weights come from the
            Hub; or a timm model of the Hub, ``timm/ID`` or ``hf-hub:OWNER/NAME``, also with ``@revision``.
            Of the Hub only safetensors are read; ``HF_HUB_OFFLINE=1`` is respected.
        revision: branch, tag or commit of weights of the Hub.
        weights: of a timm name: a safetensors file in timm's names, or ``random``.
        device: where it runs.
        image_size: height and width in pixels that the network sees; its own when left out.
        batch_size: images per forward pass.

    Raises:
        ConfigError: there is no such backbone, or its weights are missing, altered, not safetensors, or do
            not fit.
    """
    weights = None if weights is None else str(weights)
    check_backbone(name, weights, revision)
    if name == LITE0:
        found = _lite0()
    elif name == BUNDLED:
        found = _bundled()
    elif weights is not None:
        found = _local(name, weights, image_size)
    else:
        found = _of_the_hub(name, revision, image_size)
    size = image_size or int(found.settings["input_size"][-1])
    mean, std = (torch.tensor(found.settings[key], device=device) for key in ("mean", "std"))
    network = found.network.to(device).to(memory_format=torch.channels_last)
    network.eval().requires_grad_(False)

    def forward(images: torch.Tensor) -> torch.Tensor:
        scaled = images if images.is_floating_point() else images.float() / 255
        if scaled.shape[-2:] != (size, size):
            scaled = functional.interpolate(scaled, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
        seen = (scaled - mean.view(3, 1, 1)) / std.view(3, 1, 1)
        # TF32 would give an accelerator features of its own.
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            features: torch.Tensor = network(seen.contiguous(memory_format=torch.channels_last))
        return features

    architecture = found.settings.get("architecture", name)
    kept = [_VERSION, architecture, found.weights, size, mean.tolist(), std.tolist()]
    digest = hashlib.sha256(json.dumps(kept).encode()).hexdigest()
    place, label = torch.device(device), f"{name.partition('@')[0]} ({found.says}, {size} px)"
    try:
        with torch.no_grad():
            width = int(forward(torch.zeros(1, 3, size, size, device=device)).shape[1])
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ConfigError(
            f"image_size is {size}, which {name} cannot take ({_words(error)}): take its own"
        ) from error
    return Backbone(label, forward, place, batch_size, digest, width, size, found.revision, found.file)


def _lite0() -> _Source:
    network: Any = lite0.load_lite0()
    network.reset_classifier(0)
    lite0.fuse_batch_norms(network)
    size = lite0.IMAGE_SIZE
    settings = {"input_size": (3, size, size), "mean": lite0.MEAN, "std": lite0.STD}
    says = f"ImageNet weights of {lite0.PACKAGE} {lite0.VERSION}"
    return _Source(network, says, lite0.WEIGHTS_FINGERPRINT, settings)


class _BundledFeatures(nn.Module):
    """Maps (b, 3, h, w) images in [-1, 1] to the means of the U-Net's activations, told nothing of them."""

    prompt: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.pipeline = load_pipeline("bundled")
        self.seam = architecture_of(self.pipeline)
        self.networks = nn.ModuleList(self.seam.networks(self.pipeline))
        ((self.told, states),) = self.seam.encode_prompts(self.pipeline, [""]).tensors.items()
        self.register_buffer("prompt", states)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (b, features)."""
        moments = self.seam.encode_moments(self.pipeline, images)
        latents = self.seam.scale(self.pipeline, moments[0].to(images.device))
        levels = torch.full((len(images),), TIMESTEP, device=images.device)
        prompts = Conditioning({self.told: self.prompt.expand(len(images), -1, -1)})
        found = self.seam.activations(self.pipeline, latents, levels, prompts)
        return torch.cat([part.mean((2, 3)) for part in found], dim=1)


def _bundled() -> _Source:
    network = _BundledFeatures()
    size = network.seam.image_size(network.pipeline)
    settings = {"input_size": (3, size, size), "mean": (0.5,) * 3, "std": (0.5,) * 3}
    says = f"U-Net of {model_revision('bundled')} at timestep {TIMESTEP}"
    return _Source(network, says, weights_fingerprint(network), settings)


def _local(name: str, weights: str, image_size: int | None) -> _Source:
    network = _create(name, image_size)
    says = "random weights"
    if weights != RANDOM:
        _read_weights(network, Path(weights))
        says = f"{Path(weights).name}@{hashlib.sha256(Path(weights).read_bytes()).hexdigest()[:12]}"
    file = None if weights == RANDOM else Path(weights)
    return _Source(network, says, weights_fingerprint(network), network.pretrained_cfg, file=file)


def _of_the_hub(name: str, revision: str | None, image_size: int | None) -> _Source:
    """Load a timm name, or a timm model of the Hub; its safetensors are looked for before all else."""
    repo_id, own = _hub_id(name) or (str(cast(Any, timm.get_pretrained_cfg(name)).hf_hub_id), None)
    revision = revision or own
    try:
        commit = hf_hub_download(repo_id, WEIGHTS_FILE, revision=revision, dry_run=True).commit_hash
        network = _create(name if _hub_id(name) is None else f"hf-hub:{repo_id}@{commit}", image_size)
        # By the revision's own name, which the cache then knows without the network.
        file = Path(hf_hub_download(repo_id, WEIGHTS_FILE, revision=revision))
    except RemoteEntryNotFoundError as error:
        raise ConfigError(
            f"{name}: {repo_id} has no {WEIGHTS_FILE} or no config.json, and only timm models in safetensors "
            "are read: take another, or lite0"
        ) from error
    except HUB_ERRORS as error:
        raise ConfigError(
            f"{name}: {repo_id} is neither in the local cache nor to be had from the Hub "
            f"({first_words(error)}): check name, revision and network, give a timm name with weights=FILE, "
            "or take lite0, which needs no network"
        ) from error
    _read_weights(network, file)
    commit = file.parent.name
    says, weights = f"{repo_id}@{commit[:12]}", weights_fingerprint(network)
    return _Source(network, says, weights, network.pretrained_cfg, commit, file)


def _create(name: str, image_size: int | None) -> Any:
    """Make a network of timm without its head; its weights depend on the name alone until others are read."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("fidelity", name))
        try:
            network: Any = timm.create_model(name, num_classes=0)
            settings = network.pretrained_cfg
            if settings.get("fixed_input_size") and image_size not in (None, settings["input_size"][-1]):
                network = timm.create_model(name, num_classes=0, img_size=image_size)
        except (RuntimeError, KeyError, TypeError, AssertionError) as error:
            raise ConfigError(f"{name} is no model of timm ({_words(error)}): use {_KNOWN}") from error
    if settings["input_size"][0] != 3:
        raise ConfigError(f"{name} sees {settings['input_size'][0]} channels, not colours: take another")
    return network


def _read_weights(network: Any, file: Path) -> None:
    """Load all that a network has, from a file that has nothing else but its head."""
    head = network.pretrained_cfg["classifier"]
    heads = tuple(f"{one}." for one in ((head,) if isinstance(head, str) else head))
    # timm's own adjustment of older files, and of position embeddings to another image size.
    adjust = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    try:
        state = load_file(file)
        state = adjust(state, network) if adjust else state
        network.load_state_dict({key: part for key, part in state.items() if not key.startswith(heads)})
    except (RuntimeError, SafetensorError) as error:
        raise ConfigError(
            f"weights is {file}, which does not fit the network ({_words(error)}): give a file in timm's "
            "names for it"
        ) from error


def _hub_id(name: str) -> tuple[str, str | None] | None:
    """Return repository and revision of an id of the Hub, None for another name."""
    match = _HUB_ID.fullmatch(name) if name.startswith(("timm/", "hf-hub:")) else None
    return (match[1], match[2]) if match else None


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
