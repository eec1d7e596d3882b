"""What is scarce: its settings, its values, and the columns that a corpus has for it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import skindiff
from skindiff.corpora.attribute import SKIN_TYPE, TONE_WORDS, Attribute, recorded_attribute, with_attributes
from skindiff.corpora.ham10000 import Ham10000Config
from skindiff.corpora.registry import CorpusConfig, prepare_corpus
from skindiff.corpora.schema import SKIN_TYPES
from skindiff.corpora.splits import SplitConfig, make_split
from skindiff.corpora.table import ImageRow, LoadedCorpus, assemble
from skindiff.errors import ConfigError, CorpusError, SplitError
from skindiff.foreign import Malformed

SEX = Attribute("sex", majority=["male"], minority=["female"])


def a_corpus(folder: Path, cells: Sequence[Mapping[str, str | None]]) -> LoadedCorpus:
    """A corpus of one class with these further columns."""
    Image.new("RGB", (16, 16)).save(folder / "one.png")
    rows = [
        ImageRow(folder / "one.png", "eczema", None, f"image-{number}", None, own)
        for number, own in enumerate(cells)
    ]
    return assemble(rows, ["eczema", "acne"], "clinic")


def test_the_default_is_that_of_skin_types() -> None:
    SKIN_TYPE.validate()
    assert (SKIN_TYPE.of_majority, SKIN_TYPE.of_minority) == (["I", "II"], ["V", "VI"])
    assert (SKIN_TYPE.majority_group, SKIN_TYPE.minority_group) == ("light", "dark")
    assert SKIN_TYPE.known == list(SKIN_TYPES) == list(TONE_WORDS)
    assert (SKIN_TYPE.columns, SKIN_TYPE.record()) == ([], {})
    assert SKIN_TYPE.clause("V") == " on the skin of a dark-skinned individual"


@pytest.mark.parametrize(("settings", "message"), [
    ({"column": "label"}, "attribute.column: 'label' is no attribute"),
    ({"column": "source_sex"}, "attribute.column: 'source_sex' is no attribute"),
    ({"column": "sex"}, "attribute.majority: not given; say which values of sex"),
    ({"column": "sex", "majority": ["male"]}, "attribute.minority: not given"),
    ({"column": "sex", "majority": ["male"], "minority": ["male"]}, "minority: male is also in majority"),
    ({"column": "sex", "majority": [], "minority": ["male"]}, "majority: .* at least one value"),
    ({"column": "sex", "majority": ["m"], "minority": ["f"], "values": ["f"]}, "majority: 'm' is none of"),
    ({"column": "sex", "majority": ["m"], "minority": ["f"], "phrases": {"x": "y"}}, "phrases: 'x' is none"),
    ({"column": "sex", "majority": ["m"], "minority": ["f"], "phrases": {"f": "a\nb"}}, "phrases: that of f"),
    ({"minority": ["VII"]}, "attribute.minority: 'VII' is none of the skin types I, II"),
    ({"minority": ["II"]}, "attribute.minority: II is also in majority"),
    ({"values": ["I", "II"]}, "attribute.values: those of skin_type are I to VI"),
    ({"further": ["sex", "sex"]}, "attribute.further: .* names a column twice"),
    ({"bands": {"age": [0, 30]}}, "attribute.bands: 'age' is no column of numbers"),
    ({"further": ["age"], "bands": {"age": [30, 0]}}, "attribute.bands: .* not edges in rising order"),
    ({"further": ["age"], "bands": {"age": [30]}}, "attribute.bands: .* not edges in rising order"),
    ({"column": "age", "bands": {"age": [0, 60]}, "majority": ["old"], "minority": ["60 and over"]},
     "majority: 'old' is none of the values of age 0 to under 60, 60 and over"),
])  # fmt: skip
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Attribute(**settings).validate("attribute.")


def test_phrases_follow_the_condition() -> None:
    told = Attribute("sex", None, ["male"], ["female"], {"female": "on the skin of a woman"})
    assert told.clause("female") == " on the skin of a woman"
    assert told.clause("male") == ", sex male"
    assert Attribute("body_site", None, ["a"], ["b"]).clause("b") == ", body site b"


def test_numbers_come_into_bands_and_blanks_are_not_recorded(tmp_path: Path) -> None:
    age = Attribute("age", None, ["0 to under 30"], ["60 and over"], bands={"age": [0, 30, 60]})
    age.validate()
    cells = ["0", "29.9", "30", "60", "85.0", "-1", "", None, "nan", "unknown"]
    loaded = with_attributes(a_corpus(tmp_path, [{"age": cell} for cell in cells]), age, "clinic")
    young, middle, old = age.known
    assert list(loaded.dataset["age"]) == [young, young, middle, old, old, *[None] * 5]
    assert "age is not recorded of 5 of 10 images" in loaded.warnings
    with pytest.raises(CorpusError, match="bands: a cell of age is no number"):
        with_attributes(a_corpus(tmp_path, [{"age": "about 30"}]), age, "clinic")


def test_a_corpus_must_hold_what_the_settings_name(tmp_path: Path) -> None:
    corpus = a_corpus(tmp_path, [{"sex": sex} for sex in ("male", "male", "f", None)])
    with pytest.raises(
        CorpusError, match=r"minority: no image of clinic has the sex female; sex holds male \(2\)"
    ):
        with_attributes(corpus, SEX, "clinic")
    with pytest.raises(CorpusError, match=r"attribute.column: clinic records no 'site'"):
        with_attributes(corpus, Attribute("site", None, ["a"], ["b"]), "clinic")
    names = a_corpus(tmp_path, [{"sex": f"person {number}"} for number in range(60)])
    with pytest.raises(CorpusError, match="sex has 60 values, and groups of patients are at most 50"):
        with_attributes(names, SEX, "clinic")


def test_values_that_are_not_listed_are_not_recorded(tmp_path: Path) -> None:
    corpus = a_corpus(tmp_path, [{"sex": sex} for sex in ("male", "female", "x")])
    listed = Attribute("sex", ["female", "male"], ["male"], ["female"])
    loaded = with_attributes(corpus, listed, "clinic")
    assert list(loaded.dataset["sex"]) == ["male", "female", None]
    assert any(
        "1 images have a sex that corpus.attribute.values does not list" in one for one in loaded.warnings
    )
    assert list(with_attributes(corpus, SEX, "clinic").dataset["sex"]) == ["male", "female", "x"]


def test_a_corpus_of_skin_types_is_left_as_it_is(tmp_path: Path) -> None:
    corpus = a_corpus(tmp_path, [{}, {}])
    assert with_attributes(corpus, SKIN_TYPE, "clinic").dataset is corpus.dataset


def test_a_record_is_read_back_and_a_strange_one_refused() -> None:
    told = Attribute("age", None, ["0 to under 60"], ["60 and over"], {}, ["site"], {"age": [0, 60]})
    assert recorded_attribute(told.record()["attribute"]) == told
    assert recorded_attribute(None) is SKIN_TYPE
    for strange in ({"column": 3}, {"minority": "V"}, {"column": "sex"}, ["sex"], {"bands": {"age": ["x"]}}):
        with pytest.raises(Malformed):
            recorded_attribute(strange)


def columns(count: int) -> dict[str, list[Any]]:
    """Images of two classes, half of men, each of a patient."""
    return {
        "label": [number % 2 for number in range(count)],
        "sex": [("male", "female")[number // 2 % 2] for number in range(count)],
        "image_id": [f"image-{number}" for number in range(count)],
        "group_id": [f"patient-{number}" for number in range(count)],
    }


def test_scenarios_follow_it() -> None:
    table = columns(64)
    for scenario, trained in (("i", {"male", "female"}), ("ii", {"male", "female"}), ("iii", {"male"})):
        config = SplitConfig(scenario=scenario, flexible_per_condition=4)  # type: ignore[arg-type]
        split = make_split(table, config, 0, SEX)
        assert {table["sex"][row] for row in split.train} == trained
        assert {table["sex"][row] for row in split.test["minority"]} == {"female"}
        assert set(split.test) == ({"minority", "majority"} if scenario == "i" else {"minority"})
    table["sex"][0] = None
    assert make_split(table, SplitConfig(flexible_per_condition=4), 0, SEX).dropped["other_sex"] == 1
    with pytest.raises(SplitError, match=r"groups of images of minority sex \(female\), but 40 are needed"):
        make_split(table, SplitConfig(flexible_per_condition=40), 0, SEX)


def test_the_same_rows_are_drawn_whatever_the_sides_are_called() -> None:
    table = columns(64)
    table["skin_type"] = [{"male": "I", "female": "V"}[sex] for sex in table["sex"]]
    for scenario in ("i", "ii", "iii"):
        config = SplitConfig(scenario=scenario, flexible_per_condition=4)  # type: ignore[arg-type]
        of_skin, of_sex = make_split(table, config, 1), make_split(table, config, 1, SEX)
        assert (of_skin.train, of_skin.validation) == (of_sex.train, of_sex.validation)
        assert list(of_skin.test.values()) == list(of_sex.test.values())


def test_a_real_csv_has_the_columns(real_data: Path, tmp_path: Path) -> None:
    """Sex and age of HAM10000: what its own table calls unknown is not recorded."""
    attribute = Attribute("sex", None, ["male"], ["female"], further=["age"], bands={"age": [0, 40, 60]})
    config = CorpusConfig("ham10000", 32, audit=False, cache_dir=str(tmp_path / "cache"), attribute=attribute)
    config.ham10000 = Ham10000Config(str(real_data / "ham10000"), classes=["df", "vasc"])
    corpus = prepare_corpus(config, tmp_path)
    assert corpus.attribute is attribute
    assert set(corpus.dataset["sex"]) - {None} == {"male", "female"}
    assert set(corpus.dataset["age"]) - {None} == {"0 to under 40", "40 to under 60", "60 and over"}
    assert set(corpus.dataset["skin_type"]) == {None}


def test_a_table_of_any_columns_has_it_by_name(tmp_path: Path) -> None:
    lines = ["picture,dx,who,gender"]
    for number in range(8):
        Image.new("RGB", (40, 40), (200, 20 * number, 90)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{('eczema', 'acne')[number % 2]},p{number},{'FM'[number // 4]}")
    (tmp_path / "clinic.csv").write_text("\n".join(lines))
    table = {"file": "picture", "label": "dx", "patient": "who", "attributes": {"sex": "gender"}}
    attribute = {"column": "sex", "majority": ["M"], "minority": ["F"]}
    corpus = skindiff.load_corpus("table", data_dir=tmp_path, columns=table, attribute=attribute, audit=False)
    assert sorted(corpus.dataset["sex"]) == ["F"] * 4 + ["M"] * 4
    split = skindiff.make_split(corpus, "scenario", flexible_per_condition=1, validation_fraction=0.0)
    assert set(corpus.dataset.select(split.test["minority"])["sex"]) == {"F"}
