"""The cells beside the recipes are those of the recipes' own settings, on whatever machine this is."""

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skindiff.api import evaluation
from skindiff.corpora import audit, registry
from skindiff.corpora.known_pairs import KnownPairs, key_of
from skindiff.study import all_studies
from tests.conftest import REPOSITORY
from tests.recipes.test_published_settings import read

STUDIES = [
    ("fitz_lora", "fitzpatrick17k"),
    ("ham_fewshot", "ham10000"),
    ("medmnist_augment", "breastmnist"),
    ("medmnist_subsets", "breastmnist"),
]


@pytest.mark.parametrize(
    ("recipe", "settings"), [("fitz_lora", "fitzpatrick17k"), ("ham_fewshot", "ham10000")]
)
def test_the_groups_of_a_study_are_kept_beside_it(
    recipe: str, settings: str, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    corpus = read(recipe, settings).corpus
    contents = audit._hash_files(registry._read(corpus, corpus.own).paths(), 2)
    name = KnownPairs(key_of(contents.values(), corpus.bit_depth), []).name
    pairs = KnownPairs.read(REPOSITORY / "recipes" / recipe / "results" / name)
    assert {name for match in pairs.matches for name in match[:2]} <= set(contents.values())


class Gathered(Exception):
    """The study is cut, and nothing of it is trained."""


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "settings"), STUDIES)
def test_some_split_of_a_study_finds_its_kept_cells(
    recipe: str,
    settings: str,
    real_data: Path,
    real_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[bool] = []

    def gathered(run: Any, corpus: Any, splits: Any, seeds: Any, sets: Any, question: Any) -> None:
        studies = all_studies(run, corpus, splits, seeds)
        found.extend(question.asked_of(study).holds_some() for study in studies)
        raise Gathered

    monkeypatch.setattr(evaluation, "gathered", gathered)
    monkeypatch.chdir(REPOSITORY)
    config = replace(read(recipe, settings), output_dir=str(tmp_path / "run"))
    with pytest.raises(Gathered):
        importlib.import_module(f"recipes.{recipe}").main(config)
    # Splits that are not run yet have none.
    assert sum(found) >= 3, "kept cells are of other images, groups or settings"
