"""``skindiff train METHOD``: teach a generator or a classifier, for the next command to find."""

from collections.abc import Sequence
from importlib import import_module

from skindiff.commands.launching import launched
from skindiff.commands.terminal import say
from skindiff.errors import ConfigError

METHODS = {
    "textual-inversion": "a new word per condition for a Stable Diffusion pipeline",
    "lora": "low-rank updates of its U-Net, with or without such words",
    "ddpm": "a class-conditional diffusion model, from scratch",
    "cvae": "a conditional VAE, from scratch: cvae-resnet",
    "cvae-resnet": "the one with a ResNet-18 encoder",
    "cvae-conv": "the convolutional one",
    "joint-vae": "a VAE with continuous and discrete codes, which re-draws images",
    "fc-cvae": "the fully connected one",
    "fc-autoencoder": "a fully connected autoencoder, which re-draws images",
    "cgan": "a conditional GAN, from scratch: dcgan",
    "dcgan": "the convolutional one",
    "sn-dcgan": "with spectral normalisation and gradient penalty",
    "attention-gan": "with self-attention",
    "fc-gan": "the fully connected one",
    "classifier": "a timm classifier, on real images, drawn ones, or both",
}
"""What each method trains."""
GROUPS = {"cvae": "cvae-resnet", "cgan": "dcgan"}
"""Names that stand for one of several."""
_ROOMS = {"textual-inversion": "train_adapter", "lora": "train_adapter", "classifier": "train_classifier"}


def main(words: Sequence[str]) -> int:
    """Train by the method that the first word names, in as many processes as asked for."""
    if not words or words[0] in ("-h", "--help"):
        _help()
        return 0 if words else 2
    method = words[0].replace("_", "-")
    method = GROUPS.get(method, method)
    if method not in METHODS:
        raise ConfigError(f"method: {words[0]!r} is not one of {', '.join(METHODS)}")

    room = f"skindiff.commands.{_ROOMS.get(method, 'train_from_scratch')}"

    def work(rest: list[str]) -> int:
        status: int = import_module(room).main(method, rest[1:])
        return status

    def settings(rest: list[str]) -> object:
        return import_module(room).settings(method, rest[1:])

    return launched("train", [method, *words[1:]], work, settings)


def _help() -> None:
    width = max(map(len, METHODS))
    say("usage: skindiff train METHOD [--config FILE] [--SETTING VALUE ...]\n\nmethods:")
    for name, says in METHODS.items():
        say(f"  {name:{width}}  {says}")
    say(
        "\nSettings of a method: skindiff train METHOD --help. Several processes or GPUs:\n"
        "--accelerate_config NAME|FILE (cpu, multi_cpu, single_gpu, multi_gpu, multi_node) and\n"
        "--num_processes N. Without --config a method trains small, on what is bundled."
    )
