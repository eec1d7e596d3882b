"""What README and the recipes' files promise."""

import re
import tomllib
from pathlib import Path

import pytest

from recipes.fitz_lora import FitzLoraConfig
from skindiff.config import parse_config
from tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
CONFIGS = sorted((REPOSITORY / "recipes" / "fitz_lora").glob("*.yaml"))
SETTINGS_OF_THE_USER = {"imagefolder.yaml": ["--corpus.imagefolder.data_dir", "photographs"]}


def test_the_files_that_readme_names_exist() -> None:
    code = re.findall(r"`([^`\n]+)`", README) + re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    words = {word.strip(",;") for text in code for word in text.split()}
    homes = [REPOSITORY, REPOSITORY / "recipes" / "fitz_lora", REPOSITORY / "scripts"]
    named = {word for word in words if re.fullmatch(r"[\w./-]+\.(py|yaml)|[\w-]+(/[\w-]+)+/?", word)}
    named = {word for word in named if not word.startswith(("runs/", ".venv/")) and word != "config.yaml"}
    assert len(named) > 10
    assert [word for word in sorted(named) if not any((home / word).exists() for home in homes)] == []


def test_readme_tells_of_every_config() -> None:
    for path in [*CONFIGS, *(REPOSITORY / "accelerate_configs").glob("multi_gpu.yaml")]:
        assert path.name in README, path.name


def test_readme_has_the_two_commands() -> None:
    first, second = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert first.endswith("accelerate launch recipes/fitz_lora.py")
    assert second.endswith("python -m pytest")
    smoke = parse_config(FitzLoraConfig, [], default=REPOSITORY / "recipes" / "fitz_lora" / "smoke.yaml")
    assert f"`{smoke.output_dir}/report.md`" in README


def test_the_extras_that_readme_installs_exist() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = re.findall(r"'\.\[([\w,]+)\]'", README)
    assert asked
    assert {name for names in asked for name in names.split(",")} <= set(project["optional-dependencies"])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_of_a_recipe_parses(path: Path) -> None:
    arguments = ["--config", str(path), *SETTINGS_OF_THE_USER.get(path.name, [])]
    config = parse_config(FitzLoraConfig, arguments, default=path)
    assert config.output_dir == f"runs/fitz_lora_{path.stem}"


@pytest.mark.parametrize("path", sorted((REPOSITORY / "recipes").glob("*.py")), ids=lambda path: path.stem)
def test_a_recipe_is_short_and_has_its_configs_beside_it(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 150
    assert (path.with_suffix("") / "smoke.yaml").is_file()
