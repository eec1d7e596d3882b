"""The folder of a run: claimed once, resumed exactly, each stage reused while its inputs are the same."""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from skindiff.config import save_config
from skindiff.errors import ConfigError, RunFolderError

CONFIG_FILE, STAGES, DONE = "config.yaml", "stages", "done.json"
_OURS = (CONFIG_FILE, STAGES, "pictures", "report.json", "report.md", "cache", "logs")


@dataclass(frozen=True)
class Stage:
    """One step of a run with a folder of its own; ``done`` says that an earlier call has finished it."""

    folder: Path
    inputs: dict[str, Any]
    accelerator: Accelerator

    @property
    def done(self) -> bool:
        """Whether everything in the folder is there."""
        return (self.folder / DONE).is_file()

    def finish(self) -> Path:
        """Record that the stage is done, from the main process while the others wait; return its folder."""
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            write_atomically(
                self.folder / DONE, json.dumps(self.inputs, indent=1, sort_keys=True, default=str) + "\n"
            )
        self.accelerator.wait_for_everyone()
        return self.folder


class RunFolder:
    """The output folder of a run.

    Args:
        output_dir: made if need be.
        config: saved as ``config.yaml`` in it.
        accelerator: all processes call this together; the main one writes.
        resume: go on with the run that is there.
        overwrite: delete the run that is there first (only what a run writes).

    Raises:
        ConfigError: both ``resume`` and ``overwrite`` are asked for.
        RunFolderError: the folder holds a run and neither is asked for, or files that are no run.
    """

    def __init__(
        self, output_dir: str, config: Any, accelerator: Accelerator, *, resume: bool, overwrite: bool
    ) -> None:
        self.path, self.accelerator = Path(output_dir), accelerator
        if resume and overwrite:
            raise ConfigError("resume and overwrite are both true: choose one")
        self._refuse(resume, overwrite)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            if overwrite:
                self._clear()
            (self.path / STAGES).mkdir(parents=True, exist_ok=True)
            save_config(config, self.path / f".{CONFIG_FILE}.partial")
            os.replace(self.path / f".{CONFIG_FILE}.partial", self.path / CONFIG_FILE)
        accelerator.wait_for_everyone()

    def stage(self, name: str, **inputs: Any) -> Stage:
        """Return the stage called ``name`` with these inputs: everything that decides what it makes.

        Its folder is named by the inputs' fingerprint, so a stage with other inputs gets another folder.
        """
        text = json.dumps(inputs, sort_keys=True, default=str)
        folder = self.path / STAGES / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        if self.accelerator.is_main_process:
            folder.mkdir(parents=True, exist_ok=True)
        self.accelerator.wait_for_everyone()
        return Stage(folder, inputs, self.accelerator)

    def _refuse(self, resume: bool, overwrite: bool) -> None:
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return
        if not (self.path / CONFIG_FILE).is_file():
            raise RunFolderError(
                f"output_dir: {self.path} holds files that are no run; name an empty or new folder"
            )
        if not (resume or overwrite):
            raise RunFolderError(
                f"output_dir: {self.path} already holds a run; go on with it by --resume true, replace it by "
                "--overwrite true, or name another folder"
            )

    def _clear(self) -> None:
        for name in _OURS:
            path = self.path / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file in one piece: whoever looks sees the old content or the new one."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
