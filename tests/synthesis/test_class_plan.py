from collections import Counter
from dataclasses import replace

import pytest
from datasets import Value

from skindiff.corpora.attribute import Attribute
from skindiff.errors import ConfigError, SynthesisError
from skindiff.synthesis.class_plan import (
    FEW_SHOT_BUDGET,
    ClassSynthesisConfig,
    class_budgets,
    class_plan_features,
    inverse_frequency_budgets,
    make_class_plan,
)
from tests.tiny_generators import tiny_corpus_of_classes

REAL = {"one": 3, "two": 3}


def _rows(
    config: ClassSynthesisConfig, redraws: bool = False, rows: int = 6, **options: object
) -> list[dict]:
    arguments = {"seed": 1, "family": "ddpm", "generator": "ddpm@0", "threads": 1} | options
    return make_class_plan(tiny_corpus_of_classes(rows), config, redraws=redraws, **arguments).to_list()


def test_budgets_by_number_by_table_and_as_the_real_images() -> None:
    config = ClassSynthesisConfig(per_class=7)

    assert class_budgets(config, REAL) == {"one": 7, "two": 7}
    assert class_budgets(replace(config, budget="real"), {"one": 5, "two": 2}) == {"one": 5, "two": 2}
    assert class_budgets(replace(config, redraws="real"), REAL) == {"one": 7, "two": 7}
    assert class_budgets(replace(config, redraws="real"), REAL, redraws=True) == REAL
    table = replace(config, budget="table", table={"two": 4})
    assert class_budgets(table, REAL) == {"one": 0, "two": 4}
    with pytest.raises(ConfigError, match="'three' is no class of this corpus, which has one, two"):
        class_budgets(replace(table, table={"three": 1}), REAL)


def test_the_few_shot_budget_is_the_papers() -> None:
    assert sum(FEW_SHOT_BUDGET.values()) == 1200
    assert FEW_SHOT_BUDGET["nv"] == 0


@pytest.mark.parametrize(("total", "expected"), [
    (700, [100, 200, 400]),
    (3899, [557, 1114, 2228]),
    (54, [8, 15, 31]),
])  # fmt: skip
def test_rare_classes_get_more_and_the_total_is_kept(total: int, expected: list[int]) -> None:
    budgets = inverse_frequency_budgets({"a": 400, "b": 200, "c": 100}, total)
    assert list(budgets.values()) == expected
    assert sum(expected) == total
    with pytest.raises(SynthesisError, match="has no bound for 'b'"):
        inverse_frequency_budgets({"a": 1, "b": 0}, total)


def test_a_plan_says_all_that_is_needed_to_draw_its_rows() -> None:
    config = ClassSynthesisConfig(budget="table", table={"one": 1, "two": 4}, steps=3, batch_size=2)

    rows = _rows(config)

    assert list(rows[0]) == list(class_plan_features(["one", "two"]))
    assert Counter(row["label"] for row in rows) == {0: 1, 1: 4}
    assert [row["batch_position"] for row in rows] == [0, 1, 0, 1, 0]
    assert len({row["seed"] for row in rows}) == len({row["image_id"] for row in rows}) == 5
    assert all(row["group_id"] == row["image_id"] and row["source_id"] is None for row in rows)
    assert (rows[0]["steps"], rows[0]["scheduler"], rows[0]["prompt"]) == (3, "dpmsolver++", None)
    more = _rows(replace(config, table={"one": 9, "two": 4}))
    assert [row["seed"] for row in more if row["label"] == 1] == [row["seed"] for row in rows[1:]]
    assert not {row["seed"] for row in _rows(config, seed=2)} & {row["seed"] for row in rows}
    other = _rows(replace(config, options={"fc_cvae": {"temperature": 0.5}}), family="fc_cvae")[0]
    assert (other["steps"], other["scheduler"], other["options"]) == (None, None, '{"temperature": 0.5}')


def test_a_batch_is_not_larger_than_the_plan() -> None:
    assert {row["batch_size"] for row in _rows(ClassSynthesisConfig(per_class=2))} == {4}


def test_families_that_redraw_go_through_all_sources_before_one_comes_again() -> None:
    rows = _rows(ClassSynthesisConfig(per_class=4), redraws=True, family="joint_vae")

    for label, sources in ((0, {"real-0", "real-2", "real-4"}), (1, {"real-1", "real-3", "real-5"})):
        own = [row for row in rows if row["label"] == label]
        assert {row["source_id"] for row in own[:3]} == sources
        assert own[3]["source_id"] == own[0]["source_id"]
        assert own[3]["seed"] != own[0]["seed"]
    assert rows[0]["skin_type"] == "II"
    assert rows[0]["group_id"] == f"lesion-{int(rows[0]['source_id'][-1]) // 2}"
    once = _rows(ClassSynthesisConfig(redraws="real"), redraws=True)
    assert sorted(row["source_id"] for row in once) == [f"real-{number}" for number in range(6)]


def test_what_cannot_be_planned_is_named() -> None:
    with pytest.raises(SynthesisError, match="the plan has no rows"):
        _rows(ClassSynthesisConfig(budget="real"), rows=0)
    with pytest.raises(SynthesisError, match="reconstructs real images, and there is none of 'two'"):
        _rows(ClassSynthesisConfig(per_class=1), redraws=True, rows=1)


@pytest.mark.parametrize(("settings", "message"), [
    ({"budget": "all"}, "s.budget: 'all' is unknown; use one of per_class"),
    ({"budget": "table"}, "s.table: {} asks for no image"),
    ({"table": {"a": -1}}, "s.table: -1 images of a"),
    ({"per_class": 0}, "s.per_class: 0 is below 1"),
    ({"guidance_scale": 0.5}, "s.guidance_scale: 0.5 is below 1"),
    ({"output_size": 4}, "s.output_size: 4 pixels"),
])  # fmt: skip
def test_settings_that_cannot_work_are_named_with_their_path(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ClassSynthesisConfig(**settings).validate("s.")


def test_what_a_family_that_knows_classes_alone_makes_is_of_no_known_value() -> None:
    sexes = ["male", "female", None, "male", "female", "male"]
    sources = tiny_corpus_of_classes(6).add_column("sex", sexes, feature=Value("string"))
    sex = Attribute("sex", majority=["male"], minority=["female"])
    arguments = {"seed": 1, "generator": "it@0", "threads": 1, "attribute": sex}
    drawn = make_class_plan(sources, ClassSynthesisConfig(per_class=2), family="ddpm", **arguments)
    assert drawn.features == class_plan_features(["one", "two"], sex)
    assert set(drawn["sex"]) == set(drawn["source_sex"]) == set(drawn["skin_type"]) == {None}
    redrawn = make_class_plan(
        sources, ClassSynthesisConfig(budget="real"), family="joint_vae", redraws=True, **arguments
    )
    of_source = dict(zip(sources["image_id"], sexes, strict=True))
    assert (
        list(redrawn["sex"])
        == list(redrawn["source_sex"])
        == [of_source[one] for one in redrawn["source_id"]]
    )
