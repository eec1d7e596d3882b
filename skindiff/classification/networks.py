"""A timm network with the normalisation, the image size and the classes it belongs to."""

import difflib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, cast

import numpy as np
import pandas as pd
import timm
import torch
from datasets import Dataset
from PIL import Image as PILImage
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from timm.layers import PatchEmbed
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from skindiff.classification import small_cnns  # noqa: F401  (registers the papers' networks with timm)
from skindiff.corpora.crops import REGIONS, CropKind, as_square, middle_taken
from skindiff.corpora.pixel_reader import as_srgb
from skindiff.errors import ConfigError
from skindiff.foreign import Malformed, read_json, refuse_unlike
from skindiff.generators.class_conditional import MOST_PIXELS
from skindiff.manifest import refuse_damaged
from skindiff.measures import lite0
from skindiff.renamed import with_new_names
from skindiff.seeding import derive_seed
from skindiff.training.augmentation import Augment, centre_images, working_size
from skindiff.weights import parameters_at_most, read_header, read_tensors

logger = logging.getLogger(__name__)

Head = Literal["linear", "published"]

WEIGHTS_FILE, DESCRIPTION_FILE = "classifier.safetensors", "classifier.json"


@dataclass(frozen=True)
class Architecture:
    """What decides the network's shape, and how images reach it."""

    name: str
    """A timm architecture, with a pretrained tag or without, or ``lite0``."""
    image_size: int
    class_names: tuple[str, ...]
    head: Head = "linear"
    """``published`` is the reference code's: 256 units, ReLU, dropout 0.4, classes."""
    dropout: float = 0.0
    """Before the head, and between VGG's fully connected layers."""
    augment: Augment = "none"
    """The augmentation it was trained with: ``published`` cuts a margin off in testing too."""
    channels: int = 3
    """1 for a network that sees the first channel of grey images."""
    corpus_size: int | None = None
    """Height and width of the images that a probe was fitted on, which its backbone enlarges by itself."""
    crop: CropKind = "centre"
    """How the pictures of its corpus became squares, and photographs do that are shown to it."""

    def description(self) -> dict[str, Any]:
        """Return what is saved of it: the crop only where it is not the middle square."""
        found = asdict(self)
        return found if self.crop != "centre" else {key: found[key] for key in found if key != "crop"}

    @property
    def working_size(self) -> int:
        """Height and width in pixels at which images are given to the network."""
        return self.corpus_size or working_size(self.image_size, self.augment)

    def centre(self, images: torch.Tensor) -> torch.Tensor:
        """Return the part of (b, 3, h, w) images at :attr:`working_size` that the network sees."""
        return images if self.corpus_size else centre_images(images, self.image_size, self.augment)


class SkinClassifier(nn.Module):
    """Maps (b, 3, image_size, image_size) RGB images in [0, 1] to (b, classes) logits."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module, architecture: Architecture) -> None:
        super().__init__()
        self.network, self.architecture = network, architecture
        config = timm.data.resolve_model_data_config(network)
        for name in ("mean", "std"):
            values = torch.tensor(config[name]).view(1, 3, 1, 1)
            values = values if architecture.channels == 3 else values.mean(1, keepdim=True)
            self.register_buffer(name, values, persistent=False)
        # Measured as forward + backward at 64 px on one core: ResNet-18 1.07 times and VGG-16 1.22 times
        # faster than contiguous, ViT-B-16 the same.
        self.to(memory_format=torch.channels_last)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise as timm's pretrained weights expect, and classify; a probe enlarges what it is given."""
        images = images[:, : self.architecture.channels]
        size = self.architecture.image_size
        if self.architecture.corpus_size is not None and images.shape[-1] != size:
            images = functional.interpolate(images, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
        logits: torch.Tensor = self.network((images - self.mean) / self.std)
        return logits

    def train(self, mode: bool = True) -> "SkinClassifier":
        """Switch to training, but leave frozen batch norms with the statistics they came with."""
        super().train(mode)
        for part in self.modules():
            if isinstance(part, _BatchNorm) and not any(weight.requires_grad for weight in part.parameters()):
                part.eval()
        return self

    def predict(self, images: Dataset | Sequence[PILImage.Image]) -> pd.DataFrame:
        """Classify images.

        Args:
            images: rows with ``image``, or images; they become squares by the crop of the corpus that it was
                trained on. Of ``box`` and ``mask``, which are not known here, the middle square is taken.

        Returns:
            A row for each image: ``label``, the most probable class, and the probability of every class.
        """
        shown = images["image"] if isinstance(images, Dataset) else images
        architecture, was_training = self.architecture, self.training
        device, found = next(self.parameters()).device, []
        width = architecture.working_size
        if architecture.crop in REGIONS and not isinstance(images, Dataset):
            logger.warning("%s", middle_taken(architecture.crop, "classifier"))
        with torch.inference_mode():
            self.eval()
            for image in shown:
                square = as_square(as_srgb(image), width, architecture.crop)
                pixels = torch.from_numpy(np.array(square)).permute(2, 0, 1)[None].to(device)
                seen = architecture.centre(pixels.float() / 255)
                found.append(torch.softmax(self(seen).float(), 1)[0].cpu().numpy())
        self.train(was_training)
        table = pd.DataFrame(np.array(found).reshape(-1, len(architecture.class_names)))
        table.columns = list(architecture.class_names)
        best = table.to_numpy().argmax(1) if len(table) else []
        table.insert(0, "label", [architecture.class_names[code] for code in best])
        return table

    def save(self, folder: str | Path) -> Path:
        """Write the classifier into a folder, where :func:`skindiff.load` and ``push`` find it; return it."""
        save_classifier(Path(folder), self)
        return Path(folder)

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the last block, which replaces the pretrained classes."""
        return list(self.network.get_submodule(_head_name(self.network)).parameters())


def build_classifier(
    architecture: Architecture, *, pretrained: bool, weights: str | None, seed: int, path: str = ""
) -> SkinClassifier:
    """Build a classifier; what is not loaded is initialised from ``seed`` alone.

    Args:
        architecture: see :class:`Architecture`.
        pretrained: load timm's weights from the local cache or the Hub; those of ``lite0`` are installed.
        weights: a safetensors file in timm's names to load instead; a head of other classes in it is left.
        seed: root of the initial weights.
        path: prefix of settings in error messages, such as ``"classifier."``.

    Raises:
        ConfigError: the architecture is unknown, cannot take the image size, or lacks its weights.
    """
    refuse_impossible(architecture, weights, path)
    overlay: dict[str, Any] = {}
    if pretrained and architecture.name == lite0.NAME:
        overlay = {"state_dict": lite0.load_lite0().state_dict(), "num_classes": 1000}
    if weights is not None:
        overlay = {"file": weights, "num_classes": _classes_in(architecture.name, Path(weights))}
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed("classifier", "weights", seed))
        try:
            network = _create(architecture, pretrained or weights is not None, overlay)
        except RuntimeError as error:
            if weights is None:
                raise
            reason = " ".join(str(error).split())[:200]
            raise ConfigError(
                f"{path}weights is {weights}, which does not fit {architecture.name}: {reason}"
            ) from error
        except OSError as error:
            raise ConfigError(
                f"{path}pretrained is true, but the weights of {architecture.name} are neither in the local "
                f"cache nor to be had from the Hub: set {path}weights to a local safetensors file, or "
                f"{path}pretrained to false"
            ) from error
    return SkinClassifier(network, architecture)


@lru_cache(maxsize=32)
def has_batch_norm(architecture: Architecture) -> bool:
    """Whether a network has batch norm, which in training needs two rows at a time."""
    with torch.device("meta"):
        network = _create(architecture, False, {})
    return any(isinstance(part, _BatchNorm) for part in network.modules())


@lru_cache(maxsize=32)
def _takes(architecture: Architecture) -> None:
    """Try the network on one image, on the meta device: neither memory nor much time, and once for a study.

    Raises:
        RuntimeError, AssertionError, ValueError: it cannot take images of this size.
    """
    size = architecture.image_size
    with torch.device("meta"):
        network = _create(architecture, False, {})
        network.eval()(torch.zeros(1, architecture.channels, size, size))
    patches = [part.patch_size for part in network.modules() if isinstance(part, PatchEmbed)]
    if any(size % width for patch in patches for width in patch):
        raise RuntimeError(f"it is not a multiple of the patches' {patches[0][0]} pixels")


def save_classifier(folder: Path, model: SkinClassifier) -> None:
    """Write ``classifier.safetensors`` (timm's names) and ``classifier.json`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in model.network.state_dict().items()}
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    (folder / DESCRIPTION_FILE).write_text(json.dumps(model.architecture.description(), indent=2) + "\n")


def load_classifier(folder: Path) -> SkinClassifier:
    """Read back what :func:`save_classifier` wrote, in evaluation mode.

    Raises:
        ConfigError: the folder holds no classifier.
    """
    refuse_damaged(folder)
    for name in (WEIGHTS_FILE, DESCRIPTION_FILE):
        if not (folder / name).is_file():
            raise ConfigError(f"{folder} holds no {name}: give a folder written by skindiff's classifiers")
    try:
        read = read_json(folder / DESCRIPTION_FILE)
        refuse_unlike(read, dict[str, Any], DESCRIPTION_FILE)
        description = with_new_names(read, DESCRIPTION_FILE)
        refuse_unlike(description, _Description, DESCRIPTION_FILE)
        if unknown := description.keys() - {item.name for item in fields(Architecture)}:
            raise Malformed(f"{DESCRIPTION_FILE} has {len(unknown)} settings that a classifier has not")
        architecture = Architecture(**{**description, "class_names": tuple(description["class_names"])})
        _refuse_strange(architecture)
        refuse_impossible(architecture, None)
        weights = read_header(folder / WEIGHTS_FILE).numbers
        with torch.device("meta"), parameters_at_most(weights, "the classifier"):
            _create(architecture, False, {})
        model = SkinClassifier(_create(architecture, False, {}), architecture)
        model.network.load_state_dict(read_tensors(folder / WEIGHTS_FILE))
    except (Malformed, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{folder} holds no whole classifier ({reason}): get it again, or train it again"
        ) from error
    return model.eval()


class _Description(TypedDict):
    """What a classifier's description says."""

    name: str
    image_size: int
    class_names: list[str]
    head: NotRequired[Head]
    dropout: NotRequired[float]
    augment: NotRequired[Augment]
    channels: NotRequired[int]
    corpus_size: NotRequired[int | None]
    crop: NotRequired[CropKind]


def _refuse_strange(architecture: Architecture) -> None:
    sizes = [architecture.image_size, *([architecture.corpus_size] if architecture.corpus_size else [])]
    names = architecture.class_names
    if not all(1 <= size <= MOST_PIXELS for size in sizes):
        raise Malformed(f"its image size is none from 1 to {MOST_PIXELS}")
    if architecture.channels not in (1, 3):
        raise Malformed("its channels are neither 1 nor 3")
    if not 0 <= architecture.dropout < 1:
        raise Malformed("its dropout is outside 0 to below 1")
    if not names or len(set(names)) < len(names):
        raise Malformed("its class_names name none, or one twice")


def refuse_impossible(
    architecture: Architecture, weights: str | None, path: str = "", *, pretrained: bool = False
) -> None:
    """Raise a ConfigError for a name, an image size or weights that cannot work."""
    own, size = architecture.name, architecture.image_size
    name = _timm_name(own)
    if not timm.is_model(name):
        known = timm.list_models()
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(close)}?" if close else "timm.list_models() lists all"
        raise ConfigError(f"{path}architecture is {name!r}, which timm does not know: {hint}")
    try:
        known_weights = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        tags = ", ".join(timm.list_pretrained(name.split(".")[0])) or "none"
        raise ConfigError(f"{path}architecture is {name!r}, a tag timm does not know: take {tags}") from error
    if pretrained and own == lite0.NAME:
        lite0.refuse_missing()
    elif pretrained and not (known_weights and known_weights.has_weights):
        raise ConfigError(f"{path}pretrained is true, and there are no weights of {name}: set it to false")
    try:
        _takes(architecture)
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{path}image_size is {size}, which {own} cannot take ({reason}): take another, such as 224"
        ) from error
    if weights is not None:
        if Path(weights).suffix != ".safetensors":
            raise ConfigError(f"{path}weights is {weights}: only safetensors files are read")
        if not Path(weights).is_file():
            raise ConfigError(f"{path}weights is {weights}, which is not a file: check the path")


def _create(architecture: Architecture, pretrained: bool, overlay: dict[str, Any]) -> nn.Module:
    options: dict[str, Any] = {}
    name = _timm_name(architecture.name)
    if architecture.name == lite0.NAME:  # its weights see pixels in another way than timm's own
        overlay = {"mean": lite0.MEAN, "std": lite0.STD, **overlay}
    config = timm.get_pretrained_cfg(name)
    if config is not None and config.fixed_input_size:
        options["img_size"] = architecture.image_size
    network: nn.Module = timm.create_model(
        name,
        pretrained=pretrained,
        pretrained_cfg_overlay=overlay,
        num_classes=len(architecture.class_names),
        in_chans=architecture.channels,
        drop_rate=architecture.dropout,
        **options,
    )
    cast(dict[str, Any], network.pretrained_cfg).pop("state_dict", None)
    if architecture.head == "published":
        name = _head_name(network)
        features = cast(nn.Linear, network.get_submodule(name)).in_features
        head = (nn.Linear(features, 256), nn.ReLU(), nn.Dropout(0.4))
        network.set_submodule(name, nn.Sequential(*head, nn.Linear(256, len(architecture.class_names))))
    return network


def _timm_name(name: str) -> str:
    return lite0.ARCHITECTURE if name == lite0.NAME else name


def _head_name(network: nn.Module) -> str:
    name = cast(dict[str, Any], network.pretrained_cfg)["classifier"]
    if not isinstance(name, str):
        raise ConfigError(f"architecture {type(network).__name__} has several heads: take another")
    return name


def _classes_in(name: str, weights: Path) -> int:
    """Return how many classes the head in a weights file has, after checking that the rest is all there."""
    with torch.device("meta"):
        network = timm.create_model(_timm_name(name))
    head = _head_name(network)
    try:
        with safe_open(weights, framework="pt") as file:
            present = set(file.keys())
            shape = file.get_slice(f"{head}.weight").get_shape() if f"{head}.weight" in present else [0]
    except SafetensorError as error:
        raise ConfigError(f"weights is {weights}, not a readable safetensors file: {error}") from error
    lacking = sorted(key for key in network.state_dict() if key not in present and not key.startswith(head))
    if lacking:
        raise ConfigError(
            f"weights is {weights}, which lacks {lacking[0]} and {len(lacking) - 1} more tensors of {name}: "
            "give a file in timm's names for this architecture"
        )
    return int(shape[0])
