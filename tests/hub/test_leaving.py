"""The table of what may leave: every setting, field and file is decided in it."""

import re
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from skindiff.api.comparison import ComparisonConfig
from skindiff.api.evaluation import EvaluationConfig
from skindiff.hub.leaving import (
    LEAVES,
    NUMBER_PICTURES,
    SETTINGS,
    STAY,
    files_of,
    shared_report,
    shared_settings,
)
from skindiff.report.write import report_content
from skindiff.training.from_scratch import FromScratchConfig
from skindiff.training.lora import LoRAConfig
from skindiff.training.textual_inversion import TextualInversionConfig
from tests.conftest import REPOSITORY
from tests.report.test_write import small_report

RECIPES = sorted(path.stem for path in (REPOSITORY / "recipes").glob("*.py"))


def words_of(kind: Any) -> set[str]:
    """Return the names of all settings below a dataclass that may hold words."""
    found = set()
    hints = get_type_hints(kind)
    for field in fields(kind):
        parts = [hints[field.name], *get_args(hints[field.name])]
        inner = [part for part in parts if is_dataclass(part)]
        if field.name not in STAY:  # nothing in a group that stays leaves
            found |= {name for part in inner for name in words_of(part)}
        found |= {field.name} if not inner and holds_words(hints[field.name]) else set()
    return found


def holds_words(kind: Any) -> bool:
    return kind is str or get_origin(kind) is Literal or any(map(holds_words, get_args(kind)))


@pytest.mark.parametrize("name", RECIPES)
def test_every_setting_of_a_recipe_is_decided(name: str) -> None:
    module = import_module(f"recipes.{name}")
    configs = [
        one
        for one in vars(module).values()
        if isinstance(one, type) and is_dataclass(one) and one.__module__ == module.__name__
    ]
    assert configs
    for config in configs:
        assert words_of(config) <= SETTINGS | STAY


def test_every_other_setting_is_decided() -> None:
    for config in (EvaluationConfig, ComparisonConfig, LoRAConfig, TextualInversionConfig, FromScratchConfig):
        assert words_of(config) <= SETTINGS | STAY
    assert not SETTINGS & STAY


def test_a_table_of_ones_own_leaves_neither_its_columns_nor_its_place() -> None:
    own = {
        "data_dir": "/home/me/clinic",
        "metadata": "klinik.csv",
        "columns": {"patient": "Name"},
        "preset": None,
    }
    shared = shared_settings(
        {"corpus": {"name": "table", "table": own}, "synthesis": {"table": {"ulcer": 9}}}
    )
    assert shared == {
        "corpus": {"name": "table", "table": {"preset": None}},
        "synthesis": {"table": {"ulcer": 9}},
    }


def test_settings_lose_places_and_what_nobody_decided() -> None:
    settings = {
        "corpus": {"name": "imagefolder", "imagefolder": {"data_dir": "photos", "image_size": 64}},
        "generator": {"model": "me/base@main", "lora": {"rank": 2, "targets": ["to_q"]}},
        "filters": {"features": {"network": "/home/alice/my net/lite", "weights": "a/b/lite"}},
        "conditions": ["eczema", "a/b"],
        "clinic": "Alice's",
        "rooms": ["Alice's"],
        "synthesis": {"options": {"ti": {"mode": "img2img"}}, "targets": ["V"]},
        "seed": 3,
    }
    assert shared_settings(settings) == {
        "corpus": {"name": "imagefolder", "imagefolder": {"image_size": 64}},
        "generator": {"model": "me/base@main", "lora": {"rank": 2, "targets": ["to_q"]}},
        "filters": {"features": {"network": "lite", "weights": "lite"}},
        "conditions": ["eczema", "a/b"],
        "synthesis": {"options": {"ti": {"mode": "img2img"}}, "targets": ["V"]},
        "seed": 3,
    }


def test_a_name_of_the_users_lets_nothing_through() -> None:
    clinic = {
        "corpus": {"name": "imagefolder", "imagefolder": {"data_dir": "photos"}},
        "ours": {"mel": "bad"},
    }
    kept = {"corpus": {"name": "imagefolder", "imagefolder": {}}, "ours": {"mel": "bad"}}
    for name in ("clinic", "classes", "options"):
        assert shared_settings({"external": {name: clinic}}) == {"external": {name: kept}}


def test_a_report_keeps_all_fields_that_reports_have() -> None:
    content = dict(report_content(small_report(config={"seed": 1}, extra={}), {"versions": {"x": "1"}}))
    assert shared_report(content) == {name: part for name, part in content.items() if name != "reading"}
    more = {**content, "patients": ["alice"], "summary": [{**content["summary"][0], "ids": ["alice"]}]}
    assert "alice" not in str(shared_report(more))
    del content["reading"]
    (note,) = shared_report(content)["notes"]  # of a version that had the files' names among them
    assert note.startswith("The notes of this report are left out")


def test_patterns_of_a_pipeline_are_those_of_its_components() -> None:
    found = files_of("pipeline", ["unet", "vae"])
    assert "model_index.json" in found
    assert {"unet/config.json", "vae/config.json"} <= set(found)
    assert not any("*/" in pattern for pattern in found)
    assert files_of("run") == list(LEAVES["run"])


def test_the_page_for_people_names_all_that_leaves() -> None:
    page = (REPOSITORY / "docs" / "privacy.md").read_text(encoding="utf-8")
    rows = page.partition("## What may leave")[2].partition("A Space gets")[0]
    named = set(re.findall("`([^`]*[.*][^`]*)`", rows)) - {"README.md"}
    assert {pattern for files in LEAVES.values() for pattern in files} == {
        name for name in named if not name.startswith(("skindiff/", "../"))
    }
    for name in (*STAY, *NUMBER_PICTURES):
        assert f"`{name}`" in page
