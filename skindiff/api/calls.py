"""What every call has in common: settings by name, a run folder, and no side effects on the caller."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from skindiff.config import ConfigT, with_changes
from skindiff.corpora.registry import Corpus
from skindiff.corpora.splits import Split
from skindiff.files import at_home
from skindiff.launch import undisturbed
from skindiff.runs import RunFolder
from skindiff.study import RunConfig, Study, open_run

Folder = str | Path | RunFolder | Study | None
"""Where a call works: a folder, a temporary one (None), a run that is open already, as a command has it, or a
study, of whose run the call becomes a stage, as a recipe has it."""


def configured(config: ConfigT, settings: Mapping[str, Any]) -> ConfigT:
    """Return a config with settings by their names; those of a part may be given without its name.

    ``steps=60`` is ``loop={"steps": 60}`` where the config itself has no ``steps`` and one part has.

    Raises:
        ConfigError: a setting that does not exist, of the wrong type, or that cannot work.
    """
    own = {item.name for item in fields(config)}  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for name, value in settings.items():
        homes = [] if name in own else _homes(config, name)
        part, own_value = (homes[0], {name: value}) if len(homes) == 1 else (name, value)
        before = changes.get(part)
        if isinstance(before, dict) and isinstance(own_value, Mapping):
            own_value = {**before, **own_value}
        changes[part] = own_value
    return with_changes(config, changes)


def _homes(config: Any, name: str) -> list[str]:
    parts = [(item.name, getattr(config, item.name)) for item in fields(config)]
    return [part for part, value in parts if is_dataclass(value) and hasattr(value, name)]


@contextlib.contextmanager
def run_of_call(output_dir: Folder, resume: bool, config: Any) -> Iterator["tuple[RunFolder, Home]"]:
    """Give the folder of a call, and leave threads, random state and logging as they were.

    Args:
        output_dir: a folder of the caller's; a temporary one, which the result owns, when left out. A run
            that is open already, or that of a study, is given as it is.
        resume: go on with the call that is there.
        config: what decides the result; it is kept in the folder as ``config.yaml``.

    Raises:
        RunFolderError: the folder is in use, and ``resume`` is false.
    """
    run = output_dir.run if isinstance(output_dir, Study) else output_dir
    if isinstance(run, RunFolder):
        yield run, Home(run.path)
        return
    home = Home(run)
    with undisturbed():
        run = open_run(RunConfig(str(home.path), resume=resume), settings=config)
        try:
            yield run, home
        finally:
            run.release()


class Home:
    """A folder that lives as long as whatever holds this object: temporary, unless it was named."""

    def __init__(self, output_dir: str | Path | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="skindiff-") if output_dir is None else None
        self.path = Path(self._temporary.name if self._temporary else at_home(str(output_dir)))


def study_of(run: RunFolder, corpus: Corpus, split: Split | None, seed: int | None = None) -> Study:
    """Return a study of a corpus in hand; all of it is trained on where there is no split."""
    split = split or Split(0, list(range(len(corpus.dataset))), [], {}, {}, 0)
    return Study(run, corpus, split, split.seed if seed is None else seed)
