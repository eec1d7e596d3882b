"""The folder of a run: claimed once, resumed exactly, each stage reused while its inputs are the same."""

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.logging import get_logger

from skindiff import __version__
from skindiff.config import check_resume, save_config
from skindiff.errors import RunFolderError, SkindiffError
from skindiff.files import PARTIAL, replacing, write_atomically
from skindiff.manifest import CONFIG_FILE, DONE, MANIFEST, STAGES, discard_changed, hashes_of, read_list
from skindiff.peers import SIGN, Peers
from skindiff.plugins import PLUGINS_FILE, refuse_missing_plugins, used_plugins
from skindiff.progress import duration
from skindiff.run_lock import LOCK_FILE, RunLock

logger = get_logger(__name__)
VERSION_FILE = "version.txt"
_CACHE = "cache"
EXTERNAL = "external"
"""Folder of what was read of other corpora, by the name of the set."""
_BEFORE_VERSIONS = "0.1.0"
"""It wrote no version into its run folders."""
_LISTS = ("audit.csv", "near_duplicates.json", "missing.txt", "quarantined.csv", PLUGINS_FILE)
# The config says that the folder holds a run, so it goes last: a deletion that is cut off can be repeated.
_OURS = (
    STAGES,
    "pictures",
    "report.json",
    "report.md",
    "report.html",
    "logs",
    EXTERNAL,
    *_LISTS,
    MANIFEST,
    VERSION_FILE,
    _CACHE,
    CONFIG_FILE,
)


@dataclass(frozen=True)
class Stage:
    """One step of a run with a folder of its own; ``done`` says that an earlier call has finished it."""

    folder: Path
    inputs: dict[str, Any]
    accelerator: Accelerator
    says: str = ""
    started: float = field(default_factory=time.perf_counter, compare=False)

    @property
    def done(self) -> bool:
        """Whether everything in the folder is there."""
        return (self.folder / DONE).is_file()

    def finish(self) -> Path:
        """Record that the stage is done, from the main process while the others wait; return its folder."""
        peers = Peers.of(self.accelerator, self.folder)
        peers.meet(self.says)
        if self.accelerator.is_main_process:
            found = {"inputs": self.inputs, "files": hashes_of(self.folder)}
            text = json.dumps(found, indent=1, sort_keys=True, default=str)
            write_atomically(self.folder / DONE, text + "\n")
            logger.info("%s: done in %s", self.says, duration(time.perf_counter() - self.started))
        peers.meet(self.says)
        return self.folder


class RunFolder:
    """The output folder of a run.

    Args:
        output_dir: made if need be.
        config: saved as ``config.yaml`` in it.
        accelerator: all processes call this together; the main one writes.
        resume: go on with the run that is there.
        overwrite: delete the run that is there first (only what a run writes).
        products: names that this kind of run puts at the top of the folder besides those of every run.

    Raises:
        ConfigError: both ``resume`` and ``overwrite`` are asked for.
        RunFolderError: the folder holds a run and neither is asked for, or files that are no run; another run
            is at work in it; the run to go on with used a plugin that is not loaded, or was made by another
            minor version of skindiff.
    """

    def __init__(
        self,
        output_dir: str,
        config: Any,
        accelerator: Accelerator,
        *,
        resume: bool,
        overwrite: bool,
        products: Sequence[str] = (),
    ) -> None:
        self.path, self.config, self.accelerator = Path(output_dir), config, accelerator
        self.notes: list[str] = []
        self._products = tuple(products)
        self._started = time.perf_counter()
        self._made: dict[Any, Any] = {}
        check_resume(resume, overwrite)
        self._lock: RunLock | None = None
        self._started_peers: Peers | None = None
        if accelerator.is_main_process and not self.path.is_file():
            with self._writing():
                self.path.mkdir(parents=True, exist_ok=True)
                self._lock = RunLock.of(self.path)
                self._lock.acquire()
        try:
            self._claim(resume, overwrite)
        except SkindiffError:
            self.release()
            raise

    def _claim(self, resume: bool, overwrite: bool) -> None:
        accelerator, config = self.accelerator, self.config
        self._refuse(resume, overwrite)
        earlier = [] if overwrite else refuse_missing_plugins(self.path)
        plugins = sorted({*earlier, *used_plugins(asdict(config))})
        self._new = overwrite or not (self.path / CONFIG_FILE).is_file()
        with self._writing():
            self._started_peers = self.peers
            self.peers.meet("looking at the folder")
        if accelerator.is_main_process:
            with self._writing():
                if overwrite:
                    self._clear((*self._products, *_OURS))
                self._discard_damaged()
                write_atomically(self.path / VERSION_FILE, f"{__version__}\n")
                if plugins:
                    write_atomically(self.path / PLUGINS_FILE, json.dumps(plugins) + "\n")
                with replacing(self.path / CONFIG_FILE) as partial:
                    save_config(config, partial)
                (self.path / STAGES).mkdir(exist_ok=True)
        self.peers.meet("preparing the folder")
        if not accelerator.is_main_process:
            self._lock = RunLock.of(self.path)
            self._lock.join()

    def _discard_damaged(self) -> None:
        """Delete what lies at the top of the run and is not what it was: it is made again."""
        try:
            bad = discard_changed(self.path, read_list(self.path / MANIFEST))
        except RunFolderError:
            bad = [MANIFEST]
            (self.path / MANIFEST).unlink()
        if bad:
            logger.warning("%s is not what this run wrote, or is gone; it is made again", self.path / bad[0])

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Name the folder in what the system says of it."""
        try:
            yield
        except OSError as error:
            raise RunFolderError(
                f"output_dir: {self.path} cannot be written to ({error.strerror or error}); name another "
                "folder"
            ) from error

    @property
    def seconds(self) -> float:
        """Seconds since this call began."""
        return time.perf_counter() - self._started

    @property
    def peers(self) -> Peers:
        """The processes of this run, for those that wait while others work for long."""
        return Peers.of(self.accelerator, self.path)

    def note(self, said: str) -> None:
        """Warn of something on the console, and keep it for the report."""
        logger.warning(said)
        self.notes.append(said)

    def end(self) -> None:
        """Wait until every process is done, end the trackers, and give the folder up."""
        self.peers.end(self.accelerator)
        self.accelerator.end_training()
        self.release()

    def release(self) -> None:
        """Give the folder up to other runs."""
        if self._started_peers is not None:
            self._started_peers.leave()
        if self._lock is not None:
            self._lock.release()

    @contextlib.contextmanager
    def withdrawn_on_error(self) -> Iterator[None]:
        """Take back what a new run has written, all but its cache, if the block meets an error of the user's.

        A run that was there before stays as it is, and so does one with a stage that was finished before the
        block: hours of training may be in it.
        """
        begun = any((self.path / STAGES).glob(f"*/{DONE}"))
        try:
            yield
        except SkindiffError:
            if self._new and not begun and self.accelerator.is_main_process:
                self._clear((*self._products, *(name for name in _OURS if name != _CACHE)))
                self.release()
                with contextlib.suppress(OSError):  # where the cache, or something else, is in it
                    self.path.rmdir()
            raise

    def stage(self, name: str, says: str = "", **inputs: Any) -> Stage:
        """Return the stage called ``name`` with these inputs: everything that decides what it makes.

        Its folder is named by the inputs' fingerprint, so a stage with other inputs gets another folder.
        """
        text = json.dumps(inputs, sort_keys=True, default=str)
        folder = self.path / STAGES / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        if self.accelerator.is_main_process:
            folder.mkdir(parents=True, exist_ok=True)
            self.once(("checked", folder), lambda: _redo_if_damaged(folder))
        says = says or name.replace("-", " ")
        self.peers.meet(says)
        return Stage(folder, inputs, self.accelerator, says)

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what ``make`` made when this key was first asked for; it stays in memory with the run."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _refuse(self, resume: bool, overwrite: bool) -> None:
        if not self.path.exists() or (self.path.is_dir() and not self._holds_more()):
            return
        if not (self.path / CONFIG_FILE).is_file():
            raise RunFolderError(
                f"output_dir: {self.path} holds files that are no run; name an empty or new folder"
            )
        if not (resume or overwrite):
            raise RunFolderError(
                f"output_dir: {self.path} already holds a run; go on with it by --resume, replace it by "
                "--overwrite, or name another folder"
            )
        made_by = _version_of(self.path)
        if resume and _minor(made_by) != _minor(__version__):
            raise RunFolderError(
                f"output_dir: the run in {self.path} was made by skindiff {made_by}, and settings and stages "
                f"have other names in {__version__}; go on with it by that version, or replace it by "
                "--overwrite"
            )

    def _holds_more(self) -> bool:
        """Whether the folder holds more than an error or a kill before the run began can leave."""
        left = {_CACHE, VERSION_FILE, PLUGINS_FILE, LOCK_FILE}
        names = (path.name for path in self.path.iterdir())
        return any(
            name not in left and not name.endswith(PARTIAL) and not name.startswith(SIGN) for name in names
        )

    def _clear(self, names: tuple[str, ...]) -> None:
        for name in names:
            path = self.path / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _redo_if_damaged(folder: Path) -> None:
    """Take back that a stage is done if a file of it is gone or not what it was, and delete that file."""
    if not (folder / DONE).is_file():
        return
    try:
        bad = discard_changed(folder, read_list(folder / DONE))
    except RunFolderError:
        bad = [DONE]
    if bad:
        (folder / DONE).unlink()
        logger.warning("%s: %s is not what this run wrote, or is gone; it is made again", folder.name, bad[0])


def _version_of(folder: Path) -> str:
    file = folder / VERSION_FILE
    return file.read_text(encoding="utf-8").strip() if file.is_file() else _BEFORE_VERSIONS


def _minor(version: str) -> str:
    return version.rpartition(".")[0]
