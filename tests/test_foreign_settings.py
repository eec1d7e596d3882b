"""Settings files that a stranger made, and settings that cannot be meant."""

import json
import os
import sys
import time
from pathlib import Path

import pytest

from skindiff.commands.evaluate import EvaluateCommand
from skindiff.commands.train_adapter import TrainLoRA
from skindiff.config import parse_config, with_changes
from skindiff.errors import ConfigError
from tests.test_foreign import SECRET, YAML

MAPPING = "a: 1\n"


@pytest.fixture
def default(tmp_path: Path) -> Path:
    (tmp_path / "default.yaml").write_text("threads: 1\n")
    return tmp_path / "default.yaml"


def _refused(default: Path, *words: str) -> str:
    began = time.perf_counter()
    with pytest.raises(ConfigError) as error:
        parse_config(TrainLoRA, words, default=default)
    assert time.perf_counter() - began < 8
    said = str(error.value)
    assert SECRET not in said
    assert "\n" not in said
    assert len(said) < 600
    return said


OF_A_PART = ("deep lists", "itself in a mapping", "a billion laughs", "a tag", "large")


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("flag", "name"),
    [*(("--config", name) for name in YAML), *(("--corpus", name) for name in OF_A_PART)],
)
def test_a_strange_settings_file_is_refused(default: Path, tmp_path: Path, flag: str, name: str) -> None:
    (tmp_path / "theirs.yaml").write_text(YAML[name])
    assert "cannot be read as settings" in _refused(default, flag, str(tmp_path / "theirs.yaml"))


@pytest.mark.parametrize(
    "content", [f"root:{SECRET}:0:0\nx:{SECRET}", f"machine x login y password {SECRET}", "- a"]
)
@pytest.mark.parametrize(
    "setting", ["", "config", "corpus", "corpus.phantom", "lora.loop", "split", "trackers"]
)
def test_no_content_of_another_file_is_in_the_error(
    default: Path, tmp_path: Path, content: str, setting: str
) -> None:
    secret = tmp_path / "passwd"
    secret.write_text(content)
    if not setting:
        _refused(default, "--config", str(secret))
        return
    nested = "".join(f"{'  ' * level}{name}:\n" for level, name in enumerate(setting.split(".")))
    (tmp_path / "theirs.yaml").write_text(f"{nested.rstrip()} {secret}\n")
    _refused(default, "--config", str(tmp_path / "theirs.yaml"))
    _refused(default, f"--{setting}", str(secret))


def test_a_settings_file_names_no_other(default: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus.yaml").write_text("name: phantom\n")
    parse_config(TrainLoRA, ["--corpus", str(tmp_path / "corpus.yaml")], default=default)
    (tmp_path / "theirs.yaml").write_text(f"corpus: {tmp_path / 'corpus.yaml'}\n")
    assert "names no other file" in _refused(default, "--config", str(tmp_path / "theirs.yaml"))
    (tmp_path / "corpus.yaml").write_text(f"phantom: {tmp_path / 'theirs.yaml'}\n")
    assert "names no other file" in _refused(default, "--corpus", str(tmp_path / "corpus.yaml"))


@pytest.mark.parametrize(
    ("theirs", "says"),
    [
        ({"external": {"clinic": {"corpus": "FILE"}}}, r"external\.clinic\.corpus: a settings file names no"),
        ({"external": {"clinic": {"corpus": {"phantom": "FILE"}}}}, r"clinic\.corpus\.phantom: a settings"),
        ({"external": {"clinic": "FILE"}}, r"external\.clinic: it holds settings by name"),
        ({"external": {"clinic": "strangers_module.Class"}}, r"external\.clinic: it holds settings by name"),
        ({"external": {"clinic": {"class_path": "strangers_module.Class"}}}, "imports no code"),
        ({"external": {"clinic": {"corpus": {"class_path": "strangers_module.Class"}}}}, "imports no code"),
        ({"primary": {"class_path": "strangers_module.Class", "init_args": {}}}, "imports no code"),
    ],
)
def test_a_part_by_a_name_of_the_users_names_no_file_and_no_class(
    theirs: dict[str, object], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "strangers_module.py").write_text("raise SystemError('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "other.yaml").write_text("name: phantom\n")
    (tmp_path / "default.yaml").write_text("{}\n")
    text = json.dumps({"experiment": {"arms": ["real"], **theirs}})
    (tmp_path / "theirs.yaml").write_text(text.replace("FILE", str(tmp_path / "other.yaml")))
    with pytest.raises(ConfigError, match=says):
        parse_config(
            EvaluateCommand, ["--config", str(tmp_path / "theirs.yaml")], default=tmp_path / "default.yaml"
        )
    assert "strangers_module" not in sys.modules


def test_numbers_in_a_part_by_a_name_of_the_users_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "default.yaml").write_text("experiment: {arms: [real]}\n")
    word = json.dumps({"clinic": {"corpus": {"image_size": 10**9}, "classes": {"a": "b"}}})
    with pytest.raises(ConfigError, match=r"external\.clinic\.corpus\.image_size: 1e\+09 is beyond"):
        parse_config(EvaluateCommand, ["--experiment.external", word], default=tmp_path / "default.yaml")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lora.rank", "100000000000"),
        ("lora.rank", "100000"),
        ("lora.loop.steps", "1000000000000"),
        ("lora.image_size", "1000000"),
        ("corpus.image_size", "1000000"),
        ("corpus.phantom.images_per_class", '{"I": -3}'),
        ("corpus.phantom.images_per_class", '{"I": 10000000000}'),
        ("threads", "1000000000"),
        ("lora.loop.seed", str(2**80)),
        ("model", "a\0b"),
        ("output_dir", "x" * 5000),
        ("output_dir", "x" * 5_000_000),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(default: Path, name: str, value: str) -> None:
    said = _refused(default, f"--{name}", value)
    assert name in said or "NUL" in said


@pytest.mark.parametrize("setting", ["lora.rank", "lora.loop.steps", "corpus.image_size", "model"])
def test_null_is_refused_where_a_value_is_needed(default: Path, tmp_path: Path, setting: str) -> None:
    nested = "".join(f"{'  ' * level}{name}:\n" for level, name in enumerate(setting.split(".")))
    (tmp_path / "theirs.yaml").write_text(f"{nested.rstrip()} null\n")
    assert setting in _refused(default, "--config", str(tmp_path / "theirs.yaml"))
    (tmp_path / "theirs.yaml").write_text("threads: null\n")
    parse_config(TrainLoRA, ["--config", str(tmp_path / "theirs.yaml")], default=default)


def test_the_same_holds_for_changes_in_python(default: Path) -> None:
    config = parse_config(TrainLoRA, [], default=default)
    for changes in ({"lora": {"rank": 10**11}}, {"output_dir": "a\0b"}):
        with pytest.raises(ConfigError):
            with_changes(config, changes)


def test_no_pipe_device_or_folder_is_read_as_settings(default: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path("/dev/zero"), tmp_path, tmp_path / "absent"):
        _refused(default, "--config", str(place))
        if place.exists():
            _refused(default, "--corpus", str(place))
