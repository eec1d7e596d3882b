"""The demo as a folder that a Space of the Hub runs as it is."""

import shutil
from dataclasses import asdict, replace
from importlib.metadata import requires, version
from pathlib import Path
from pprint import pformat

import yaml
from packaging.requirements import Requirement

import skindiff
from skindiff.demo.config import DemoConfig
from skindiff.demo.generator_cache import short_names
from skindiff.errors import RunFolderError
from skindiff.generators.resolve import artefact_folder
from skindiff.hub.clean import clean_png, clean_text, own_file

_KEPT = (".json", ".safetensors", ".txt", ".yaml", ".csv")
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


def write_space(folder: Path | str, config: DemoConfig | None = None, *, title: str = "skindiff") -> Path:
    """Write a folder that is pushed to a Space as it is: app, requirements, card, this package.

    Folders among ``generators`` and ``runs`` are copied into it. No other generators can be chosen,
    because a Space is public.

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
    if folder.exists() and any(folder.iterdir()):
        raise RunFolderError(f"folder: {folder} is not empty; give a new one for the Space")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(
        Path(skindiff.__file__).parent,
        folder / "skindiff",
        ignore=shutil.ignore_patterns("__pycache__", "*.pyc", "recipes", "accelerate_configs"),
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
    (folder / "README.md").write_text(f"---\n{_metadata(title)}---\n{_README}", encoding="utf-8")
    (folder / ".gitattributes").write_text(
        "*.safetensors filter=lfs diff=lfs merge=lfs -text\n*.png filter=lfs diff=lfs merge=lfs -text\n",
        encoding="utf-8",
    )
    return folder


def _metadata(title: str) -> str:
    fields = {
        "title": title,
        "emoji": "🎨",
        "colorFrom": "yellow",
        "colorTo": "gray",
        "sdk": "gradio",
        "sdk_version": version("gradio"),
        "app_file": "app.py",
        "pinned": False,
        "license": "apache-2.0",
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
    found = []
    for name, target in short_names(generators).items():
        source = Path(target)
        if not source.is_dir():
            found.append(target)
            continue
        source = artefact_folder(source)  # of a run, the corpus and its caches stay here
        place = Path("generators") / name
        for path in sorted(source.rglob("*")):
            if path.suffix in _KEPT:
                path = own_file(source, path.relative_to(source).as_posix())
                copy = folder / place / path.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
        found.append(place.as_posix())
    return found


def _copied_runs(folder: Path, runs: list[str]) -> list[str]:
    """Copy reports with their pictures, without folders of this machine or metadata."""
    found = []
    for name, target in short_names(runs).items():
        place = Path("runs") / name
        (folder / place / "pictures").mkdir(parents=True)
        (folder / place / "report.md").write_bytes(clean_text(own_file(Path(target), "report.md")))
        for picture in sorted((Path(target) / "pictures").glob("*.png")):
            (folder / place / "pictures" / picture.name).write_bytes(
                clean_png(own_file(Path(target), f"pictures/{picture.name}"))
            )
        found.append(place.as_posix())
    return found
