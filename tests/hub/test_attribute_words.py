"""What cards say of what is scarce: by the attribute of the corpus, and no more than is known."""

from datasets import Dataset, Value

from skindiff.corpora.attribute import SKIN_TYPE, Attribute
from skindiff.hub.cards import coverage_text
from skindiff.hub.licences import corpus_terms
from skindiff.hub.origin import Facts
from skindiff.hub.push import _value_limit as generator_limit
from skindiff.hub.synthetic import _counts, _refuse_unknown_columns, _value_limit
from skindiff.synthesis.class_plan import ClassSynthesisConfig, make_class_plan
from tests.tiny_generators import tiny_corpus_of_classes

SEX = Attribute("sex", majority=["male"], minority=["female"])


def drawn(attribute: Attribute, redraws: bool) -> Dataset:
    sexes = ["male", "female", "male", "female", "male", "male"]
    sources = tiny_corpus_of_classes(6).add_column("sex", sexes, feature=Value("string"))
    return make_class_plan(
        sources, ClassSynthesisConfig(budget="real"), seed=1, family="joint_vae" if redraws else "ddpm",
        generator="it@0", redraws=redraws, threads=1, attribute=attribute,
    )  # fmt: skip


def facts(**groups: int) -> Facts:
    return Facts(("phantom",), (corpus_terms("phantom"),), "apache-2.0", {}, (), None, groups)


def test_images_by_class_alone_are_of_unknown_values() -> None:
    for attribute, name in ((SKIN_TYPE, "skin type"), (SEX, "sex")):
        rows = drawn(attribute, redraws=False)
        _refuse_unknown_columns(rows)
        assert (
            _value_limit(rows) == f"The generator knows classes alone: the {name} of its images is not known."
        )
        assert f"{name} (not known)" in _counts(rows, ["one", "two"])
        assert "asked for" not in _counts(rows, ["one", "two"])


def test_reconstructions_are_of_the_values_of_their_images() -> None:
    rows = drawn(SEX, redraws=True)
    _refuse_unknown_columns(rows)
    assert _value_limit(rows) == (
        "The sex of a row is that of the real image it reconstructs; nothing measured it."
    )
    counts = _counts(rows, ["one", "two"])
    assert "the sex of its real image" in counts
    assert "| class | female | male |" in counts


def test_training_images_are_counted_by_the_attribute() -> None:
    told = coverage_text(facts(female=3, male=9), SEX)
    assert "Training images by sex:" in told
    assert told.index("male | 9") < told.index("female | 3")
    assert "Training images by Fitzpatrick skin type:" in coverage_text(facts(I=3))
    assert "How many images of each sex" in coverage_text(facts(), SEX)


def test_the_limits_of_a_generator_name_what_its_prompts_name() -> None:
    assert generator_limit(None, facts()).endswith("the skin type of its images is not known.")
    assert generator_limit(SKIN_TYPE, facts()).endswith("matched approximately; measure it.")
    assert generator_limit(SEX, facts()).startswith("The sex that a prompt asks for")
