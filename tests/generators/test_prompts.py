import pytest

from skindiff.corpora.attribute import TONE_WORDS
from skindiff.corpora.schema import SKIN_TYPES
from skindiff.errors import GeneratorError
from skindiff.generators.prompts import prompt_for


def test_every_skin_type_has_its_own_words() -> None:
    assert tuple(TONE_WORDS) == SKIN_TYPES
    assert len(set(TONE_WORDS.values())) == len(SKIN_TYPES)


@pytest.mark.parametrize(
    ("skin_type", "prompt"),
    [
        ("I", "An image of psoriasis on the skin of a very light-skinned individual"),
        ("V", "An image of psoriasis on the skin of a dark-skinned individual"),
        (None, "An image of psoriasis"),
    ],
)
def test_the_papers_template(skin_type: str | None, prompt: str) -> None:
    assert prompt_for("psoriasis", skin_type) == prompt


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(GeneratorError, match="'VII'"):
        prompt_for("psoriasis", "VII")
