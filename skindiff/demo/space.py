"""The demo as a folder that a Space of the Hub runs as it is."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import requires, version
from pathlib import Path
from pprint import pformat

import yaml
from packaging.requirements import Requirement

import skindiff
from skindiff.corpora.registry import shows_patients
from skindiff.demo.config import DemoConfig
from skindiff.demo.generator_cache import short_names
from skindiff.errors import ConfigError, RunFolderError
from skindiff.generators.adapter import TOKENS_FILE, read_adapter
from skindiff.generators.models import INSIDE
from skindiff.generators.resolve import artefact_folder
from skindiff.hub.clean import model_name
from skindiff.hub.client import Content
from skindiff.hub.gates import refuse_file_names
from skindiff.hub.leaving import files_of
from skindiff.hub.push import adapter_files, pipeline_components, pipeline_files
from skindiff.hub.results import report_files, report_of
from skindiff.hub.staging import staged

_PACKAGE = (".py", ".typed", ".yaml", ".json", ".safetensors", ".css", ".jinja", ".html")
"""Kinds of files that the package consists of."""
_NOT_COPIED = ("__pycache__", "recipes", "accelerate_configs")
_APP = '''"""The demo of skindiff. For research and teaching; not for clinical use."""

from contextlib import suppress

from skindiff.commands.signals import Terminated, ending_in_words
from skindiff.demo.app import launch_demo
from skindiff.demo.config import DemoConfig

CONFIG = DemoConfig(
    **{settings}
)

if __name__ == "__main__":
    with suppress(KeyboardInterrupt, Terminated), ending_in_words():
        launch_demo(CONFIG)
'''
_README = """
# skindiff

Generate skin conditions on any skin type, transfer a photograph to all six, and measure the change.

For research and teaching. **Not for clinical use:** nothing here is a diagnosis, and no image here shows how
a disease looks on a person. The metadata of uploads is removed, no other visitor sees them, and they are
deleted when the page is closed.
"""
_OTHERS = """
The code is under Apache-2.0. Generators and reports have the licences of the corpora and base models that
they were made from: name one in the head of this file that all of them allow.
"""


def write_space(folder: Path | str, config: DemoConfig | None = None, *, title: str = "skindiff") -> Path:
    """Write a folder that is pushed to a Space as it is: app, requirements, card, this package.

    Of folders among ``generators`` and ``runs`` that is copied into it which a push would send, without
    pictures of photographs. No other generators can be chosen, because a Space is public.

    Args:
        folder: new or empty.
        config: what the Space offers; the bundled pipeline if left out. Host, port and login are the Space's,
            which answers everyone: it is public, and has no network of its own to protect.
        title: of the Space.

    Raises:
        RunFolderError: the folder holds something already.
        ConfigError: a setting cannot work.
    """
    folder, config = Path(folder), config or DemoConfig()
    config.validate("demo.")
    if config.adapter_base and Path(config.adapter_base).exists():
        raise ConfigError(
            f"adapter_base: {config.adapter_base} is on this machine, and not in a Space; give the id of a "
            "model of the Hub"
        )
    if single := next((target for target in config.generators if Path(target).is_file()), None):
        raise ConfigError(
            f"generators: {single} is a file, and a Space gets folders; give one that save_pretrained wrote"
        )
    if folder.exists() and any(folder.iterdir()):
        raise RunFolderError(f"folder: {folder} is not empty; give a new one for the Space")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(
        Path(skindiff.__file__).parent,
        folder / "skindiff",
        ignore=_only_ours,
    )
    config = replace(
        config,
        generators=_copied_generators(folder, config.generators),
        runs=_copied_runs(folder, config.runs),
        open_choice=False,
        open_browser=False,
        host="0.0.0.0",
        allowed_hosts=["*"],
        port=7860,
        login_file=None,
    )
    settings = pformat(asdict(config), indent=4, width=100, sort_dicts=False).replace("\n", "\n    ")
    (folder / "app.py").write_text(_APP.replace("{settings}", settings), encoding="utf-8")
    (folder / "requirements.txt").write_text("\n".join(_requirements()) + "\n", encoding="utf-8")
    ours = set(config.generators) <= set(INSIDE) and not config.runs
    card = f"---\n{_metadata(title, ours=ours)}---\n{_README}{'' if ours else _OTHERS}"
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / ".gitattributes").write_text(
        "*.safetensors filter=lfs diff=lfs merge=lfs -text\n*.png filter=lfs diff=lfs merge=lfs -text\n",
        encoding="utf-8",
    )
    return folder


def _metadata(title: str, *, ours: bool) -> str:
    """Return the head of the card; a licence stands there only where all of the Space is ``ours``."""
    fields = {
        "title": title,
        "emoji": "🎨",
        "colorFrom": "yellow",
        "colorTo": "gray",
        "sdk": "gradio",
        "sdk_version": version("gradio"),
        "app_file": "app.py",
        "pinned": False,
        **({"license": "apache-2.0"} if ours else {}),
        "short_description": "Skin conditions on any skin type; not clinical",
        "tags": ["dermatology", "synthetic-data", "stable-diffusion", "not-for-clinical-use"],
    }
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)


def _requirements() -> list[str]:
    """Return what the package and its demo ask for; Gradio itself comes with the Space."""
    found = []
    for line in requires("skindiff") or []:
        wanted = Requirement(line)
        asked = wanted.marker is None or wanted.marker.evaluate({"extra": "demo"})
        if asked and wanted.name not in ("gradio", "skindiff"):
            wanted.marker = None
            found.append(str(wanted))
    return sorted(set(found))


def _copied_generators(folder: Path, generators: list[str]) -> list[str]:
    """Copy of each generator what a push of it would send."""
    found = []
    for name, target in short_names(generators).items():
        if not Path(target).is_dir():
            found.append(target)
            continue
        source = artefact_folder(Path(target))  # of a run, the corpus and its caches stay here
        place = Path("generators") / name
        if (source / TOKENS_FILE).exists():
            with staged(source, files_of("adapter")) as own:
                base = read_adapter(own).config.get("base_model")
                _write(folder / place, adapter_files(own, base and model_name(str(base))))
        else:
            with staged(source, files_of("pipeline", pipeline_components(source))) as own:
                _write(folder / place, pipeline_files(own))
        found.append(place.as_posix())
    return found


def _copied_runs(folder: Path, runs: list[str]) -> list[str]:
    """Copy of each run what a push of it would send of its report; pictures of photographs stay here."""
    found = []
    for name, target in short_names(runs).items():
        place = Path("runs") / name
        with staged(Path(target), files_of("run")) as own:
            if not (own / "report.md").is_file():
                raise RunFolderError(f"runs: {target} has no report.md; give the folder of a finished run")
            files = report_files(own, all_pictures=_shows_nobody(own))
            texts = [files.get(name, b"") for name in ("report.json", "report.md")]
            refuse_file_names(Path(target), [text.decode() for text in texts if isinstance(text, bytes)])
            _write(folder / place, files)
        found.append(place.as_posix())
    return found


def _shows_nobody(run: Path) -> bool:
    """Whether a report says that no patient is on its pictures."""
    corpus = report_of(run).get("corpus")
    return isinstance(corpus, dict) and not shows_patients(corpus.get("name"))


def _write(folder: Path, files: Mapping[str, Content]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            shutil.copyfile(content, folder / name)


def _only_ours(folder: str, names: list[str]) -> set[str]:
    """Return what of the package's folder is no part of it."""
    paths = {name: Path(folder, name) for name in names}
    return {
        name
        for name, path in paths.items()
        if path.is_symlink() or name in _NOT_COPIED or not (path.is_dir() or path.suffix in _PACKAGE)
    }
