"""One photograph in two sizes on both sides of a split is named, and does not hide the copies."""

from datasets import Dataset
from PIL import Image

from skindiff.measures.copying.crossing import crossing_flags
from skindiff.measures.copying.memorisation import CopyingConfig, Memorisation, memorisation
from skindiff.measures.copying.threshold import THRESHOLD
from skindiff.report.judgement import comparison_text
from skindiff.report.write import Report, report_content
from tests.measures.copying.photographs import drawn, photograph, real

CONFIG = CopyingConfig(planted=2, replicates=100)


def in_another_size(image: Image.Image) -> Image.Image:
    side = image.width
    return image.resize((side * 2 // 3, side * 2 // 3)).resize((side, side))


def searched(held_out: Dataset) -> Memorisation:
    copies = [photograph(seed) for seed in range(5)]
    return memorisation(drawn(copies, [None] * 5), real(range(40)), held_out, CONFIG)


def test_one_photograph_in_two_sizes_is_flagged_and_hides_no_copy() -> None:
    held_out = real(range(100, 160))
    clean = {"images": "lora", "seed": 7, **searched(held_out).to_dict()}
    assert clean["held_out_alike"] == 0
    assert crossing_flags([clean]) == []

    images = [in_another_size(photograph(3)), *held_out["image"][1:]]
    found = searched(Dataset.from_dict({**held_out[:], "image": images}, features=held_out.features))
    assert found.held_out_alike == 1
    assert (found.threshold.value, found.threshold.flagged_groups) == (THRESHOLD, 0)
    assert found.threshold.groups == found.held_out - 1
    assert len(found.report.copies) == 5

    row = {"images": "lora", "seed": 7, **found.to_dict()}
    report = Report("r", "t", {}, [], [], extra={"copying": [clean | {"seed": 1}, row]})
    (said,) = comparison_text(report_content(report, {}))
    assert said.startswith("- Leak, likely: held-out images")
    assert "(1 of 60 in split 7;" in said


def test_older_runs_and_feature_networks_say_nothing() -> None:
    assert crossing_flags([{"seed": 0}, {"seed": 1, "held_out_alike": None}]) == []
