"""The settings of a classifier, and the published protocols that settings can name."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from skindiff.classification.cells import is_probe
from skindiff.classification.networks import Architecture, Head, has_batch_norm, refuse_impossible
from skindiff.errors import ConfigError
from skindiff.training.augmentation import Augment
from skindiff.training.balancing import ClassifierBalance
from skindiff.training.loop_config import LoopConfig, idle_of_loop
from skindiff.training.samplers import epoch_sizes
from skindiff.wrong_settings import refuse

PAPER_BATCH = 256
PAPER_FIRST_EPOCH = 11
"""Epochs (from 1) before this one are never selected by the published code."""

Selection = Literal["balanced_accuracy", "accuracy", "auroc", "loss", "none"]


def _loop_defaults() -> LoopConfig:
    return LoopConfig(
        steps=300, batch_size=64, learning_rate=1e-3, lr_schedule="cosine", warmup_steps=15, validate_every=30
    )


@dataclass
class ClassifierConfig:
    """Which network learns from which view of the images, and for how long."""

    preset: Literal["grouped", "published"] = "grouped"
    """paper repeats the published protocol and overrules augment, balance, head, dropout, trainable, loop."""
    architecture: str = "resnet18"
    """A timm name, such as resnet18, vgg16 or vit_base_patch16_224; lite0, medmnist_cnn, lesion_detector."""
    pretrained: bool = False
    """Start from timm's weights, out of the local cache or from the Hub; lite0's (ImageNet, 64 to 224 px) are
    installed with skindiff."""
    weights: str | None = None
    """Start from a local safetensors file in timm's names instead."""
    image_size: int = 64
    """Height and width in pixels of what the network sees; the paper's is 224."""
    augment: Augment = "geometric"
    """geometric: crop of 80 to 100%, rotation by 15 degrees, flips; published: the main paper's;
    medmnist: sharpness, contrast, left-right flip, hue; randaugment: torchvision's (2 operations of
    magnitude 9); flip; none."""
    colour_jitter: float = 0.0
    """Half width of random factors on brightness, contrast and saturation; 0 switches it off."""
    balance: ClassifierBalance = "class"
    """Sample classes, or classes within the values of corpus.attribute (class_and_attribute), equally often;
    oversample repeats the rows of small classes up to the largest; none samples every row equally often."""
    head: Head = "linear"
    """published puts 256 units, ReLU and dropout 0.4 before the classes."""
    dropout: float = 0.0
    """Dropout before the head, from 0 to below 1."""
    trainable: Literal["all", "head"] = "all"
    """head freezes everything but the last block, which makes sense with pretrained weights only."""
    published_epochs: int = 30
    """Epochs of preset published, of ceil(images / 256) steps each; preset grouped does not look at it."""
    keep_weights: bool = True
    """Keep the final weights in the folder (45 MB for ResNet-18, 540 MB for VGG-16)."""
    channels: Literal[1, 3] = 3
    """1 lets the network see the first channel of grey images only; 3 takes any images."""
    epochs: int | None = None
    """Passes over the training images, judged after each, instead of loop.steps and loop.validate_every. Arms
    with more images then take more steps. Preset published does not look at it."""
    selection: Selection = "balanced_accuracy"
    """Validation score that the kept weights are best in; preset published takes the loss. none keeps the
    last weights, averaged over steps where loop.ema_decay is set: a choice on few images is mostly luck."""
    loop: LoopConfig = field(default_factory=_loop_defaults)
    """Steps, batch, rates; its seed is the one given to train_classifier."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError that names the first setting that cannot work."""
        if is_probe(self.architecture):
            refuse(
                f"{path}architecture is {self.architecture!r}, which is not fine-tuned: name a network here, "
                "such as resnet18; probes are among experiment.architectures of a study"
            )
        if self.image_size < 1:
            refuse(f"{path}image_size is {self.image_size}: set it to at least 1 pixel")
        if not 0 <= self.dropout < 1:
            refuse(f"{path}dropout is {self.dropout}: set it in [0, 1)")
        if not 0 <= self.colour_jitter < 1:
            refuse(f"{path}colour_jitter is {self.colour_jitter}: set it in [0, 1)")
        if self.published_epochs < 1:
            refuse(f"{path}published_epochs is {self.published_epochs}: set it to at least 1")
        if self.epochs is not None and self.epochs < 1:
            refuse(f"{path}epochs is {self.epochs}: set it to at least 1, or to null for loop.steps")
        if self.channels not in (1, 3):
            refuse(f"{path}channels is {self.channels}: set it to 1 (grey) or 3 (RGB)")
        if self.pretrained and self.weights is not None:
            refuse(f"{path}pretrained and {path}weights={self.weights} are both set: take one")
        self.loop.validate(f"{path}loop.")
        network = architecture_of(self, ("a", "b"))
        refuse_impossible(network, self.weights, path, pretrained=self.pretrained)
        learns_one_by_one = (
            self.loop.batch_size == 1 and self.trainable == "all" and self.preset != "published"
        )
        if learns_one_by_one and has_batch_norm(network):
            refuse(
                f"{path}loop.batch_size is 1, and {self.architecture} has batch norm, which measures "
                "a spread over rows: set it to at least 2"
            )

    def idle(self) -> dict[str, str]:
        """Return the settings that the preset, the epochs or the trainings decide."""
        found = idle_of_loop()
        if self.preset == "published":
            names = [*_PUBLISHED, "dropout", "trainable", "epochs", "selection"]
            names += [f"loop.{name}" for name in (*_PUBLISHED_LOOP, "batch_size", *_COUNTED, "schedule_lead")]
            return found | dict.fromkeys(names, "preset published has its own")
        found["published_epochs"] = "preset is grouped"
        if self.epochs is not None:
            found |= {f"loop.{name}": "it follows from epochs" for name in _COUNTED}
        return found


_PUBLISHED = {"augment": "published", "colour_jitter": 0.0, "balance": "class", "head": "published"}
_PUBLISHED_LOOP = {
    "global_batch_size": None,
    "learning_rate": 1e-3,
    "scale_lr": False,
    "lr_schedule": "step_third",
    "warmup_steps": 0,
    "optimiser": "adam",
    "weight_decay": 0.0,
    "max_grad_norm": 0.0,
    "ema_decay": 0.0,
}
"""Of Wang et al. 2024, scripts/train_classifier.py."""
_COUNTED = ("steps", "validate_every")
_ADDED = ("channels", "epochs", "selection")
"""Settings added after the first runs: a stage is keyed by them only where they are used."""


def settings_of(config: ClassifierConfig) -> dict[str, Any]:
    """Return everything that decides a training as plain values, to key stages and checkpoints by.

    A setting that came later is left out while it has its default, so that what was trained before it can
    still be taken up.
    """
    settings, usual = asdict(config), asdict(ClassifierConfig())
    kept = {name: value for name, value in settings.items() if name not in _ADDED or value != usual[name]}
    return {**kept, "passes": "whole"} if counts_passes(config) else kept  # they were longer once


def architecture_of(config: ClassifierConfig, class_names: Sequence[str]) -> Architecture:
    """Return the network that a config describes, for these classes."""
    return Architecture(
        config.architecture,
        config.image_size,
        tuple(class_names),
        head=config.head,
        dropout=config.dropout,
        augment=config.augment,
        channels=config.channels,
    )


def pass_sizes(config: ClassifierConfig, rows: int, processes: int) -> list[int]:
    """Return the rows of each step of one pass over the images, whose last may be short.

    Args:
        config: settled, with the batch of its preset.
        rows: images that are seen in one pass.
        processes: of the run.
    """
    micro_batches = processes * config.loop.shared_by(processes).gradient_accumulation_steps
    least = 2 * micro_batches if has_batch_norm(architecture_of(config, ("a", "b"))) else 1
    return epoch_sizes(rows, config.loop.global_batch(processes), least)


def counts_passes(config: ClassifierConfig) -> bool:
    """Whether a training is so many passes over the images, and not so many steps."""
    return config.preset == "published" or config.epochs is not None


def epoch_settings(config: ClassifierConfig, rows: int, processes: int) -> ClassifierConfig:
    """Return ``config`` with steps and validations for its epochs, or as it is where it counts steps.

    Args:
        config: of preset grouped.
        rows: images that are seen in one epoch.
        processes: of the run.
    """
    if config.epochs is None:
        return config
    per_epoch = len(pass_sizes(config, rows, processes))
    steps = config.epochs * per_epoch
    warmup = min(config.loop.warmup_steps, steps)
    return replace(
        config, loop=replace(config.loop, steps=steps, validate_every=per_epoch, warmup_steps=warmup)
    )


def published_settings(config: ClassifierConfig, rows: int, processes: int) -> ClassifierConfig:
    """Return ``config`` with the settings of the paper's code (its scripts/train_classifier.py).

    30 epochs with replacement in batches of 256, Adam at 1e-3 times 0.1 after every third, no clipping, a
    sampler of inverse class frequencies, the crop-rotate-flip-cut augmentation, and a head of 256 units with
    everything else of VGG-16 frozen (dropout 0.5 as in torchvision's). Its ``ColorJitter()`` has no
    arguments, which changes nothing, so nothing is done here. Other architectures are not in its code; they
    get the same head and are trained whole. Selected is the lowest loss from the eleventh epoch on; the
    original falls back to the untrained weights if no later epoch is better than the eleventh. It moves the
    scheduler before each epoch, the first one too, so that rates fall one epoch earlier.

    Args:
        config: its architecture, weights, image size, accumulation and checkpoints stay.
        rows: images in the training set.
        processes: of the run; 256 must be a multiple of them times the accumulation.
    """
    parts = processes * config.loop.gradient_accumulation_steps
    if PAPER_BATCH % parts:
        raise ConfigError(
            f"preset is published, whose batch of {PAPER_BATCH} cannot be cut into {parts} parts: set "
            "gradient_accumulation_steps x processes to a power of two"
        )
    own_loop: dict[str, Any] = {**_PUBLISHED_LOOP, "batch_size": PAPER_BATCH // parts}
    loop = replace(config.loop, **own_loop)
    vgg = config.architecture.startswith("vgg")
    own: dict[str, Any] = {
        **_PUBLISHED,
        "dropout": 0.5 if vgg else 0.0,
        "trainable": "head" if vgg else "all",
    }
    found = replace(config, loop=loop, **own)
    per_epoch = len(pass_sizes(found, rows, processes))
    steps = config.published_epochs * per_epoch
    counted = replace(loop, steps=steps, validate_every=per_epoch, schedule_lead=per_epoch)
    return replace(found, loop=counted)
