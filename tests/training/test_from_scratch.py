"""What a generator that is trained from scratch is given of what is scarce in its corpus."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, Value

from skindiff.corpora.attribute import Attribute
from skindiff.corpora.image_table import ImageTable
from skindiff.errors import ConfigError
from skindiff.generators.families import FAMILIES, imported
from skindiff.training import from_scratch
from skindiff.training.balancing import balancing_weights
from skindiff.training.from_scratch import PIPELINE, FromScratchConfig, train_from_scratch
from tests.studies import make_study
from tests.tiny_generators import tiny_corpus_of_classes

SEX = Attribute("sex", majority=["male"], minority=["female"])
SEXES = ["male", "male", "male", "female", None, "male"]


def corpus(sexes: list[Any]) -> Dataset:
    return tiny_corpus_of_classes(6).add_column("sex", sexes, feature=Value("string"))


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[ImageTable]:
    """The tables that a trainer, which does nothing with them, is given."""
    tables: list[ImageTable] = []

    def trainer(accelerator: Any, config: Any, table: ImageTable, folder: Path, seed: int) -> None:
        tables.append(table)
        (folder / PIPELINE).mkdir()

    trainers = {family.trainer for family in FAMILIES.values()}
    monkeypatch.setattr(
        from_scratch, "imported", lambda place: trainer if place in trainers else imported(place)
    )
    return tables


def config(balance: Any, family: str = "fc_cvae") -> FromScratchConfig:
    whole = FromScratchConfig(family=family)
    setattr(whole, family, replace(getattr(whole, family), balance=balance))
    return whole


@pytest.mark.parametrize("family", ["fc_cvae", "fc_gan", "ddpm"])
def test_classes_are_balanced_within_the_values_of_the_attribute(
    family: str, given: list[ImageTable], tmp_path: Path
) -> None:
    study = make_study(tmp_path, corpus(SEXES))
    study = replace(study, corpus=replace(study.corpus, attribute=SEX))
    train_from_scratch(study, config("class_and_attribute", family))
    (table,) = given
    assert list(table.values) == SEXES
    weights = balancing_weights(table, "class_and_attribute")
    groups = list(zip(table.labels.tolist(), SEXES, strict=True))
    assert weights is not None
    assert weights.tolist() == [1 / groups.count(group) for group in groups]


def test_what_is_balanced_decides_the_training(given: list[ImageTable], tmp_path: Path) -> None:
    by_type = make_study(tmp_path, corpus(SEXES))
    by_sex = replace(by_type, corpus=replace(by_type.corpus, attribute=SEX))
    folders = {
        (balance, study.corpus.attribute.column): train_from_scratch(study, config(balance))
        for balance in ("class", "class_and_attribute")
        for study in (by_type, by_sex)
    }
    assert folders["class", "sex"] == folders["class", "skin_type"]
    assert folders["class_and_attribute", "sex"] != folders["class_and_attribute", "skin_type"]
    assert [table.values[3] for table in given] == ["II", "II", "female"]


def test_a_balance_of_what_nobody_recorded_is_refused(given: list[ImageTable], tmp_path: Path) -> None:
    study = make_study(tmp_path, corpus([None] * 6))
    study = replace(study, corpus=replace(study.corpus, attribute=SEX))
    with pytest.raises(ConfigError, match=r"^fc_cvae.balance: class_and_attribute balances sex too, and no"):
        train_from_scratch(study, config("class_and_attribute"))
    assert not given
