from collections import Counter
from dataclasses import replace

import pytest
from datasets import Dataset, Value

from skindiff.corpora.attribute import SKIN_TYPE, Attribute
from skindiff.corpora.schema import REAL_COLUMNS, SYNTHETIC_COLUMNS, corpus_features
from skindiff.errors import ConfigError, SynthesisError
from skindiff.synthesis.asked import asked_column
from skindiff.synthesis.config import SynthesisConfig, published_settings
from skindiff.synthesis.plan import make_plan, plan_features, synthetic_features
from tests.tiny import tiny_corpus

CLASSES = ("psoriasis", "folliculitis")
TOKENS = {"psoriasis": "<skindiff-psoriasis>", "folliculitis": "<skindiff-folliculitis>"}


def _sources(skin_types: list[str | None]) -> Dataset:
    rows = len(skin_types)
    columns = {
        "image": [None] * rows,
        "label": [row % 2 for row in range(rows)],
        "skin_type": skin_types,
        "image_id": [f"s{row}" for row in range(rows)],
        "group_id": [f"g{row // 2}" for row in range(rows)],
        "corpus": ["made-up"] * rows,
    }
    return Dataset.from_dict(columns, features=corpus_features(CLASSES))


def _plan(sources: Dataset, seed: int = 0, **settings: object) -> Dataset:
    config = replace(SynthesisConfig(), **settings)  # type: ignore[arg-type]
    return make_plan(sources, config, seed=seed, generator="tiny@0", tokens=TOKENS)


def test_a_plan_has_the_schema_without_images_and_all_that_redraws_a_row() -> None:
    plan = _plan(_sources(["I", "VI"]))

    assert set(REAL_COLUMNS[1:]) | set(SYNTHETIC_COLUMNS) <= set(plan.column_names)
    assert set(plan.column_names) | {"image"} == set(synthetic_features(CLASSES))
    assert plan.features["label"].names == list(CLASSES)
    row = plan[7]
    assert row["corpus"] == "synthetic"
    assert (row["source_id"], row["group_id"], row["label"]) == ("s1", "g0", 1)
    assert (
        row["prompt"] == "An image of <skindiff-folliculitis> on the skin of a very dark-skinned individual"
    )
    assert row["batch_position"] == 7
    assert [row[name] for name in ("generator", "mode", "strategy", "scheduler", "tone")] == [
        "tiny@0", "img2img", "ti+lora", "dpmsolver++", "latent_mean",
    ]  # fmt: skip
    assert row["threads"] >= 1


def test_dark_sources_keep_their_type_and_light_ones_are_balanced_within_each_condition() -> None:
    sources = _sources(["I", "II", "V", "VI", None, "III", "I", "I", "II", "II"])
    plan = _plan(sources)

    by_source = {name: [] for name in sources["image_id"]}
    for name, skin_type in zip(plan["source_id"], plan["skin_type"], strict=True):
        by_source[name].append(skin_type)
    assert by_source["s2"] == ["V"] * 5
    assert by_source["s3"] == ["VI"] * 5
    assert all(
        len(drawn) == 5 and set(drawn) == {"V", "VI"}
        for name, drawn in by_source.items()
        if name not in ("s2", "s3")
    )
    for label in (0, 1):
        drawn = Counter(
            row["skin_type"] for row in plan if row["label"] == label and row["source_id"] not in ("s2", "s3")
        )
        assert abs(drawn["V"] - drawn["VI"]) <= 1


def test_the_paper_draws_one_target_per_source_and_its_published_settings() -> None:
    config = published_settings(strategy="vanilla")
    plan = make_plan(_sources(["I", "II"] * 20), config, seed=3, generator="sd@1")

    per_source = {name: set() for name in plan["source_id"]}
    for name, skin_type in zip(plan["source_id"], plan["skin_type"], strict=True):
        per_source[name].add(skin_type)
    assert all(len(drawn) == 1 for drawn in per_source.values())
    assert {skin_type for drawn in per_source.values() for skin_type in drawn} == {"V", "VI"}
    assert (plan[0]["steps"], plan[0]["strength"], plan[0]["guidance_scale"]) == (100, 0.5, 2.0)
    assert (plan[0]["tone"], plan[0]["scheduler"], plan[0]["output_size"]) == ("none", "pipeline", 256)


def test_a_plan_is_a_function_of_its_seed_and_a_row_of_its_source() -> None:
    sources = _sources(["I", "II"] * 10)

    assert _plan(sources).to_list() == _plan(sources).to_list()
    assert _plan(sources)["seed"] != _plan(sources, seed=1)["seed"]
    assert _plan(sources)["skin_type"] != _plan(sources, seed=1)["skin_type"]
    whole, part = _plan(sources), _plan(sources.select([2, 4]))
    seeds = dict(zip(whole["image_id"], whole["seed"], strict=True))
    assert all(seeds[name] == seed for name, seed in zip(part["image_id"], part["seed"], strict=True))
    backwards = _plan(sources.select(range(19, -1, -1)))
    targets = dict(zip(whole["image_id"], whole["skin_type"], strict=True))
    assert dict(zip(backwards["image_id"], backwards["skin_type"], strict=True)) == targets


def test_ids_and_seeds_are_unique_also_across_strategies() -> None:
    sources = _sources(["I", "II", "V"])
    plans = [
        _plan(sources, mode=mode, strategy=strategy, seed=seed)
        for mode, strategy in (
            ("txt2img", "vanilla"),
            ("txt2img", "ti"),
            ("img2img", "vanilla"),
            ("img2img", "ti"),
            ("img2img", "lora"),
            ("img2img", "ti+lora"),
        )
        for seed in (0, 1)
    ]
    ids = [name for plan in plans for name in plan["image_id"]]
    assert len(set(ids)) == len(ids) == 12 * 15
    assert len(set(plans[0]["seed"])) == 15


def test_text_to_image_has_the_same_labels_and_tones_but_no_source() -> None:
    sources = _sources(["I", "II", "V", None])
    from_text, from_image = _plan(sources, mode="txt2img"), _plan(sources)

    for column in ("label", "skin_type", "prompt", "seed"):
        assert from_text[column] == from_image[column]
    row = from_text[0]
    assert row["source_id"] is row["source_skin_type"] is row["strength"] is None
    assert row["group_id"] == row["image_id"]
    assert row["tone"] == "none"
    assert _plan(sources, mode="txt2img", tone="offset_noise")[0]["tone"] == "offset_noise"


@pytest.mark.parametrize(("strategy", "subject"), [
    ("vanilla", "psoriasis"), ("lora", "psoriasis"),
    ("ti", TOKENS["psoriasis"]), ("ti+lora", TOKENS["psoriasis"]),
])  # fmt: skip
def test_prompts_name_the_condition_or_its_token(strategy: str, subject: str) -> None:
    plan = _plan(_sources(["V"]), strategy=strategy)

    assert plan[0]["prompt"] == f"An image of {subject} on the skin of a dark-skinned individual"
    assert plan[0]["subject"] == subject


def test_sources_that_cannot_be_planned_from_are_refused() -> None:
    with pytest.raises(SynthesisError, match="no source images"):
        _plan(_sources([]))
    with pytest.raises(SynthesisError, match="'s0' stands twice"):
        _plan(_sources(["I", "I"]).select([0, 0]))
    with pytest.raises(SynthesisError, match="needs the skin type of every source, and 's1' has none"):
        _plan(_sources(["I", None]), strategy="vanilla", tone="prototype_contrast")
    with pytest.raises(SynthesisError, match="strategy 'ti' needs a learned token for 'psoriasis'"):
        make_plan(_sources(["I"]), SynthesisConfig(strategy="ti"), seed=0, generator="g", tokens={})


SEX = Attribute("sex", None, ["male"], ["female"])


def _people(sexes: list[str | None]) -> Dataset:
    sources = _sources(["II"] * len(sexes))
    return sources.add_column("sex", sexes, feature=Value("string"))


def test_another_attribute_is_transferred_and_the_skin_type_stays() -> None:
    config = SynthesisConfig(strategy="vanilla", images_per_source=2)
    plan = make_plan(_people(["male", "female", None]), config, seed=0, generator="g", attribute=SEX)
    assert plan.features == plan_features(CLASSES, SEX)
    assert list(plan["sex"]) == ["female"] * 6
    assert list(plan["source_sex"]) == ["male", "male", "female", "female", None, None]
    assert list(plan["skin_type"]) == list(plan["source_skin_type"]) == ["II"] * 6
    assert all(prompt.endswith(", sex female") for prompt in plan["prompt"])
    assert set(plan["tone"]) == {"none"}
    assert asked_column(plan.column_names) == "sex"
    assert asked_column(_plan(_sources(["I"]), strategy="vanilla").column_names) == "skin_type"


def test_targets_are_values_of_the_attribute() -> None:
    with pytest.raises(ConfigError, match="targets: 'V' is none of the values of sex male, female"):
        SynthesisConfig(targets=["V"]).aimed(SEX)
    with pytest.raises(ConfigError, match=r"s.targets: '7' is none of the skin types I, II"):
        SynthesisConfig(targets=["V", "7"]).aimed(SKIN_TYPE, "s.")
    assert SynthesisConfig().aimed(SKIN_TYPE) == SynthesisConfig(targets=["V", "VI"])
    assert SynthesisConfig(tone="offset_noise").aimed(SEX).tone == "offset_noise"
    with pytest.raises(ConfigError, match=r"corpus.attribute.column: 'scheduler' is a column that synthetic"):
        plan_features(CLASSES, Attribute("scheduler", None, ["a"], ["b"]))


def test_same_noise_starts_every_source_and_target_alike_and_counts_on_from_the_seed() -> None:
    """Image n of seed s is the first of seed s + n, so that one image of several can be varied alone."""

    def seeds(seed: int) -> dict[tuple[str, str], list[int]]:
        config = SynthesisConfig(targets=["V", "VI"], images_per_source=4)
        plan = make_plan(
            _sources(["I", "II"]), config, seed=seed, generator="tiny@0", tokens=TOKENS, same_noise=True
        )
        found: dict[tuple[str, str], list[int]] = {}
        for row in plan:
            found.setdefault((row["source_id"], row["skin_type"]), []).append(row["seed"])
        return found

    first, second = seeds(7), seeds(8)
    assert len(first) == 4
    assert len({tuple(drawn) for drawn in first.values()}) == 1
    (drawn,) = {tuple(drawn) for drawn in first.values()}
    (later,) = {tuple(drawn) for drawn in second.values()}
    assert drawn[1] == later[0] != drawn[0]


def test_a_caption_ends_every_prompt_and_is_words_on_one_line() -> None:
    config = SynthesisConfig(strategy="vanilla", caption="dermoscopy, trunk")
    plan = make_plan(tiny_corpus(2), config, seed=0, generator="tiny@0")
    assert all(prompt.endswith("-skinned individual, dermoscopy, trunk") for prompt in plan["prompt"])
    for wrong in ("two\nlines", "<skindiff-word>"):
        with pytest.raises(ConfigError, match=r"synthesis\.caption: .* is not words on one line"):
            SynthesisConfig(caption=wrong).validate("synthesis.")
