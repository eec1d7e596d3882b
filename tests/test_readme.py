"""What README promises: every command and snippet of it is run here, or at least read by what would run it.

A command that no rule knows fails; so does a block of a language that nobody runs.
"""

import contextlib
import importlib
import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from PIL import Image

from recipes.fitz_lora import FitzLoraConfig
from skindiff.cli import main
from skindiff.commands import run
from skindiff.commands.launching import IN_PROCESS, split_launch_words
from skindiff.config import parse_config, refuse_unshared
from skindiff.wrong_settings import setting_types
from tests import readme
from tests.conftest import REPOSITORY
from tests.hub.conftest import TOKEN, Client
from tests.hub.server import Hub
from tests.hub.test_round_trips import CARDS

RECIPES = sorted((REPOSITORY / "recipes").glob("*.py"))
FITZ_LORA = sorted((REPOSITORY / "recipes" / "fitz_lora").glob("*.yaml"))
SETTINGS_OF_THE_USER = {"imagefolder.yaml": ["--corpus.imagefolder.data_dir", "photographs"]}
SMALL = [
    *("--corpus.phantom.classes", "[ring, plaque]", "--corpus.phantom.images_per_class", "{I: 4, V: 4}"),
    *("--corpus.phantom.repeat_share", "0"),
]
"""Sixteen drawings instead of the default corpus."""
TINY: dict[tuple[str, ...], list[str]] = {
    ("data",): [],
    ("export",): [],
    ("audit",): [],
    ("report",): [],
    ("compare",): [],
    ("demo",): ["--port", "null"],
    ("sample",): [
        *("--images", "1", "--synthesis.steps", "4", "--synthesis.tone", "none"),
        *("--synthesis.batch_size", "6", "--synthesis.guidance_scale", "1"),
        *("--synthesis.detail", "0"),
    ],
    ("train", "lora"): [
        *("--lora.loop.steps", "1", "--lora.loop.batch_size", "2", "--lora.validation_examples", "2"),
    ],
    ("train", "ddpm"): [
        *("--ddpm.widths", "[32]", "--ddpm.loop.steps", "1", "--ddpm.loop.batch_size", "4"),
        *("--ddpm.loop.warmup_steps", "0"),
    ],
    ("train", "classifier"): [
        *("--classifier.architecture", "resnet10t", "--classifier.image_size", "32"),
        *("--classifier.loop.steps", "1", "--classifier.loop.warmup_steps", "0"),
        *("--classifier.loop.validate_every", "1"),
    ],
    ("evaluate",): [
        *("--experiment.architectures", "[test_resnet]", "--experiment.classifier.image_size", "32"),
        *("--experiment.classifier.loop.steps", "1", "--experiment.classifier.loop.warmup_steps", "0"),
        *("--experiment.classifier.loop.validate_every", "1", "--experiment.bootstrap_replicates", "100"),
        *("--experiment.train_seeds", "[0]", "--experiment.arms", "[real, real+syn]"),
    ],
}
"""What makes each command of skindiff small enough to be run here; what a README line says is kept."""


def shown(words: list[str]) -> str:
    return shlex.join(words)[:90]


def read_setup(words: list[str]) -> None:
    """The installation; .ci/run does it from a bare clone."""
    extras = re.fullmatch(r"\.\[([\w,]+)\]", words[-1])
    if words[0] == "pip":
        assert extras is not None
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert set(extras[1].split(",")) <= set(project["optional-dependencies"])
        assert (REPOSITORY / words[words.index("-c") + 1]).is_file()
    else:
        assert words[-1] in (".venv", ".venv/bin/activate")


def read_recipe(script: str, arguments: list[str]) -> Any:
    """Have a recipe read its settings, as it does before anything is loaded."""
    path = REPOSITORY / script
    assert path.is_file(), script
    module = importlib.import_module(f"recipes.{path.stem}")
    (kind,) = (
        value
        for name, value in vars(module).items()
        if name.endswith("Config") and getattr(value, "__module__", "") == module.__name__
    )
    places = [str(REPOSITORY / word) if word.endswith(".yaml") else word for word in arguments]
    return parse_config(kind, places, default=path.with_suffix("") / "smoke.yaml")


def read_launch(words: list[str]) -> None:
    """``accelerate launch``: Accelerate takes its part of the line, the recipe takes the rest."""
    launch = [
        str(REPOSITORY / word) if word.startswith("accelerate_configs/") else word for word in words[2:]
    ]
    arguments = _validate_launch_command(launch_command_parser().parse_args(launch))[0]
    assert arguments.training_script.startswith("recipes/")
    config = read_recipe(arguments.training_script, arguments.training_script_args)
    refuse_unshared(config.trained_together(), arguments.num_processes)


def read_run(words: list[str]) -> None:
    """``skindiff run``: what it would launch."""
    started: list[list[str]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "launch", lambda launched: started.append(launched) or 1)
        assert run.main(words[2:]) == 1
    (launched,) = started
    script = next(place for place, word in enumerate(launched) if word.endswith(".py"))
    config = read_recipe(launched[script], launched[script + 1 :])
    assert config.output_dir.startswith("runs/")


def read_python(words: list[str]) -> None:
    """``python recipes/X.py --help`` and the test command."""
    if words[1].startswith("recipes/"):
        assert words[2:] == ["--help"]
        with pytest.raises(SystemExit) as caught, contextlib.redirect_stdout(io.StringIO()) as text:
            read_recipe(words[1], ["--help"])
        assert caught.value.code == 0
        assert "--output_dir" in text.getvalue()
    else:
        assert words[1:3] == ["-m", "pytest"]
        assert words[3:] in ([], ["-m", "slow"], ["-m", "gpu"])


def read_submission(words: list[str]) -> None:
    """``sbatch``: tests/test_slurm.py runs the script; all its processes can share the recipe's batches."""
    script = REPOSITORY / "accelerate_configs" / "slurm.sh"
    place = words.index("accelerate_configs/slurm.sh")
    asked = dict(re.findall(r"--(nodes|gpus-per-node)=(\d+)", script.read_text(encoding="utf-8")))
    asked |= dict(zip((word.removeprefix("--") for word in words[1:place:2]), words[2:place:2], strict=True))
    config = read_recipe(words[place + 1], words[place + 2 :])
    refuse_unshared(config.trained_together(), int(asked["nodes"]) * int(asked["gpus-per-node"]))


def read_login(words: list[str]) -> None:
    """A person has to type a token."""
    assert words == ["hf", "auth", "login"]


def read_command(words: list[str]) -> None:
    """A command of skindiff: run below, in the order of README; here its name and its size."""
    if words[1] == "COMMAND":
        assert words[2:] == ["--help"]
    elif words[1] != "push":
        assert tiny(words) is not None, f"nobody has said how to run this small: {shlex.join(words)}"
        launch = split_launch_words(words[2:])[0]
        assert _validate_launch_command(launch_command_parser().parse_args([*launch, "x.py"]))


RULES: dict[tuple[str, ...], Callable[[list[str]], None]] = {
    ("python3", "-m", "venv"): read_setup,
    (".",): read_setup,
    ("pip", "install"): read_setup,
    ("accelerate", "launch"): read_launch,
    ("skindiff", "run"): read_run,
    ("skindiff",): read_command,  # and run below
    ("python",): read_python,
    ("sbatch",): read_submission,
    ("hf", "auth"): read_login,
}


def rule_for(words: list[str]) -> Callable[[list[str]], None]:
    """The rule of the longest beginning; a command without one is new, and nobody has thought of its test."""
    known = [start for start in RULES if tuple(words[: len(start)]) == start]
    assert known, f"README has a command that no rule of this file covers: {shlex.join(words)}"
    return RULES[max(known, key=len)]


def tiny(words: list[str]) -> list[str] | None:
    """What a command of skindiff is run with besides what README says; None where nobody has said."""
    starts = [start for start in TINY if tuple(words[1 : 1 + len(start)]) == start]
    return TINY[max(starts, key=len)] if starts else None


@pytest.mark.parametrize("words", readme.all_commands(), ids=shown)
def test_every_command_is_understood_by_what_it_calls(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    rule_for(words)(words)


def test_what_nobody_has_thought_of_fails() -> None:
    text = "Say `skindiff paint DIR`.\n\n```bash\nskindiff report x && docker run it  # now\n```\n"
    (commands,) = [block.commands() for block in readme.blocks(text)]
    assert commands == [["skindiff", "report", "x"], ["docker", "run", "it"]]
    with pytest.raises(AssertionError, match="no rule of this file covers: docker run it"):
        rule_for(commands[1])
    (inline,) = readme.inline_commands(text)
    with pytest.raises(AssertionError):
        rule_for(inline)(inline)
    for wrong in ("recipes/fitz_lora.py --generator.lora.rnak 16", "recipes/gone.py", "--gone recipes/x.py"):
        with pytest.raises((AssertionError, SystemExit, Exception)):
            read_launch(["accelerate", "launch", *shlex.split(wrong)])


def test_every_block_is_of_a_language_that_is_run() -> None:
    assert [block.line for block in readme.blocks() if block.language not in readme.LANGUAGES] == []
    assert len(readme.blocks()) >= 10


@pytest.mark.parametrize("name", sorted(set(readme.inline_settings())))
def test_every_setting_in_a_sentence_exists(name: str) -> None:
    of_commands = {"--config", "--public", "--leave_out_copies", "--override", "--machine_rank"}
    assert name in of_commands or name.removeprefix("--") in setting_types(FitzLoraConfig)


# What README's lines do, in their order ---------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to follow README in, but for photographs of one's own in DIR."""
    for name, hue in (("eczema", 40), ("psoriasis", 90)):
        folder = tmp_path / "DIR" / name
        folder.mkdir(parents=True)
        for number in range(6):
            noise = np.random.default_rng((hue, number)).integers(hue, hue + 120, (64, 64, 3))
            Image.fromarray(noise.astype(np.uint8)).save(folder / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(IN_PROCESS, "1")
    before = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(before)


def visit(app: Any) -> None:
    """Open the demo's page once, and stop it as ctrl-c does."""
    with urllib.request.urlopen(app.local_url, timeout=30) as page:
        assert page.status == 200
    raise KeyboardInterrupt


def follow(words: list[str]) -> None:
    """Run a command of skindiff as README has it, but small."""
    if "--accelerate_config" in words:  # needs GPUs; read above
        return
    settings = tiny(words) or []
    if words[1] in ("train", "evaluate", "sample"):
        settings = [*settings, "--threads", "1"]
        settings += [] if {"--corpus", "--corpus.name"} & set(words) else SMALL
    serves = words[1] == "demo" and "--space" not in words
    assert main([*words[1:], *settings]) == (130 if serves else 0), shlex.join(words)


HUB = """
from skindiff.cli import main

for words in PUSHES:
    assert main(words) == 0, words
exec(compile(open("from_hub.py", encoding="utf-8").read(), "README.md", "exec"))
assert from_scratch(["ring"]).images[0].size == (32, 32)
assert {"source_id", "strength", "seed"} <= set(synthetic.column_names)
assert classifier.num_classes == 2
assert (results / "report.md").is_file()
assert pipeline.get_active_adapters()
run_the_card("me/skin-lora")  # on the bundled pipeline; test_round_trips.py runs the others
"""
PUSHED = ("skin-lora", "skin-ddpm", "skin-synthetic", "skin-resnet18", "skin-results")


@pytest.mark.timeout(1200)
@pytest.mark.slow  # each line is parsed by what it calls above
def test_the_lines_of_readme_run_one_after_another(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = pytest.importorskip("skindiff.demo.app")
    monkeypatch.setattr(app.DemoApp, "block_thread", visit)
    pushes: list[list[str]] = []
    from_hub: list[str] = []
    for block in readme.blocks():
        if block.language == "python" and "OWNER/" in block.text:
            from_hub.append(block.text)
        elif block.language == "python" and "load_corpus" not in block.text:  # test_quick_start.py runs it
            exec(compile(block.text, f"README.md, line {block.line}", "exec"), {})
        for words in block.commands() if block.language == "bash" else ():
            if words[:2] == ["skindiff", "push"]:
                pushes.append([word.replace("OWNER/", "me/") for word in words[1:]])
            elif words[0] == "skindiff" and words[1] != "run":
                follow(words)
    assert (place / "runs" / "sample" / "grid.png").is_file()
    assert (place / "space" / "app.py").is_file()
    assert sorted(words[2] for words in pushes) == sorted(f"me/{name}" for name in PUSHED)

    (text,) = from_hub
    (place / "from_hub.py").write_text(text.replace("OWNER/", "me/"), encoding="utf-8")
    with Hub(place / "hub", {TOKEN: "me"}).running() as hub:
        Client(hub, place).succeed(f"PUSHES = {pushes!r}\n{CARDS}{HUB}")


def test_readme_has_the_two_commands() -> None:
    first, second = re.findall(r"^python3 -m venv .*$", readme.TEXT, re.MULTILINE)
    assert first.endswith("&& accelerate launch recipes/fitz_lora.py")
    assert second.endswith("&& python -m pytest")
    smoke = parse_config(FitzLoraConfig, [], default=REPOSITORY / "recipes" / "fitz_lora" / "smoke.yaml")
    assert f"`{smoke.output_dir}/report.md`" in readme.TEXT


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_first_command_ends_in_its_report(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)
    environment = os.environ | {"PYTHONPATH": str(clone), "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "accelerate.commands.launch", "recipes/fitz_lora.py"]
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "report: runs/fitz_lora_smoke/report.md\n" in done.stdout
    assert "## What was found" in (clone / "runs" / "fitz_lora_smoke" / "report.md").read_text()


# What README says of files ---------------------------------------------------------------------------------


def test_the_files_that_readme_names_exist() -> None:
    code = [
        *re.findall(r"`([^`\n]+)`", readme.TEXT),
        *re.findall(r"\]\(([^)]+)\)", readme.TEXT),
        *(block.text for block in readme.blocks() if block.language == "bash"),
    ]
    words = {word.strip(",;") for text in code for word in text.split()}
    homes = [REPOSITORY, REPOSITORY / "recipes" / "fitz_lora"]
    named = {word for word in words if re.fullmatch(r"[\w./-]+\.(py|yaml|sh|png)|[\w-]+(/[\w-]+)+/?", word)}
    made = ("runs/", ".venv/", "OWNER/", "space/")
    named = {
        word for word in named if not word.startswith(made) and word not in ("config.yaml", "corpus.yaml")
    }
    assert len(named) > 10
    assert [word for word in sorted(named) if not any((home / word).exists() for home in homes)] == []


def test_readme_tells_of_every_config_and_recipe() -> None:
    configs = [*FITZ_LORA, *(REPOSITORY / "accelerate_configs").glob("multi_*.yaml")]
    told = [path.name for path in configs if path.name != "multi_cpu.yaml"]
    told += [f"skindiff run {path.stem} " for path in RECIPES]
    assert [name for name in told if name not in readme.TEXT] == []


@pytest.mark.parametrize("path", FITZ_LORA, ids=lambda path: path.stem)
def test_every_config_of_a_recipe_parses(path: Path) -> None:
    arguments = ["--config", str(path), *SETTINGS_OF_THE_USER.get(path.name, [])]
    config = parse_config(FitzLoraConfig, arguments, default=path)
    assert config.output_dir == f"runs/fitz_lora_{path.stem}"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_short_and_has_its_configs_beside_it(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 150
    assert (path.with_suffix("") / "smoke.yaml").is_file()


def test_readme_is_short() -> None:
    assert len(readme.TEXT.splitlines()) <= 225
