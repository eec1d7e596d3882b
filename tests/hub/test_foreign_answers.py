"""Answers of the Hub, and of the network before it, that nobody expects."""

from pathlib import Path
from typing import Any

import pytest

from skindiff.errors import ConfigError, GeneratorError, SkindiffError
from skindiff.generators.resolve import find_generator
from skindiff.hub.timm_format import read_classifier
from tests.hub_http import httpx


@pytest.mark.parametrize(
    "error",
    [httpx.ConnectError("refused"), RuntimeError("x\n" * 500), KeyError("x"), OSError(28, "no space")],
)
def test_an_error_of_the_network_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*args: Any, **options: Any) -> str:
        raise error

    monkeypatch.setattr("skindiff.generators.resolve.hf_hub_download", lambda *args, **options: "")
    monkeypatch.setattr("skindiff.generators.resolve.snapshot_download", fail)
    with pytest.raises(GeneratorError, match="cannot be found") as found:
        find_generator("owner/name")
    assert "\n" not in str(found.value)


def test_a_classifier_whose_files_are_loops_of_links_is_one_line(tmp_path: Path) -> None:
    for name in ("model.safetensors", "classifier.json"):
        (tmp_path / name).symlink_to(name)
    with pytest.raises(ConfigError):
        read_classifier(tmp_path)
    with pytest.raises(SkindiffError):
        find_generator("owner/" + "x" * 5000)
