"""What ``skindiff evaluate`` compares synthetic images with, and what it refuses before anything is
loaded."""

import json
from pathlib import Path

import pytest
from datasets import Dataset

from skindiff.classification.experiment_config import ExperimentConfig
from skindiff.classification.provenance import images_shown, with_sources_of
from skindiff.commands.evaluate import EvaluateCommand
from skindiff.corpora.splits import Split
from skindiff.errors import ConfigError
from skindiff.measures.copying.memorisation import CopyingConfig
from skindiff.measures.fidelity.scores import FidelityConfig
from skindiff.report.measurements import Measurements
from skindiff.synthesis.strategies import Synthetic
from tests.measures.copying.photographs import drawn, photograph, real

SPLIT = Split(0, [0, 1, 2, 3], [4], {"all": [5, 6, 7]}, {}, 0)


@pytest.fixture(scope="module")
def corpus() -> Dataset:
    """Ten photographs: four of training, one to select on, three tested, two in no part."""
    return real(range(10))


def two(sources: list[str | None]) -> Dataset:
    return drawn([photograph(200), photograph(201)], sources)


def test_what_taught_the_generator_or_was_redrawn_may_have_been_copied(
    corpus: Dataset, tmp_path: Path
) -> None:
    record = tmp_path / "trained_on.json"
    assert images_shown(two([None, None]), corpus, SPLIT, record)["image_id"][:] == [
        f"photo-{row}" for row in range(4)
    ]
    record.write_text(json.dumps({"image_ids": ["photo-8", "of another corpus"]}))
    shown = images_shown(two(["photo-9", "photo-1"]), corpus, SPLIT, record)["image_id"][:]
    assert shown == [f"photo-{row}" for row in (0, 1, 2, 3, 8, 9)]


def test_a_source_that_the_corpus_lacks_is_none(corpus: Dataset, tmp_path: Path) -> None:
    def traced(sources: list[str | None]) -> tuple[list[str | None], int]:
        found, lost = with_sources_of(Synthetic(two(sources), tmp_path, "drawn", "g", "g", {}), corpus)
        return found.dataset["source_id"][:], lost

    assert traced(["photo-1", None]) == (["photo-1", None], 0)
    assert traced(["photo-1", "source-000001"]) == (["photo-1", None], 1)
    assert traced(["source-000000", "source-000001"]) == ([None, None], 2)


def test_a_default_threshold_is_said() -> None:
    def copies(source: str) -> Measurements:
        limit = {"source": source, "groups": 6, "value": 0.93}
        return Measurements(copying=[{"images": "drawn", "seed": 0, "threshold": limit}])

    (note,) = copies("default").notes()
    assert "6 groups of held-out images are too few to set the threshold" in note
    assert copies("held-out").notes() == []


def test_settings_that_cannot_work_are_refused() -> None:
    arms = ExperimentConfig(arms=["real"])
    EvaluateCommand(experiment=arms).validate()
    with pytest.raises(ConfigError, match="fidelity: there are no synthetic images to score"):
        EvaluateCommand(experiment=arms, fidelity=FidelityConfig()).validate()
    with pytest.raises(ConfigError, match=r"copying\.confidence"):
        EvaluateCommand(experiment=arms, copying=CopyingConfig(confidence=1.0)).validate()
