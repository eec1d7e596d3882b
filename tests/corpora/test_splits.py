import csv

import numpy as np
import pytest
from datasets import Dataset

from skindiff.corpora.schema import SKIN_TYPES, corpus_features
from skindiff.corpora.splits import Split, SplitConfig, make_split
from skindiff.errors import ConfigError, SplitError

# Table 1 of Wang et al. (2024): images per condition of skin types I, II, V, VI.
TABLE_1 = {
    "basal cell carcinoma": (85, 156, 24, 7),
    "folliculitis": (30, 97, 31, 9),
    "nematode infection": (15, 56, 32, 12),
    "neutrophilic dermatoses": (70, 115, 31, 15),
    "prurigo nodularis": (7, 28, 29, 9),
    "psoriasis": (113, 232, 64, 21),
    "squamous cell carcinoma": (100, 180, 40, 23),
}


def table_1() -> dict[str, list]:
    rows = [
        (condition, skin_type)
        for condition, counts in TABLE_1.items()
        for skin_type, count in zip(("I", "II", "V", "VI"), counts, strict=True)
        for _ in range(count)
    ]
    # Rows that every scenario must ignore.
    rows += [("psoriasis", "III"), ("psoriasis", None), ("folliculitis", "IV")]
    ids = [f"image-{number:04d}" for number in range(len(rows))]
    return {
        "label": [condition for condition, _ in rows],
        "skin_type": [skin_type for _, skin_type in rows],
        "image_id": ids,
        "group_id": ids,
    }


def random_corpus(seed: int, rows: int = 400, groups: int = 220) -> dict[str, list]:
    """Groups of one to many images that mix skin types, conditions and unrecorded types."""
    random = np.random.default_rng(seed)
    group = np.where(random.random(rows) < 0.5, np.arange(rows) + groups, random.integers(0, groups, rows))
    return {
        "label": [int(value) for value in random.integers(0, 4, rows)],
        "skin_type": [
            random.choice([*SKIN_TYPES, None], p=[0.2, 0.2, 0.1, 0.1, 0.2, 0.1, 0.1]) for _ in range(rows)
        ],
        "image_id": [f"i{number}" for number in range(rows)],
        "group_id": [f"g{number}" for number in group],
    }


def tone(skin_type: str | None) -> str | None:
    return {"I": "light", "II": "light", "V": "dark", "VI": "dark"}.get(skin_type or "")


def parts(split: Split) -> dict[str, list[int]]:
    return {"train": split.train, "validation": split.validation} | split.test


@pytest.mark.parametrize(
    ("scenario", "train", "test"),
    [("i", 1519, {"dark": 56, "light": 56}), ("ii", 1284, {"dark": 291}), ("iii", 1228, {"dark": 291})],
)
@pytest.mark.parametrize("seed", range(5))
def test_paper_preset_has_the_published_sizes(scenario, train, test, seed):
    split = make_split(table_1(), SplitConfig(scenario=scenario, preset="published"), seed)
    assert len(split.train) == train
    assert {name: len(rows) for name, rows in split.test.items()} == test
    assert split.validation == []
    assert split.groups_crossing == 0
    assert split.sizes() == {"train": train, "validation": 0} | {f"test_{k}": v for k, v in test.items()}


@pytest.mark.parametrize("preset", ["published", "grouped"])
@pytest.mark.parametrize("scenario", ["i", "ii", "iii"])
def test_scenarios_train_and_test_on_the_right_groups(scenario, preset):
    columns = table_1()
    split = make_split(columns, SplitConfig(scenario=scenario, preset=preset), 0)

    def count(rows, group):
        return sum(tone(columns["skin_type"][row]) == group for row in rows)

    learned = split.train + split.validation
    assert count(learned, "light") == 1228
    assert count(learned, "dark") == {"i": 291, "ii": 56, "iii": 0}[scenario]
    assert count(split.test["dark"], "dark") == len(split.test["dark"])
    few = {
        "i": split.test["dark"],
        "ii": [row for row in learned if tone(columns["skin_type"][row]) == "dark"],
    }
    for rows in [few[scenario]] if scenario in few else []:
        labels = [columns["label"][row] for row in rows]
        assert {label: labels.count(label) for label in labels} == dict.fromkeys(TABLE_1, 8)
    if scenario == "i":
        assert count(split.test["light"], "light") == 56
    assert split.dropped["other_skin_type"] == 3


def test_paper_preset_leaks_and_says_so():
    columns = random_corpus(0)
    split = make_split(columns, SplitConfig(scenario="iii", preset="published", flexible_per_condition=4), 0)
    trained = {columns["group_id"][row] for row in split.train}
    tested = {columns["group_id"][row] for row in split.test["dark"]}
    assert split.groups_crossing == len(trained & tested) > 0


@pytest.mark.parametrize("scenario", ["i", "ii", "iii"])
@pytest.mark.parametrize("seed", range(40))
def test_clean_preset_never_cuts_a_group(scenario, seed):
    columns = random_corpus(seed)
    config = SplitConfig(scenario=scenario, flexible_per_condition=4)
    split = make_split(columns, config, seed)
    groups = {name: [columns["group_id"][row] for row in rows] for name, rows in parts(split).items()}
    tested = [group for name in split.test for group in groups[name]]
    assert len(tested) == len(set(tested)), "at most one test row per group"
    assert not set(tested) & (set(groups["train"]) | set(groups["validation"]))
    assert not set(groups["train"]) & set(groups["validation"])
    assert split.groups_crossing == 0
    rows = [row for part in parts(split).values() for row in part]
    assert len(rows) == len(set(rows))
    assert len(rows) + sum(split.dropped.values()) == len(columns["label"])
    assert all(part == sorted(part) for part in parts(split).values())


@pytest.mark.parametrize("seed", range(5))
def test_clean_preset_drops_only_what_it_must(seed):
    columns = random_corpus(seed)
    split = make_split(
        columns, SplitConfig(scenario="iii", flexible_per_condition=4, validation_fraction=0), seed
    )
    tested = {columns["group_id"][row] for row in split.test["dark"]}
    light = [row for row, skin_type in enumerate(columns["skin_type"]) if tone(skin_type) == "light"]
    sharing = [row for row in light if columns["group_id"][row] in tested]
    assert sharing, "the corpus must hold groups of mixed skin types"
    # 16 light images are flexible; none of the others is lost unless its group is tested.
    assert len(split.train) + split.dropped["shares_group_with_test"] == len(light) - 16
    assert split.dropped["set_aside"] == 32
    dark_groups = {
        columns["group_id"][row]
        for row, skin_type in enumerate(columns["skin_type"])
        if tone(skin_type) == "dark"
    }
    assert len(split.test["dark"]) == len(dark_groups) - 16


def test_scenarios_ii_and_iii_share_their_test_set():
    columns = random_corpus(3)
    second, third = (make_split(columns, SplitConfig(s, flexible_per_condition=4), 3) for s in ("ii", "iii"))
    assert second.test == third.test


@pytest.mark.parametrize("preset", ["published", "grouped"])
def test_split_depends_on_the_seed_and_not_on_the_row_order(preset):
    columns = random_corpus(1)
    config = SplitConfig(scenario="ii", preset=preset, flexible_per_condition=4)
    order = np.random.default_rng(0).permutation(len(columns["label"]))
    shuffled = {name: [values[row] for row in order] for name, values in columns.items()}

    def ids(table, seed):
        split = make_split(table, config, seed)
        return {name: sorted(table["image_id"][row] for row in rows) for name, rows in parts(split).items()}

    assert ids(columns, 0) == ids(columns, 0) == ids(shuffled, 0)
    assert ids(columns, 0) != ids(columns, 1)


def test_validation_is_stratified_over_whole_groups():
    columns = table_1()
    split = make_split(columns, SplitConfig(scenario="i"), 0)
    for condition, counts in TABLE_1.items():
        trained = sum(counts) - 16
        validated = sum(columns["label"][row] == condition for row in split.validation)
        assert validated == pytest.approx(0.1 * trained, abs=1)
    columns["group_id"] = [f"g{number // 3}" for number in range(len(columns["label"]))]
    split = make_split(columns, SplitConfig(scenario="i"), 0)
    assert len(split.validation) / (len(split.validation) + len(split.train)) == pytest.approx(0.1, abs=0.02)


def test_validation_holds_a_condition_too_small_for_its_share():
    columns = table_1()
    keep = [
        row
        for row, (label, skin_type) in enumerate(zip(columns["label"], columns["skin_type"], strict=True))
        if label != "nematode infection"
        or skin_type in ("V", "VI")
        or int(columns["image_id"][row][-2:]) % 6 == 0
    ]
    columns = {name: [values[row] for row in keep] for name, values in columns.items()}
    split = make_split(columns, SplitConfig(scenario="iii", validation_fraction=0.05), 0)
    labels = [columns["label"][row] for row in split.validation]
    assert labels.count("nematode infection") == 1
    assert "nematode infection" in {columns["label"][row] for row in split.train}


def test_dataset_is_split_without_decoding_images(tmp_path):
    columns = random_corpus(2)
    paths = [str(tmp_path / "does-not-exist.jpg")] * len(columns["label"])
    dataset = Dataset.from_dict(
        {"image": paths, **columns, "corpus": ["x"] * len(paths)},
        features=corpus_features(["a", "b", "c", "d"]),
    )
    config = SplitConfig(flexible_per_condition=4)
    assert make_split(dataset, config, 0) == make_split(columns, config, 0)


@pytest.mark.parametrize("preset", ["published", "grouped"])
def test_too_few_images_name_the_condition_and_the_way_out(preset):
    columns = table_1()
    with pytest.raises(SplitError) as error:
        make_split(columns, SplitConfig(preset=preset, flexible_per_condition=32), 0)
    message = str(error.value)
    assert "\n" not in message
    for part in ("flexible_per_condition", "'basal cell carcinoma'", "31", "V, VI", "32", "lower"):
        assert part in message


def test_an_empty_test_cell_is_refused():
    # All 31 dark basal cell carcinomas would be flexible: nothing would be left to test.
    with pytest.raises(SplitError, match="'basal cell carcinoma' has no image left for the dark test set"):
        make_split(table_1(), SplitConfig(flexible_per_condition=31), 0)


def test_a_declared_class_without_images_is_refused():
    columns = random_corpus(2)
    features = corpus_features(["a", "b", "c", "d", "keloid"])
    del features["image"], features["corpus"]
    with pytest.raises(SplitError, match="'keloid' has 0"):
        make_split(Dataset.from_dict(columns, features=features), SplitConfig(), 0)


def test_missing_column_and_missing_group_are_refused():
    columns = table_1()
    with pytest.raises(SplitError, match="'skin_type' is missing"):
        make_split(
            {name: values for name, values in columns.items() if name != "skin_type"}, SplitConfig(), 0
        )
    columns["group_id"] = [None, *columns["group_id"][1:]]
    with pytest.raises(SplitError, match="'image-0000' has none"):
        make_split(columns, SplitConfig(), 0)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("scenario", "iv"),
        ("preset", "dirty"),
        ("flexible_per_condition", 0),
        ("validation_fraction", 0.7),
    ],
)
def test_settings_that_cannot_work_are_refused(setting, value):
    config = SplitConfig(**{setting: value})
    with pytest.raises(ConfigError, match=f"^split.{setting}: "):
        config.validate("split.")


@pytest.mark.parametrize("preset", ["published", "grouped"])
def test_four_complete_conditions_of_the_real_table(real_data, preset):
    conditions = ("basal cell carcinoma", "folliculitis", "prurigo nodularis", "squamous cell carcinoma")
    with (real_data / "fitzpatrick17k" / "fitzpatrick17k.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] in conditions]
    with (real_data / "fitzpatrick17k" / "verified_duplicate_pairs.csv").open(newline="") as file:
        partner = {pair["md5hash_b"]: pair["md5hash_a"] for pair in csv.DictReader(file)}
    columns = {
        "label": [row["label"] for row in rows],
        "skin_type": [dict(enumerate(SKIN_TYPES, 1)).get(int(row["fitzpatrick_scale"])) for row in rows],
        "image_id": [row["md5hash"] for row in rows],
        "group_id": [partner.get(row["md5hash"], row["md5hash"]) for row in rows],
    }
    expected = {"i": (791, 32), "ii": (683, 140), "iii": (651, 140)}
    crossing = []
    for scenario, (train, test) in expected.items():
        for seed in range(5):
            split = make_split(columns, SplitConfig(scenario=scenario, preset=preset), seed)
            crossing.append(split.groups_crossing)
            lost = split.dropped.get("shares_group_with_test", 0)
            repeats = sum(split.dropped.get(f"repeats_in_{part}", 0) for part in ("test", "flexible"))
            assert len(split.train) + len(split.validation) + lost == train
            assert len(split.test["dark"]) + repeats == test
    assert (sum(crossing) > 0) == (preset == "published")
