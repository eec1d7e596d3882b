"""A study carries run, corpus, split and seed, and says where it stands."""

import logging
from pathlib import Path

import pytest

from skindiff.corpora.splits import Split
from skindiff.study import each_study, sizes_in_words
from tests.studies import make_study
from tests.tiny import tiny_corpus

SPLIT = Split(3, [0, 1, 2], [3], {"dark": [4, 5], "light": [5, 6]}, {}, 0)


def test_the_parts_are_those_of_the_split(tmp_path: Path) -> None:
    study = make_study(tmp_path, tiny_corpus(8), SPLIT)
    ids = tiny_corpus(8)["image_id"][:]
    assert study.train["image_id"][:] == ids[:3]
    assert study.validation is not None
    assert study.validation["image_id"][:] == ids[3:4]
    assert {name: len(rows) for name, rows in study.tests.items()} == {"dark": 2, "light": 2}
    assert study.held_out["image_id"][:] == ids[4:7], "a row that two groups test stands there once"
    assert make_study(tmp_path, tiny_corpus(8)).validation is None
    assert study.seed == 3


def test_a_stage_depends_on_the_corpus(tmp_path: Path) -> None:
    first = make_study(tmp_path, tiny_corpus(8), SPLIT).stage("lora", rank=2)
    assert first.inputs == {"rank": 2, "data": "0"}
    assert first.says == "lora"


def test_every_split_says_which_of_how_many_it_is_and_what_is_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    study = make_study(tmp_path, tiny_corpus(8), SPLIT)
    with caplog.at_level(logging.INFO):
        found = [one.seed for one in each_study(study.run, study.corpus, [SPLIT, SPLIT], [7, 8])]
    assert found == [7, 8]
    said = [record.getMessage() for record in caplog.records]
    words = "3 training, 1 validation, 2 test images (dark), 2 test images (light)"
    assert words == sizes_in_words(SPLIT)
    assert said[0].endswith(f"1 of 2 (seed 7): {words}")
    assert "2 of 2 (seed 8): " in said[1]
    assert "; about " in said[1]
