"""``skindiff train METHOD``: teach a generator or a classifier, for the next command to find."""

from collections.abc import Sequence
from importlib import import_module

from skindiff.commands.launching import launched
from skindiff.commands.terminal import say
from skindiff.errors import ConfigError
from skindiff.generators.families import FAMILIES

_OTHERS = {
    "textual-inversion": "a new word per condition for a Stable Diffusion pipeline",
    "lora": "low-rank updates of its U-Net, with or without such words",
    "classifier": "a timm classifier, on real images, synthetic ones, or both",
    "probe": "the same as a linear probe on a frozen backbone, in seconds",
}
GROUPS = {"cvae": "cvae-resnet", "cgan": "dcgan"}
"""Names that stand for one family of several."""
_ROOMS = {
    **dict.fromkeys(("textual-inversion", "lora"), "train_adapter"),
    **dict.fromkeys(("classifier", "probe"), "train_classifier"),
}


def methods() -> dict[str, str]:
    """Return every method, and what it trains: every family of generators, from scratch, and the others."""
    own = {name.replace("_", "-"): f"{family.what}, from scratch" for name, family in FAMILIES.items()}
    return {**_OTHERS, **own, **{name: f"the same as {family}" for name, family in GROUPS.items()}}


def main(words: Sequence[str]) -> int:
    """Train by the method that the first word names, in as many processes as asked for."""
    if not words or words[0] in ("-h", "--help"):
        _help()
        return 0 if words else 2
    method = words[0].replace("_", "-")
    method = GROUPS.get(method, method)
    if method not in methods():
        raise ConfigError(f"method: {words[0]!r} is not one of {', '.join(methods())}")

    room = f"skindiff.commands.{_ROOMS.get(method, 'train_from_scratch')}"

    def work(rest: list[str]) -> int:
        status: int = import_module(room).main(method, rest[1:])
        return status

    def settings(rest: list[str]) -> object:
        return import_module(room).settings(method, rest[1:])

    return launched("train", [method, *words[1:]], work, settings)


def _help() -> None:
    width = max(map(len, methods()))
    say("usage: skindiff train METHOD [--config FILE] [--SETTING VALUE ...]\n\nmethods:")
    for name, says in methods().items():
        say(f"  {name:{width}}  {says}")
    say(
        "\nSettings of a method: skindiff train METHOD --help. Several processes or GPUs:\n"
        "--accelerate_config NAME|FILE (cpu, multi_cpu, single_gpu, multi_gpu, multi_node) and\n"
        "--num_processes N. Without --config a method trains small, on what is bundled."
    )
