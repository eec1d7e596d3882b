"""A ladder names the strategies of a study as its report does, those of further generators too."""

import pytest

from recipes.fitz_lora import FitzLoraConfig
from skindiff.config import parse_config
from skindiff.errors import ConfigError
from tests.conftest import REPOSITORY


def parsed(strategy: str) -> FitzLoraConfig:
    """The settings of a study of two generators and a ladder of one strategy."""
    path = REPOSITORY / "recipes" / "fitz_lora" / "smoke.yaml"
    words = ["--further_generators", "{rank4: {lora: {rank: 4}}}"]
    words += ["--ladder", f"{{strategies: ['{strategy}'], classifier: {{epochs: 2}}}}"]
    return parse_config(FitzLoraConfig, words, default=path)


@pytest.mark.parametrize("strategy", ["img2img ti+lora", "img2img ti+lora by rank4"])
def test_a_ladder_may_name_either_generator(strategy: str) -> None:
    ladder = parsed(strategy).ladder
    assert ladder is not None
    assert ladder.strategies == [strategy]


@pytest.mark.parametrize("strategy", ["img2img ti+lora by rank8", "img2img ti", "rank4"])
def test_a_ladder_of_another_is_refused_with_those_there_are(strategy: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"'{strategy.replace('+', '.')}' is not among .*, img2img ti.lora by rank4;"
    ):
        parsed(strategy)
