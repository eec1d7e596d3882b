import pytest

from skindiff.report.published.fitzpatrick import PUBLISHED, published_rows


def test_every_printed_number_is_there_once() -> None:
    assert len(PUBLISHED) == 3 * 9 * 4 + 12
    assert len({(*row[:6], row.metric) for row in PUBLISHED}) == len(PUBLISHED)


@pytest.mark.parametrize(
    ("scenario", "architecture", "arm", "metric", "percent", "plus_minus", "size"),
    [
        ("i", "vgg16", "real", "accuracy", 70.24, 0.12, 1519),
        ("i", "vit_base_patch16_224", "real+syn", "f1", 78.24, 0.64, 9114),
        ("ii", "resnet18", "syn", "recall", 59.78, 0.08, 6420),
        ("iii", "resnet18", "real+syn", "accuracy", 56.50, 0.15, 7368),
        ("iii", "vit_base_patch16_224", "real", "precision", 61.89, 0.68, 1228),
    ],
)
def test_numbers_stand_where_the_paper_prints_them(
    scenario: str, architecture: str, arm: str, metric: str, percent: float, plus_minus: float, size: int
) -> None:
    found = [
        row
        for row in published_rows(scenario)
        if (row.architecture, row.arm, row.metric) == (architecture, arm, metric)
    ]
    assert [(row.percent, row.plus_minus, row.train_size) for row in found] == [(percent, plus_minus, size)]


def test_the_ablation_is_table_five() -> None:
    rows = published_rows("i", ablation=True)
    assert {row.table for row in rows} == {5}
    assert [row.percent for row in rows if row.test_group == "dark"] == [
        21.22,
        44.64,
        69.64,
        71.43,
        73.21,
        79.57,
    ]
    assert published_rows("ii", ablation=True) == []
