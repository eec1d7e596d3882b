"""The published tables of the class studies: complete, with sources, and their oddities as arithmetic."""

import pytest

from skindiff.report.published.fitzpatrick import PUBLISHED, Published, printed_gain
from skindiff.report.published.ham import published_detection, published_few_shot
from skindiff.report.published.medmnist import published_augment, published_subsets

DATASETS = (
    "pathmnist", "dermamnist", "octmnist", "pneumoniamnist", "breastmnist", "organamnist", "organcmnist",
    "organsmnist",
)  # fmt: skip


def find(rows: list[Published], **wanted: object) -> Published:
    (found,) = [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]
    return found


def test_every_printed_number_is_there_once() -> None:
    subsets = [row for name in DATASETS for row in published_subsets(name)]
    augment = [row for name in DATASETS for row in published_augment(name)]
    assert len(subsets) == 8 * 8 - 4  # two data sets without the cGAN
    assert len(augment) == 8 * 2 * (4 + 3 + 3)
    assert len(published_few_shot()) == 6 + 6 + 2 * 2 * 7
    assert len(published_detection()) == 9
    for rows in (subsets, augment, published_few_shot(), published_detection()):
        keys = [row._replace(percent=0.0) for row in rows]
        assert len(set(keys)) == len(keys)
        assert all(0 < row.percent <= 100 for row in rows)
    assert published_subsets("chestmnist") == published_augment("chestmnist") == []


@pytest.mark.parametrize(
    ("strategy", "auroc", "accuracy", "size"),
    [
        ("", 87.2, 80.7, 546),
        ("fc_autoencoder", 88.5, 83.3, 846),
        ("fc_cvae", 90.1, 86.4, 846),
        ("fc_gan", 85.0, 79.6, 846),
    ],
)
def test_the_four_columns_of_s2(strategy: str, auroc: float, accuracy: float, size: int) -> None:
    rows = [row for row in published_subsets("breastmnist") if row.strategy == strategy]
    assert [(row.metric, row.percent, row.train_size) for row in rows] == [
        ("auroc", auroc, size),
        ("accuracy", accuracy, size),
    ]
    assert {row.printed_in for row in rows} == {"Table 2"}


@pytest.mark.parametrize(
    ("table", "strategy", "arm", "auroc", "accuracy"),
    [
        (2, "", "real", 88.35, 82.69),
        (2, "", "real+weighted", 86.45, 84.62),
        (2, "", "real+geometric", 82.14, 78.21),
        (2, "", "real+geometric+weighted", 83.02, 67.95),
        (3, "cvae_conv", "real+syn", 87.49, 78.85),
        (3, "joint_vae", "real+syn", 84.02, 77.56),
        (3, "attention_gan", "real+syn", 83.31, 80.77),
        (4, "cvae_conv", "real+syn+weighted", 85.69, 82.69),
        (4, "joint_vae", "real+syn+weighted", 86.93, 80.13),
        (4, "attention_gan", "real+syn+weighted", 89.33, 85.9),
    ],
)
def test_breastmnist_in_s3(table: int, strategy: str, arm: str, auroc: float, accuracy: float) -> None:
    rows = published_augment("breastmnist")
    for metric, percent in (("auroc", auroc), ("accuracy", accuracy)):
        found = find(rows, strategy=strategy, arm=arm, metric=metric)
        assert (found.table, found.percent) == (table, percent)


def test_gains_are_against_the_papers_own_baseline() -> None:
    rows = published_few_shot()
    gains = {
        (row.strategy, row.printed_in): round(printed_gain(row, rows) or 0, 2)
        for row in rows
        if (row.arm, row.metric) == ("real+syn", "accuracy")
    }
    assert gains == {
        ("cvae_resnet", "Table 1"): 4.09,
        ("dcgan", "Table 1"): 1.88,
        ("ddpm", "Table 1"): 6.57,
        ("dcgan", "abstract and section VI-A"): 0.6,
    }
    df = find(rows, strategy="dcgan", arm="real+syn", class_name="df")
    assert printed_gain(df, rows) == pytest.approx(18.9 - 31.5)
    subset = published_subsets("breastmnist")
    cvae = find(subset, strategy="fc_cvae", metric="accuracy")
    assert printed_gain(cvae, subset) == pytest.approx(5.7)
    assert printed_gain(find(subset, arm="real", metric="accuracy"), subset) is None
    augment = published_augment("breastmnist")
    weighted = find(augment, strategy="attention_gan", arm="real+syn+weighted", metric="accuracy")
    assert printed_gain(weighted, augment, "real+weighted") == pytest.approx(1.28)  # Table 5: +1.41
    assert printed_gain(PUBLISHED[0], PUBLISHED) is None


def counts_of(percent: float, total: int, digits: int) -> list[int]:
    """Return the counts out of ``total`` that print as ``percent``, rounded or cut off."""
    size = 10**digits
    wanted = round(percent * size)
    shares = {count: 100 * count / total * size for count in range(total + 1)}
    return [count for count, share in shares.items() if wanted in (round(share), int(share))]


def test_what_the_notes_say_about_impossible_percentages() -> None:
    fractions = {"nv": (26, 41), "bcc": (11, 37), "mel": (5, 43), "bkl": (5, 31)}
    for row in published_detection():
        if row.metric == "detection":
            assert counts_of(row.percent, 100, 2) == []
            smallest = next(total for total in range(1, 101) if counts_of(row.percent, total, 2))
            assert (counts_of(row.percent, smallest, 2)[0], smallest) == fractions[row.class_name or ""]
    accuracies = {row.percent: counts_of(row.percent, 156, 1) for row in published_subsets("breastmnist")
                  if row.metric == "accuracy"}  # fmt: skip
    assert accuracies == {80.7: [126], 83.3: [130], 86.4: [], 79.6: []}
    assert all(
        counts_of(row.percent, 156, 2) for row in published_augment("breastmnist") if row.metric == "accuracy"
    )
    augmented = [
        row.percent for row in published_few_shot()
        if (row.strategy, row.arm) == ("cvae_resnet", "real+syn") and row.class_name
    ]  # fmt: skip
    assert sum(augmented) / 7 == pytest.approx(38.26, abs=0.01)
