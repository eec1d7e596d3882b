"""What ``skindiff evaluate`` compares synthetic images with, and what it refuses before anything is
loaded."""

import json
from pathlib import Path

import pytest
from datasets import Dataset

from skindiff.classification.experiment_config import ExperimentConfig
from skindiff.classification.provenance import images_shown, with_sources_of
from skindiff.commands.evaluate import EvaluateCommand, main
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
    assert "6 groups of held-out images are too few to find out how alike two real images can be" in note
    assert copies("held-out").notes() == []


def test_settings_that_cannot_work_are_refused() -> None:
    arms = ExperimentConfig(arms=["real"])
    EvaluateCommand(experiment=arms).validate()
    with pytest.raises(ConfigError, match="fidelity: there are no synthetic images to score"):
        EvaluateCommand(experiment=arms, fidelity=FidelityConfig()).validate()
    with pytest.raises(ConfigError, match="synthetic: 2 data sets for 3 splits"):
        EvaluateCommand(synthetic=["a", "b"], split_seeds=[0, 1, 2]).validate()
    with pytest.raises(ConfigError, match=r"split_seeds: .* each once"):
        EvaluateCommand(experiment=arms, split_seeds=[0, 0]).validate()
    EvaluateCommand(synthetic=["a", "b"], split_seeds=[0, 1]).validate()
    EvaluateCommand(synthetic="a").validate()
    with pytest.raises(ConfigError, match=r"copying\.confidence"):
        EvaluateCommand(experiment=arms, copying=CopyingConfig(confidence=1.0)).validate()


def test_several_splits_are_one_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = {
        "output_dir": str(tmp_path / "run"),
        "corpus.image_size": 32,
        "corpus.phantom.image_size": 32,
        "corpus.phantom.classes": ["nodule", "ring"],
        "corpus.phantom.images_per_class": {"I": 8, "V": 8},
        "split_seeds": [0, 1, 2],
        "experiment.arms": ["real", "real+geometric"],
        "experiment.bootstrap_replicates": 100,
    }
    given = [
        (f"--{name}", value if isinstance(value, str) else json.dumps(value)) for name, value in words.items()
    ]
    assert main([word for pair in given for word in pair]) == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert [row["seed"] for row in report["splits"]] == [0, 1, 2]
    assert {row["cells"] for row in report["summary"]} == {3}
    assert "3 runs per arm" in capsys.readouterr().out
