"""The downstream experiment of one split: its cells, what they share, and the paper's architectures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from accelerate import Accelerator
from datasets import Dataset

from skindiff.classification import experiment
from skindiff.classification.arm_names import ARMS
from skindiff.classification.cells import Cell
from skindiff.classification.colour_copies import colour_copies
from skindiff.classification.experiment import Experiment
from skindiff.classification.experiment_config import ExperimentConfig
from skindiff.classification.fine_tuning import ClassifierConfig
from skindiff.corpora.cache import pixels
from skindiff.corpora.phantom import PhantomConfig, load_phantom
from skindiff.corpora.splits import Split, SplitConfig, make_split
from skindiff.errors import ConfigError
from skindiff.measures.skin.tone import image_ita
from skindiff.synthesis.strategies import Synthetic
from skindiff.training.loop_config import LoopConfig
from tests.studies import make_study

SMALL = ExperimentConfig(
    arms=["real"],
    architectures=["test_resnet"],
    classifier=ClassifierConfig(
        image_size=32, keep_weights=False, loop=LoopConfig(steps=2, batch_size=4, learning_rate=1e-3)
    ),
)


@pytest.fixture(scope="module")
def corpus() -> Dataset:
    counts = {"I": 4, "II": 4, "V": 3, "VI": 3}
    return load_phantom(PhantomConfig(3, 32, ["nodule", "ring"], counts))


@pytest.fixture(scope="module")
def split(corpus: Dataset) -> Split:
    return make_split(corpus, SplitConfig(flexible_per_condition=2, validation_fraction=0.2), 0)


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


def redrawn(corpus: Dataset, split: Split, folder: Path, strategy: str = "img2img vanilla") -> Synthetic:
    """Every training image once more, upside down, as if drawn as type VI."""
    train = corpus.select(split.train)
    rows = [
        {**row, "image": row["image"].rotate(180), "skin_type": "VI", "image_id": f"{row['image_id']}-new"}
        | {"source_id": row["image_id"]}
        for row in train
    ]
    table = Dataset.from_list(rows)
    table = table.cast_column("label", train.features["label"]).cast_column("image", train.features["image"])
    name = f"{split.seed}"
    summary = {"planned": len(rows)}
    return Synthetic(
        table, folder / f"synthesis-{name}" / "data", strategy, "tiny@0", f"tiny@0+lora-{name}", summary
    )


def make(
    folder: Path, accelerator: Accelerator, corpus: Dataset, split: Split, config: ExperimentConfig
) -> Experiment:
    study = make_study(folder, corpus, split, config=config, accelerator=accelerator)
    return Experiment(study, config, scenario="iii")


def test_the_arms_are_cells_and_those_without_images_are_trained_once(
    corpus: Dataset, split: Split, accelerator: Accelerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []
    train = experiment.train_classifier

    def counted(*arguments: object) -> object:
        trained.append(len(arguments[2]))
        return train(*arguments)

    monkeypatch.setattr(experiment, "train_classifier", counted)
    config = replace(SMALL, arms=list(ARMS), train_seeds=[0, 1])
    study = make(tmp_path, accelerator, corpus, split, config)
    real = study.cells()
    assert [(cell.key.arm, cell.key.train_seed) for cell in real] == [("real", 0), ("real", 1)]
    synthetic = redrawn(corpus, split, tmp_path)
    cells = study.cells(synthetic)
    rows = len(split.train)
    sizes = {"real": rows, "syn": rows} | dict.fromkeys(
        ("real+syn", "real+duplicates", "real+colour"), 2 * rows
    )
    assert trained == [sizes[arm] for arm in ARMS for _ in config.train_seeds]
    assert [cell.key.arm for cell in cells] == [arm for arm in ARMS for _ in config.train_seeds]
    for cell in cells:
        drawn = cell.key.arm != "real"
        assert cell.key.strategy == ("img2img vanilla" if drawn else None)
        assert cell.key.generator == ("tiny@0" if drawn else None)
        assert cell.key.ratio == (1.0 if drawn else None)
        assert cell.optimiser_steps == 2
        assert list(cell.image_ids) == [corpus[row]["image_id"] for row in split.test["dark"]]
        assert cell.probabilities.shape == (len(split.test["dark"]), 2)
    # The same weights and batches start every arm, and another seed others.
    assert not np.array_equal(real[0].probabilities, real[1].probabilities)


def test_a_split_that_drew_the_same_rows_keeps_its_own_name(
    corpus: Dataset, split: Split, accelerator: Accelerator, tmp_path: Path
) -> None:
    first = make(tmp_path, accelerator, corpus, split, SMALL).cells()
    second = make(tmp_path, accelerator, corpus, replace(split, seed=7), SMALL).cells()
    assert len(list((tmp_path / "stages").iterdir())) == 1
    assert (first[0].key.split_seed, second[0].key.split_seed) == (0, 7)
    assert np.array_equal(first[0].probabilities, second[0].probabilities)


def test_splits_are_seeds_of_one_series(corpus: Dataset, accelerator: Accelerator, tmp_path: Path) -> None:
    found = []
    for seed in (0, 1):
        split = make_split(corpus, SplitConfig(flexible_per_condition=2, validation_fraction=0.2), seed)
        synthetic = redrawn(corpus, split, tmp_path)
        refused = synthetic.dataset.select(range(seed, len(synthetic.dataset)))  # one image of the second
        study = make(tmp_path, accelerator, corpus, split, replace(SMALL, arms=["syn"]))
        found += study.cells(replace(synthetic, dataset=refused, strategy="img2img ti+lora"))
    assert [cell.key.split_seed for cell in found] == [0, 1]
    assert found[0].key.series == found[1].key.series


def test_a_light_test_row_is_a_cell_of_its_own(
    corpus: Dataset, accelerator: Accelerator, tmp_path: Path
) -> None:
    both = make_split(corpus, SplitConfig(scenario="i", flexible_per_condition=2), 0)
    cells = make(tmp_path, accelerator, corpus, both, SMALL).cells()
    by_group: dict[str, Cell] = {cell.key.test_group: cell for cell in cells}
    assert set(by_group) == {"dark", "light"}
    assert set(by_group["light"].skin_types) <= {"I", "II"}


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["vgg16", "vit_base_patch16_224"])
def test_the_large_architectures_of_the_paper_train(
    corpus: Dataset, split: Split, accelerator: Accelerator, tmp_path: Path, architecture: str
) -> None:
    loop = LoopConfig(steps=2, batch_size=2, learning_rate=1e-4)
    config = replace(SMALL, architectures=[architecture], classifier=replace(SMALL.classifier, loop=loop))
    (cell,) = make(tmp_path, accelerator, corpus, split, config).cells()
    assert cell.key.architecture == architecture
    assert cell.optimiser_steps == 2
    assert cell.probabilities.sum(1) == pytest.approx(1, abs=1e-5)


def test_the_published_protocol_selects_on_what_it_tests(
    corpus: Dataset, accelerator: Accelerator, tmp_path: Path
) -> None:
    published = make_split(corpus, SplitConfig(preset="published", flexible_per_condition=2), 0)
    classifier = replace(SMALL.classifier, preset="published", published_epochs=1)
    study = make(tmp_path, accelerator, corpus, published, replace(SMALL, classifier=classifier))
    selection = study._selection(classifier)
    assert selection is not None
    assert len(selection) == len(published.test["dark"])
    assert study._selection(SMALL.classifier) is None


def test_colour_copies_are_the_sources_in_the_target_tone(
    corpus: Dataset, split: Split, tmp_path: Path
) -> None:
    train = corpus.select(split.train)
    copies = colour_copies(train, redrawn(corpus, split, tmp_path).dataset)
    assert list(copies["source_id"]) == list(train["image_id"])
    assert list(copies["label"]) == list(train["label"])
    assert set(copies["skin_type"]) == {"VI"}
    before, after = ([image_ita(image) or 0.0 for image in pixels(table)] for table in (train, copies))
    assert np.median(after) < np.median(before) - 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": ["reel"]}, r"x\.arms: 'reel' is not one of real, syn"),
        ({"arms": []}, r"x\.arms: 'the list' is not one of"),
        ({"train_seeds": [1, 1]}, r"x\.train_seeds: \[1, 1\] must name at least one, and each once"),
        ({"architectures": []}, r"x\.architectures: \[\] must name"),
        ({"architectures": ["vgg61"]}, r"x\.classifier\.architecture is 'vgg61'"),
        ({"bootstrap_replicates": 10}, r"x\.bootstrap_replicates: 10 is too few; use 100 or more"),
    ],
)
def test_settings_that_cannot_work_are_named(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(SMALL, **change).validate("x.")
