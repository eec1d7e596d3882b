from dataclasses import dataclass, field
from pathlib import Path

import pytest

from skindiff.config import parse_config, save_config, settings_file, with_changes
from skindiff.errors import ConfigError


@dataclass
class Inner:
    rank: int = 8
    """Rank."""

    def validate(self, path: str = "") -> None:
        if self.rank < 1:
            raise ConfigError(f"{path}rank: {self.rank} is below 1; give 1 or more")


@dataclass
class Outer:
    name: str = "phantom"
    """Name."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """Seeds."""
    lora: Inner = field(default_factory=Inner)
    """Inner settings."""
    recorded: str = "take"
    """What is done with cells that are kept."""

    def validate(self, path: str = "") -> None:
        self.lora.validate(f"{path}lora.")


@pytest.fixture
def default(tmp_path: Path) -> Path:
    path = tmp_path / "default.yaml"
    path.write_text("lora: {rank: 4}\nseeds: [1, 2]\n")
    return path


def test_the_command_line_overrides_yaml_overrides_the_class(default: Path) -> None:
    assert parse_config(Outer, [], default=default) == Outer(seeds=[1, 2], lora=Inner(4))
    assert parse_config(Outer, ["--lora.rank", "16"], default=default).lora.rank == 16
    other = default.with_name("other.yaml")
    other.write_text("name: other\n")
    assert parse_config(Outer, ["--config", str(other)], default=default) == Outer(name="other")


def test_a_config_knows_which_file_of_its_program_it_is_of(default: Path, tmp_path: Path) -> None:
    def read(*words: str) -> dict[str, object] | None:
        return settings_file(parse_config(Outer, list(words), default=default))

    other, own = default.with_name("paper.yaml"), tmp_path / "elsewhere" / "patient Smith.yaml"
    own.parent.mkdir()
    for file in (other, own):
        file.write_text("name: other\n")
    assert read() == {"name": "default", "changed": False}
    assert read("--config", str(other)) == {"name": "paper", "changed": False}
    assert read("--lora.rank", "16") == {"name": "default", "changed": True}
    assert read("--recorded", "only") == {"name": "default", "changed": False}  # kept cells of it
    assert read("--config", str(own)) is None  # what a user calls a file is not told
    assert settings_file(Outer()) is None


def test_a_leading_tilde_is_the_home_in_every_setting_and_variables_stay(
    default: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_TOKEN", "secret")
    other = tmp_path / "other.yaml"
    other.write_text("name: ~/images\n")
    assert parse_config(Outer, ["--config", "~/other.yaml"], default=default).name == f"{tmp_path}/images"
    assert parse_config(Outer, ["--config=~/other.yaml"], default=default).name == f"{tmp_path}/images"
    assert parse_config(Outer, ["--name=~/runs"], default=default).name == f"{tmp_path}/runs"
    assert parse_config(Outer, ["--name", "~"], default=default).name == str(tmp_path)
    assert with_changes(Outer(), {"name": "~/runs"}).name == f"{tmp_path}/runs"
    for text in ("$HOME/runs", "${HF_TOKEN}", "a~/b", "~other/b"):
        assert parse_config(Outer, ["--name", text], default=default).name == text


def test_what_was_saved_reads_back_equal(default: Path, tmp_path: Path) -> None:
    config = Outer(name="x", seeds=[3], lora=Inner(2))
    save_config(config, tmp_path / "saved.yaml")
    assert parse_config(Outer, ["--config", str(tmp_path / "saved.yaml")], default=default) == config


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--lora.rnk", "3"], ("lora.rnk", "lora.rank")),
        (["--lora.rank", "many"], ("lora.rank", "many")),
        (["--lora.rank", "0"], ("lora.rank", "0", "1 or more")),
        (["--config", "absent.yaml"], ("absent.yaml",)),
    ],
)
def test_errors_are_one_line_and_name_the_setting(
    arguments: list[str], words: tuple[str, ...], default: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(Outer, arguments, default=default)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_a_misspelt_key_in_yaml_names_the_nearest(default: Path) -> None:
    default.write_text("lora: {rnak: 4}\n")
    with pytest.raises(ConfigError, match=r"rnak.*lora\.rank"):
        parse_config(Outer, [], default=default)


@pytest.mark.parametrize("text", ["lroa: {}\n", "lora: {rnak: {}}\n"])
def test_a_misspelt_key_that_holds_nothing_is_named_too(text: str, default: Path) -> None:
    default.write_text(text)
    with pytest.raises(ConfigError, match=r"(lroa|lora\.rnak): there is no such setting; did you mean 'lora"):
        parse_config(Outer, [], default=default)
