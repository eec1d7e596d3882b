"""``skindiff export``: an adapter as ComfyUI and A1111 read it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skindiff.commands.settings import parse_command
from skindiff.commands.terminal import say
from skindiff.errors import GeneratorError
from skindiff.files import at_home
from skindiff.generators.export import export_adapter
from skindiff.generators.resolve import find_artefact
from skindiff.wrong_settings import refuse


@dataclass
class ExportCommand:
    """Write an adapter for ComfyUI and A1111: a LoRA in kohya's keys with the strength of each layer, and the
    learned words as embeddings.

    skindiff export runs/lora --output_dir exported
    """

    adapter: str = "runs/lora"
    """An adapter: its folder, a run of skindiff train, or a Hub id, with @revision or without."""
    output_dir: str = "exported"
    """Folder that gets loras/NAME.safetensors and embeddings/WORD.safetensors, such as ComfyUI's models; what
    else is there stays."""
    name: str = "skindiff"
    """Name of the LoRA in those programs: its file's, without the ending."""
    overwrite: bool = False
    """Replace files of these names."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        if not self.name or Path(self.name).name != self.name:
            refuse(f"{path}name: {self.name!r} is no name of a file; give a word such as skin")
        if Path(at_home(self.output_dir)).is_file():
            refuse(f"{path}output_dir: {self.output_dir} is a file; name a folder")


def main(words: Sequence[str]) -> int:
    """Write the files, and say how they are used."""
    config = parse_command(ExportCommand, words, "export", positional=["adapter"])
    adapter = find_artefact(config.adapter)
    if adapter is None:
        raise GeneratorError(f"adapter: {config.adapter!r} is a whole pipeline; give an adapter")
    folder = Path(at_home(config.output_dir))
    learnt = export_adapter(adapter, folder, config.name, overwrite=config.overwrite)
    say(f"for ComfyUI and A1111: {folder}")
    for condition, word in learnt.items():
        say(f"  in prompts {condition} is {word} (in ComfyUI embedding:{word})")
    return 0
