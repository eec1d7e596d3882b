from collections import Counter

import numpy as np
import pytest
from datasets import Dataset, Features, Value
from PIL import Image

from skindiff.classification.arm_names import ARMS
from skindiff.classification.arms import build_arm
from skindiff.corpora.schema import REAL_COLUMNS, corpus_features
from skindiff.errors import ConfigError

NAMES = ["alpha", "beta"]


def table(count: int, corpus: str, copies: int = 1, names: list[str] = NAMES, first: int = 0) -> Dataset:
    features = Features({**corpus_features(names), "source_id": Value("string")})
    rows = [
        {
            "image": Image.fromarray(np.full((4, 4, 3), source + 10 * copy, dtype=np.uint8)),
            "label": source % 2,
            "skin_type": "I" if corpus == "real" else "VI",
            "image_id": f"{source:02d}" if corpus == "real" else f"{corpus}-{source:02d}-{copy}",
            "group_id": f"group-{source:02d}",
            "corpus": corpus,
            "source_id": None if corpus == "real" else f"{source:02d}",
        }
        for source in range(first, first + count)
        for copy in range(copies)
    ]
    return Dataset.from_list(rows, features=features)


REAL, SYNTHETIC, COLOUR = table(6, "real"), table(6, "synthetic", 3), table(6, "colour")


def test_arms_hold_what_their_names_say() -> None:
    built = {arm: build_arm(arm, REAL, SYNTHETIC, colour=COLOUR) for arm in ARMS}
    counts = {arm: Counter(rows["corpus"]) for arm, rows in built.items()}
    assert counts == {
        "real": {"real": 6},
        "syn": {"synthetic": 18},
        "real+syn": {"real": 6, "synthetic": 18},
        "real+duplicates": {"real": 24},
        "real+colour": {"real": 6, "colour": 18},
    }
    assert all(rows.column_names == list(REAL_COLUMNS) for rows in built.values())
    assert Counter(built["real+duplicates"]["image_id"]) == {f"{row:02d}": 4 for row in range(6)}
    assert built["real+syn"][6]["image"].size == (4, 4)


def test_arms_hold_what_is_scarce_and_null_where_it_is_not_known() -> None:
    sexes = ["female", "male"] * 3
    real = REAL.add_column("sex", sexes, feature=Value("string"))
    rows = build_arm("real+syn", real, SYNTHETIC, column="sex")
    assert rows.column_names == [*REAL_COLUMNS, "sex"]
    assert list(rows["sex"]) == [*sexes, *[None] * 18]
    known = SYNTHETIC.add_column("sex", ["female"] * 18, feature=Value("string"))
    assert list(build_arm("syn", real, known, column="sex")["sex"]) == ["female"] * 18


def test_ratio_uses_every_source_before_it_uses_one_twice() -> None:
    once = build_arm("syn", REAL, SYNTHETIC, ratio=1.0, seed=3)
    assert sorted(once["group_id"]) == sorted(REAL["group_id"])
    half = build_arm("syn", REAL, SYNTHETIC, ratio=0.5, seed=3)
    assert set(half["image_id"]) < set(once["image_id"])
    assert len(half) == 3
    assert build_arm("syn", REAL, SYNTHETIC, ratio=0.5, seed=3)["image_id"] == half["image_id"]
    others = {tuple(build_arm("syn", REAL, SYNTHETIC, ratio=0.5, seed=seed)["image_id"]) for seed in range(5)}
    assert len(others) > 1


@pytest.mark.parametrize("arm", ["real+duplicates", "real+colour"])
def test_controls_match_the_synthetic_rows_in_number_and_class(arm: str) -> None:
    for ratio in (0.5, 1.0, 2.5, None):
        wanted = build_arm("real+syn", REAL, SYNTHETIC, ratio=ratio, seed=1)
        control = build_arm(arm, REAL, SYNTHETIC, colour=COLOUR, ratio=ratio, seed=1)
        assert Counter(control["label"]) == Counter(wanted["label"])
        assert Counter(control["group_id"]) == Counter(wanted["group_id"])


def test_images_drawn_from_text_alone_are_matched_by_class() -> None:
    drawn = SYNTHETIC.remove_columns("source_id")
    control = build_arm("real+duplicates", REAL, drawn, seed=1)
    assert Counter(control["label"]) == {0: 12, 1: 12}
    assert max(Counter(control["image_id"]).values()) == 4


def test_what_cannot_be_built_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="unknown arm 'real\\+magic'"):
        build_arm("real+magic", REAL)
    with pytest.raises(ConfigError, match="needs synthetic rows"):
        build_arm("syn", REAL)
    with pytest.raises(ConfigError, match="needs colour rows"):
        build_arm("real+colour", REAL, SYNTHETIC)
    with pytest.raises(ConfigError, match=r"ratio: 4.0 x 6 real rows asks for 24"):
        build_arm("syn", REAL, SYNTHETIC, ratio=4.0)
    with pytest.raises(ConfigError, match="cannot be joined"):
        build_arm("real+syn", REAL, table(6, "synthetic", names=["beta", "alpha"]))
