import pytest

from skindiff.corpora.attribute import TONE_WORDS, Attribute
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


def test_another_attribute_has_its_own_phrase() -> None:
    sex = Attribute("sex", None, ["male"], ["female"], {"female": "on the skin of a woman"})
    assert prompt_for("eczema", "female", sex) == "An image of eczema on the skin of a woman"
    assert prompt_for("eczema", "male", sex) == "An image of eczema, sex male"
    assert prompt_for("eczema", None, sex) == "An image of eczema"
    with pytest.raises(
        GeneratorError, match="age 'V' has no prompt words: use one of 0 to under 60, 60 and over"
    ):
        prompt_for("eczema", "V", Attribute("age", None, [], ["60 and over"], bands={"age": [0, 60]}))
