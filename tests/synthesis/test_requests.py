"""What is generated where nobody says which classes."""

from types import SimpleNamespace
from typing import Any

import pytest

from skindiff.errors import ConfigError
from skindiff.synthesis.requests import classes_to_draw


def generator(model: str) -> Any:
    return SimpleNamespace(
        class_names=None, adapter=None, name=model, place=SimpleNamespace(model=model), pipeline=None
    )


def test_the_bundled_pipeline_shows_conditions_that_it_knows() -> None:
    classes = classes_to_draw(generator("bundled"), None)
    assert {"red patch", "brown spots"} <= set(classes)
    assert classes_to_draw(generator("bundled"), ["red lines"]) == ["red lines"]


def test_another_has_to_be_told() -> None:
    with pytest.raises(ConfigError, match="such as 'red patch'"):
        classes_to_draw(generator("owner/model"), None)
