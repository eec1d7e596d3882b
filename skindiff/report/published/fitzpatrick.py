"""The published results of the main paper, to show beside ours, and the form that all papers' results have.

J. Wang, Y. Chung, Z. Ding, J. Hamm, "From Majority to Minority: A Diffusion-based Augmentation for
Underrepresented Groups in Skin Lesion Analysis", 2024, Tables 2 to 5. Numbers in percent, as printed, with
the paper's own +-, whose meaning it does not say. They come from Fitzpatrick17k's seven conditions, Stable
Diffusion 2.1 and classifiers pretrained on ImageNet, with the checkpoint chosen on the test set (by the
authors' code): other corpora and protocols are not expected to give the same numbers.

Two things do not fit together in the paper itself. The dark accuracy of `ti+lora` is 79.57 in Table 5 and
75.00 for the same arm (VGG-16, syn, scenario (i)) in Table 2. And the test set of Table 2 has as many images
of each class, so macro recall must equal accuracy, and does not.
"""

from collections.abc import Sequence
from typing import NamedTuple

CITATION = "Wang et al., From Majority to Minority, 2024"


class Published(NamedTuple):
    """One number of a paper: percent and the printed +-, ``None`` where none is printed.

    ``table`` is 0 for a number outside of the numbered tables; ``place`` then says where it is printed.
    ``class_name`` is that of a score of one class.
    """

    table: int
    scenario: str
    test_group: str
    architecture: str
    strategy: str
    arm: str
    train_size: int | None
    metric: str
    percent: float
    plus_minus: float | None
    paper: str = CITATION
    class_name: str | None = None
    place: str | None = None

    @property
    def printed_in(self) -> str:
        """Where the paper prints the number."""
        return self.place or f"Table {self.table}"


_ARCHITECTURES = ("vgg16", "resnet18", "vit_base_patch16_224")
_ARMS = (("real", 1), ("syn", 5), ("real+syn", 6))
_METRICS = ("accuracy", "precision", "recall", "f1")

_SCENARIOS: dict[int, tuple[str, int, str]] = {
    2: (
        "i",
        1519,
        """
        70.24 0.12 72.49 0.37 69.58 0.30 70.48 0.13
        75.00 0.64 75.77 0.39 73.17 0.29 72.42 0.61
        77.98 0.40 81.51 0.25 78.87 0.23 77.45 0.29
        68.45 0.42 69.42 0.57 69.05 0.42 67.94 0.35
        69.05 0.36 69.57 0.82 69.05 0.42 68.02 0.33
        71.36 0.69 69.02 0.48 68.45 0.40 67.56 0.59
        70.38 0.42 73.72 0.69 70.82 0.39 70.61 0.59
        74.19 0.37 77.89 1.01 74.04 0.85 73.58 0.53
        78.65 0.53 81.57 0.47 79.17 0.84 78.24 0.64
        """,
    ),
    3: (
        "ii",
        1284,
        """
        58.79 0.10 58.90 0.03 58.26 0.05 56.98 0.04
        62.86 0.15 61.49 0.15 63.32 0.13 61.57 0.24
        63.66 0.11 62.80 0.12 64.08 0.08 62.72 0.18
        50.31 0.30 50.45 0.44 51.27 0.30 48.23 0.32
        56.36 0.16 56.58 0.13 59.78 0.08 55.58 0.10
        61.33 0.17 59.75 0.12 62.52 0.17 59.94 0.17
        62.03 0.19 63.09 0.13 62.02 0.04 61.05 0.04
        68.83 0.19 70.07 0.03 68.22 0.25 68.34 0.19
        71.20 0.07 71.61 0.19 71.53 0.01 71.17 0.13
        """,
    ),
    4: (
        "iii",
        1228,
        """
        55.58 0.10 54.60 0.11 51.84 0.29 51.97 0.45
        57.62 0.09 56.62 0.15 55.42 0.20 55.36 0.22
        58.08 0.08 57.36 0.13 55.78 0.17 55.85 0.23
        49.42 0.36 49.79 0.44 48.30 0.23 47.42 0.30
        53.47 0.32 52.39 0.30 53.79 0.30 51.97 0.29
        56.50 0.15 55.72 0.15 55.10 0.16 54.76 0.18
        57.66 0.35 61.89 0.68 55.45 0.36 55.96 0.51
        58.94 0.23 62.79 0.20 55.62 0.22 56.53 0.18
        60.96 0.31 64.57 0.01 57.51 0.29 58.92 0.31
        """,
    ),
}
"""Table: scenario, number of real training images, and the printed rows from top to bottom."""

_ABLATION: tuple[tuple[str, float, float], ...] = (
    ("txt2img vanilla", 18.80, 21.22),
    ("txt2img ti", 35.36, 44.64),
    ("img2img vanilla", 48.21, 69.64),
    ("img2img ti", 46.43, 71.43),
    ("img2img lora", 52.00, 73.21),
    ("img2img ti+lora", 53.57, 79.57),
)
"""Table 5: strategy, accuracy on the light and on the dark flexible subset."""


def _scenario_rows(table: int) -> list[Published]:
    scenario, real_images, printed = _SCENARIOS[table]
    numbers = iter(printed.split())
    return [
        Published(
            table,
            scenario,
            "dark",
            architecture,
            "img2img ti+lora",
            arm,
            real_images * times,
            metric,
            float(next(numbers)),
            float(next(numbers)),
        )
        for architecture in _ARCHITECTURES
        for arm, times in _ARMS
        for metric in _METRICS
    ]


def _ablation_rows() -> list[Published]:
    return [
        Published(5, "i", group, "vgg16", strategy, "syn", None, "accuracy", percent, None)
        for strategy, light, dark in _ABLATION
        for group, percent in (("light", light), ("dark", dark))
    ]


PUBLISHED: tuple[Published, ...] = (
    *(row for table in _SCENARIOS for row in _scenario_rows(table)),
    *_ablation_rows(),
)
"""Every number of Tables 2 to 5."""


def published_rows(scenario: str, *, ablation: bool = False) -> list[Published]:
    """Return the paper's rows on a scenario (``"i"``, ``"ii"`` or ``"iii"``): Tables 2 to 4, or Table 5."""
    return [row for row in PUBLISHED if row.scenario == scenario and (row.table == 5) == ablation]


def printed_gain(row: Published, rows: Sequence[Published], arm: str = "real") -> float | None:
    """Return by how many points a number exceeds the same paper's number for ``arm``, None without one.

    Where the paper has a baseline for each generator (as Ravani et al. have), it is that of the same
    generator; where it prints a baseline twice, the one in the same place.
    """
    baselines = [
        other
        for other in rows
        if other.arm == arm and other.strategy in (row.strategy, "") and _question(other) == _question(row)
    ]
    if row.arm == arm or not baselines:
        return None

    def nearness(other: Published) -> tuple[bool, bool]:
        return other.strategy == row.strategy, other.printed_in == row.printed_in

    return row.percent - max(baselines, key=nearness).percent


def _question(row: Published) -> tuple[str | None, ...]:
    """Return what two numbers must share to be compared."""
    return row.paper, row.scenario, row.test_group, row.architecture, row.metric, row.class_name


def transfer_notes(preset: str) -> list[str]:
    """Return what to know of a study of skin-type transfer, by the preset of its splits."""
    if preset != "published":
        return []
    return ["Preset published splits by image, as the paper did: duplicates may cross into the test set."]
