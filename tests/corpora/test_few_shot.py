from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from skindiff.corpora.few_shot import (
    FewShotConfig,
    FractionSplitConfig,
    generator_rows,
    make_few_shot_split,
    make_fraction_split,
    unused_rows,
)
from skindiff.errors import ConfigError, SplitError

# Images and lesions of HAM10000 by class: Table II of Bingol et al., and lesions of the published metadata.
HAM10000 = {
    "akiec": (327, 228),
    "bcc": (514, 327),
    "bkl": (1099, 727),
    "df": (115, 73),
    "mel": (1113, 614),
    "nv": (6705, 5403),
    "vasc": (142, 98),
}


def columns(counts: dict[str, tuple[int, int]]) -> dict[str, list[str]]:
    """A corpus with so many images of so many groups in each class."""
    table: dict[str, list[str]] = {"label": [], "image_id": [], "group_id": []}
    for name, (images, groups) in counts.items():
        table["label"] += [name] * images
        table["image_id"] += [f"{name}-{number}" for number in range(images)]
        table["group_id"] += [f"{name}-lesion-{number % groups}" for number in range(images)]
    return table


SMALL = columns({"df": (30, 20), "nv": (100, 70)})


def all_rows(split) -> list[int]:
    return sorted([*split.train, *split.validation, *split.test["all"]])


def groups(table, rows) -> Counter:
    return Counter(table["group_id"][row] for row in rows)


def classes(table, rows) -> Counter:
    return Counter(table["label"][row] for row in rows)


def test_the_papers_few_shot_split_of_ham10000():
    table = columns(HAM10000)
    assert len(table["label"]) == 10_015
    assert len(set(table["group_id"])) == 7_470
    published = make_few_shot_split(table, FewShotConfig(preset="published"), 0)
    assert classes(table, published.train) == dict.fromkeys(HAM10000, 50)
    # 15% and 15% of what 50 shots leave of each class.
    both = {name: round(0.3 * (images - 50)) for name, (images, _) in HAM10000.items()}
    assert classes(table, published.validation + published.test["all"]) == both
    for name, count in classes(table, published.test["all"]).items():
        assert count == pytest.approx(0.15 * (HAM10000[name][0] - 50), abs=1)
    assert published.groups_crossing > 100, "lesions leak in the split as published"
    assert published.dropped == {"unused": 10_015 - len(all_rows(published))}
    clean = make_few_shot_split(table, FewShotConfig(), 0)
    assert clean.sizes() == published.sizes(), "there are lesions enough for the published sizes"
    assert clean.groups_crossing == 0
    assert max(groups(table, all_rows(clean)).values()) == 1
    assert len(all_rows(clean)) + sum(clean.dropped.values()) == 10_015


def test_too_few_groups_shrink_validation_and_test_in_proportion():
    table = columns({"nv": (200, 60)})
    config = FewShotConfig(shots=20, validation_fraction=0.2, test_fraction=0.8)
    split = make_few_shot_split(table, config, 0)
    assert split.sizes() == {"train": 20, "validation": 8, "test_all": 32}
    published = make_few_shot_split(table, replace(config, preset="published"), 0)
    assert published.sizes() == {"train": 20, "validation": 36, "test_all": 144}


def test_rows_beside_the_parts_are_accounted_for():
    split = make_few_shot_split(SMALL, FewShotConfig(shots=5), 3)
    parts = all_rows(split)
    others = [row for row in range(len(SMALL["label"])) if row not in parts]
    tested, selecting = groups(SMALL, split.test["all"]), groups(SMALL, split.validation)
    found = Counter(
        "shares_group_with_test"
        if SMALL["group_id"][row] in tested
        else "shares_group_with_validation"
        if SMALL["group_id"][row] in selecting
        else "unused"
        for row in others
    )
    assert split.dropped == found
    assert set(found) == {"shares_group_with_test", "shares_group_with_validation", "unused"}


def test_a_generator_never_sees_what_is_held_out_unless_told_to():
    split = make_few_shot_split(SMALL, FewShotConfig(shots=5), 3)
    assert generator_rows(SMALL, split) == split.train
    pool = generator_rows(SMALL, split, "pool")
    assert set(split.train) < set(pool)
    assert len(pool) == len(split.train) + split.dropped["unused"]
    held_out = groups(SMALL, split.validation + split.test["all"])
    assert not held_out.keys() & groups(SMALL, pool).keys()
    assert generator_rows(SMALL, split, "everything") == list(range(130))
    published = make_few_shot_split(SMALL, FewShotConfig(shots=5, preset="published"), 3)
    assert (
        not groups(SMALL, published.test["all"]).keys() & groups(SMALL, unused_rows(SMALL, published)).keys()
    )


def test_a_group_of_two_classes_is_in_one_part():
    table = columns({"df": (12, 12), "nv": (12, 12)})
    table["group_id"][:12] = table["group_id"][12:] = [f"patient-{number}" for number in range(12)]
    split = make_few_shot_split(table, FewShotConfig(2, 0.3, 0.3), 0)
    assert split.groups_crossing == 0
    assert max(groups(table, all_rows(split)).values()) == 1
    whole = make_fraction_split(table, FractionSplitConfig(), 0)
    assert whole.groups_crossing == 0


@pytest.mark.parametrize(
    ("make", "config"),
    [
        (make_few_shot_split, FewShotConfig(shots=5)),
        (make_few_shot_split, FewShotConfig(shots=5, preset="published")),
        (make_fraction_split, FractionSplitConfig(set_aside_fraction=0.3)),
        (make_fraction_split, FractionSplitConfig(preset="published")),
    ],
)
def test_the_seed_and_the_image_ids_decide_not_the_order_of_the_rows(make, config):
    split = make(SMALL, config, 7)
    order = np.random.default_rng(0).permutation(len(SMALL["label"]))
    shuffled = {name: [values[row] for row in order] for name, values in SMALL.items()}
    again = make(shuffled, config, 7)
    for part, rows in (("train", again.train), ("validation", again.validation), ("test", again.test["all"])):
        wanted = split.test["all"] if part == "test" else getattr(split, part)
        assert sorted(order[row] for row in rows) == wanted
    assert again.dropped == split.dropped
    assert make(SMALL, config, 8).train != split.train


def test_fractions_of_whole_groups():
    config = FractionSplitConfig(validation_fraction=0.1, test_fraction=0.2, set_aside_fraction=0.4)
    split = make_fraction_split(SMALL, config, 1)
    aside = unused_rows(SMALL, split)
    parts = {"train": split.train, "validation": split.validation, "test": split.test["all"], "aside": aside}
    names = {part: set(groups(SMALL, rows)) for part, rows in parts.items()}
    assert {part: len(found) for part, found in names.items()} == {
        "train": 6 + 21,
        "validation": 2 + 7,
        "test": 4 + 14,
        "aside": 8 + 28,
    }
    assert sum(map(len, names.values())) == 90, "no lesion is in two parts"
    assert split.groups_crossing == 0
    assert max(groups(SMALL, split.test["all"]).values()) == 1
    assert split.dropped == {
        "set_aside": len(aside),
        "repeats_in_test": 130 - len(aside) - len(all_rows(split)),
    }
    assert split.dropped["repeats_in_test"] > 0


def test_fractions_of_images_as_published():
    split = make_fraction_split(SMALL, FractionSplitConfig(0.1, 0.2, preset="published"), 1)
    assert split.sizes() == {"train": 91, "validation": 13, "test_all": 26}
    assert classes(SMALL, split.test["all"]) == {"df": 6, "nv": 20}
    assert split.groups_crossing > 0


def test_validation_can_be_left_out():
    assert make_few_shot_split(SMALL, FewShotConfig(5, 0.0, 1.0), 0).validation == []
    assert make_fraction_split(SMALL, FractionSplitConfig(0.0, 0.5), 0).validation == []


def test_a_class_that_is_too_small_is_named():
    with pytest.raises(
        SplitError, match=r"^shots: class 'df' has 20 groups of images, but 19 to train on and 2"
    ):
        make_few_shot_split(SMALL, FewShotConfig(shots=19), 0)
    make_few_shot_split(SMALL, FewShotConfig(shots=19, preset="published"), 0)
    with pytest.raises(SplitError, match="class 'df' has 30 images, but 29 to train"):
        make_few_shot_split(SMALL, FewShotConfig(shots=29, preset="published"), 0)
    with pytest.raises(SplitError, match=r"^test_fraction: class 'df' has 2 groups of images, too few"):
        make_fraction_split(columns({"df": (4, 2), "nv": (30, 30)}), FractionSplitConfig(), 0)


def test_an_empty_class_is_named():
    features = Features(
        {"label": ClassLabel(names=["df", "nv"]), "image_id": Value("string"), "group_id": Value("string")}
    )
    ids = [f"i{number}" for number in range(40)]
    dataset = Dataset.from_dict({"label": [1] * 40, "image_id": ids, "group_id": ids}, features=features)
    with pytest.raises(SplitError, match="class 'df' has 0 groups of images"):
        make_few_shot_split(dataset, FewShotConfig(shots=5), 0)
    with pytest.raises(SplitError, match="class 'df' has 0 groups of images"):
        make_fraction_split(dataset, FractionSplitConfig(), 0)
    with pytest.raises(SplitError, match="column 'group_id' is missing"):
        make_few_shot_split({"label": [], "image_id": []}, FewShotConfig(), 0)


@pytest.mark.parametrize(
    ("config", "setting"),
    [
        (FewShotConfig(shots=0), "shots"),
        (FewShotConfig(validation_fraction=-0.1), "validation_fraction"),
        (FewShotConfig(test_fraction=0.0), "test_fraction"),
        (FewShotConfig(validation_fraction=0.5, test_fraction=0.6), "test_fraction"),
        (FewShotConfig(preset="dirty"), "preset"),
        (FractionSplitConfig(validation_fraction=1.0), "validation_fraction"),
        (FractionSplitConfig(set_aside_fraction=1.0), "set_aside_fraction"),
        (FractionSplitConfig(0.3, 0.3, 0.4), "test_fraction"),
        (FractionSplitConfig(preset="dirty"), "preset"),
    ],
)
def test_settings_that_cannot_work_are_refused(config, setting):
    with pytest.raises(ConfigError, match=rf"^split\.{setting}: "):
        config.validate("split.")
    FewShotConfig(validation_fraction=0.2, test_fraction=0.8).validate()
