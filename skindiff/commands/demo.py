"""``skindiff demo``: the page in the browser, or the folder of a Space that shows it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields

from skindiff.commands.settings import parse_command
from skindiff.commands.signals import Terminated, status_of
from skindiff.commands.terminal import say, suggest
from skindiff.demo.config import DemoConfig
from skindiff.errors import ConfigError


@dataclass
class DemoCommand(DemoConfig):
    """Open a page to generate and transfer images, compare generators and read reports. Not for clinical use.

    skindiff demo --generators "[bundled, runs/lora]" --runs "[runs/evaluate]"
    """

    space: str | None = None
    """New folder to write for a Space of the Hub, instead of opening the page here."""


def main(words: Sequence[str]) -> int:
    """Serve the demo until it is stopped, or write a Space."""
    given = parse_command(DemoCommand, words, "demo")
    config = DemoConfig(**{item.name: getattr(given, item.name) for item in fields(DemoConfig)})
    say("loading PyTorch, diffusers and Gradio, which takes up to a minute the first time ...")
    try:
        from skindiff.demo.app import launch_demo
        from skindiff.demo.space import write_space
    except ImportError as error:
        raise ConfigError(f"demo: {error.name} is not installed; pip install 'skindiff[demo]'") from error
    if given.space is not None:
        folder = write_space(given.space, config)
        say(f"Space: {folder}")
        suggest(["hf", "upload", "OWNER/NAME", str(folder), "--repo-type", "space"])
        return 0
    app = None
    try:
        app = launch_demo(config, wait=False)
        say(f"the demo is at {app.local_url} (ctrl-c stops it)")
        try:
            app.block_thread()
        finally:
            app.close(verbose=False)
    except (KeyboardInterrupt, Terminated) as ending:
        status = status_of(ending, then="all uploads are deleted")
        if app is not None and not app.is_idle:
            os._exit(status)  # Python aborts where a thread is still inside of PyTorch
        return status
    return 0
