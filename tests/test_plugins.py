"""Plugins: from the command line and from installed packages, in every process, and never from a file."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skindiff.config import parse_config
from skindiff.corpora.registry import CorpusConfig
from skindiff.errors import ConfigError, RunFolderError
from skindiff.plugins import PLUGINS_FILE
from tests.conftest import REPOSITORY
from tests.toy_corpus_plugin import write_toy_plugin

STUDY = """
import sys
from dataclasses import dataclass, field
from pathlib import Path

from skindiff.config import parse_config
from skindiff.corpora.registry import CorpusConfig, prepare_corpus
from skindiff.errors import SkindiffError
from skindiff.launch import start_accelerator
from skindiff.runs import RunFolder

@dataclass
class Study:
    output_dir: str = "run"
    resume: bool = False
    overwrite: bool = False
    corpus: CorpusConfig = field(default_factory=CorpusConfig)

    def validate(self, path: str = "") -> None:
        self.corpus.validate("corpus.")

try:
    config = parse_config(Study, default=Path(__file__).with_suffix(".yaml"))
    accelerator = start_accelerator(1)
    run = RunFolder(
        config.output_dir, config, accelerator, resume=config.resume, overwrite=config.overwrite
    )
    with accelerator.main_process_first():
        corpus = prepare_corpus(config.corpus, run.path)
except SkindiffError as error:
    sys.exit(f"error: {error}")
rank = accelerator.process_index
(run.path / f"seen-{rank}.txt").write_text(f"{accelerator.num_processes} {len(corpus.dataset)}")
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a plugin, its images, and a study that knows nothing of it."""
    write_toy_plugin(tmp_path / "plugins")
    images = tmp_path / "squares"
    images.mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 40, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
    rows = [f"{number}.png,{('red', 'blue')[number % 2]}" for number in range(4)]
    (images / "squares.csv").write_text("\n".join(["file,colour", *rows, ""]))
    (tmp_path / "study.py").write_text(STUDY)
    (tmp_path / "study.yaml").write_text("corpus: {image_size: 16, audit: false}\n")
    return tmp_path


def python(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=home,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(home / "plugins")])},
        capture_output=True,
        text=True,
        timeout=300,
    )


SQUARES = ("--corpus.name", "squares", "--corpus.squares.data_dir", "squares")
PLUGIN = ("--plugin", "toy_squares")


@dataclass
class Study:
    """The settings of STUDY, in a process that lacks its plugin."""

    output_dir: str = "run"
    resume: bool = False
    corpus: CorpusConfig = field(default_factory=CorpusConfig)

    def validate(self, path: str = "") -> None: ...


@pytest.mark.slow
def test_a_run_names_its_plugin_and_goes_on_with_it_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = ("-m", "accelerate.commands.launch", "--config_file")
    two = str(REPOSITORY / "accelerate_configs" / "multi_cpu.yaml")
    done = python(home, *launch, two, "study.py", *SQUARES, *PLUGIN)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [(home / "run" / f"seen-{rank}.txt").read_text() for rank in (0, 1)] == ["2 4", "2 4"]
    assert json.loads((home / "run" / PLUGINS_FILE).read_text()) == ["toy_squares"]
    assert "toy_squares" not in (home / "run" / "config.yaml").read_text()
    for words in (["--resume", *SQUARES], ["--resume"], ["--resume", "--config", "run/config.yaml"]):
        monkeypatch.chdir(home)
        with pytest.raises(
            RunFolderError, match=r"the run in run used the plugin 'toy_squares', .* add --plugin"
        ):
            parse_config(Study, words, default=home / "study.yaml")
    again = python(home, "study.py", "--config", "run/config.yaml", "--resume", *PLUGIN)
    assert again.returncode == 0, again.stderr[-3000:]


@pytest.mark.slow
def test_an_installed_plugin_is_there_without_a_word_and_noted_where_it_is_used(home: Path) -> None:
    package = home / "plugins" / "toy-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[skindiff.plugins]\ntoy = toy_squares\n")
    done = python(home, "study.py", *SQUARES)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((home / "run" / PLUGINS_FILE).read_text()) == ["toy_squares"]
    words = ["--output_dir", "other", "--corpus.phantom.images_per_class", "{I: 1}"]
    assert python(home, "study.py", *words).returncode == 0
    assert not (home / "other" / PLUGINS_FILE).exists()


@pytest.mark.slow
def test_a_command_takes_a_plugin_and_passes_it_to_its_processes(home: Path) -> None:
    done = python(home, "-m", "skindiff.cli", "audit", "squares", "--data_dir", "squares", *PLUGIN)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "4 images: 4 ok" in done.stdout
    without = python(home, "-m", "skindiff.cli", "audit", "squares", "--data_dir", "squares")
    assert without.returncode == 2
    assert "corpus: 'squares' is no corpus; choose from phantom" in without.stderr


@pytest.mark.slow
def test_training_in_two_processes_has_the_plugin_in_both(home: Path) -> None:
    words = ["--output_dir", "run", "--accelerate_config", "multi_cpu", "--num_processes", "2"]
    small = ["--corpus.image_size", "16", "--corpus.audit", "false", "--split.protocol", "everything"]
    small += ["--fc_gan.loop.steps", "2", "--fc_gan.image_size", "16"]
    done = python(home, "-m", "skindiff.cli", "train", "fc-gan", *words, *small, *SQUARES, *PLUGIN)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((home / "run" / PLUGINS_FILE).read_text()) == ["toy_squares"]


def test_no_file_names_a_plugin_to_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')\n")
    file = tmp_path / "run" / "config.yaml"
    file.parent.mkdir()
    for key in ("plugin: evil", "plugin: [evil]", "phantom: {plugin: evil}", "--plugin: evil"):
        file.write_text(f"{key}\n")
        with pytest.raises(ConfigError, match="plugin"):
            parse_config(CorpusConfig, [], default=file)
    file.write_text("plugin: evil\n")
    with pytest.raises(ConfigError, match="plugin: a settings file imports no code; type --plugin MODULE"):
        parse_config(CorpusConfig, [], default=file)
    file.write_text("name: phantom\n")
    (file.parent / PLUGINS_FILE).write_text('["evil"]')
    with pytest.raises(RunFolderError, match="'evil', which is not loaded"):
        parse_config(CorpusConfig, [], default=file)
    assert "evil" not in sys.modules


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--plugin"], "plugin: --plugin has no value"),
        (["--plugin", "--resume"], "plugin: --plugin has no value"),
        (["--plugin=absent_plugin"], "module 'absent_plugin' cannot be imported"),
    ],
)
def test_a_plugin_that_is_not_there_is_one_line(words: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("{}\n")
    with pytest.raises(ConfigError, match=message):
        parse_config(CorpusConfig, words, default=tmp_path / "c.yaml")
