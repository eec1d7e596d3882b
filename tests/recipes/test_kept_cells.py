"""The cells beside the recipes are those of the recipes' own settings, on whatever machine this is."""

import importlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skindiff.api import evaluation
from skindiff.corpora import audit, registry
from skindiff.corpora.known_pairs import KnownPairs, key_of
from tests.conftest import REPOSITORY
from tests.recipes.test_published_settings import read

STUDIES = [
    ("fitz_lora", "fitzpatrick17k"),
    ("fitz_lora", "fitzpatrick17k_fine_tuned"),
    ("fitz_lora", "fitzpatrick17k_tried"),
    ("fitz_lora", "ablation_fitzpatrick17k"),
    ("ham_fewshot", "ham10000"),
    ("medmnist_augment", "breastmnist"),
    ("medmnist_subsets", "breastmnist"),
]
NOT_RUN: dict[str, set[str]] = {"ablation_fitzpatrick17k": {"1234"}}
"""Seeds of a study that lack cells."""


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
    """What is kept of a study is read, and nothing of it is trained."""


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "settings"), STUDIES)
def test_every_cell_of_a_study_is_kept_but_those_that_are_not_run(
    recipe: str,
    settings: str,
    real_data: Path,
    real_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A key that changed, of a classifier, a generator or the published protocol, would find no cell."""
    said: list[str] = []

    def gathered(*asked: Any) -> None:
        said.extend(read_all(*asked)[1])
        raise Gathered

    read_all = evaluation.gathered
    monkeypatch.setattr(evaluation, "gathered", gathered)
    monkeypatch.chdir(REPOSITORY)
    config = read(recipe, settings, "--recorded", "only", "--experiment.bootstrap_replicates", "100")
    with pytest.raises(Gathered):
        importlib.import_module(f"recipes.{recipe}").main(replace(config, output_dir=str(tmp_path / "run")))
    assert not [note for note in said if note.startswith("The published protocol is not run")]
    missing = " ".join(note for note in said if note.startswith("Not run"))
    assert set(re.findall(r"seed (\d+)", missing)) == NOT_RUN.get(settings, set())
