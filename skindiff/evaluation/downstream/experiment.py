"""The downstream question: a classifier per arm, architecture and seed, and its predictions on the tests."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from datasets import Dataset, Features, Image, Value
from PIL import Image as PILImage

from skindiff.corpora.cache import pixels
from skindiff.corpora.schema import REAL_COLUMNS, corpus_features
from skindiff.corpora.splits import Split
from skindiff.errors import ConfigError
from skindiff.evaluation.downstream.arms import ARM_NAMES, ARMS, build_arm, is_arm, parse_arm
from skindiff.evaluation.downstream.best_epoch import best_epoch
from skindiff.evaluation.downstream.cells import Cell, CellKey, load_cell, save_cell
from skindiff.runs import RunFolder
from skindiff.synthesis.colour_transfer import transfer_colour
from skindiff.synthesis.strategies import Synthetic
from skindiff.training.classifier import predict, train_classifier
from skindiff.training.classifier_config import ClassifierConfig, settings_of
from skindiff.training.classifier_data import Augment, ImageTable


@dataclass
class ExperimentConfig:
    """Which classifiers are trained on which arms."""

    arms: list[str] = field(default_factory=lambda: list(ARMS))
    """Arms to compare: real, syn, real+syn, real+duplicates, real+colour; each may be followed by +geometric
    (augmented on the fly) and +weighted (classes drawn equally often)."""
    architectures: list[str] = field(default_factory=lambda: ["resnet18"])
    """timm names; the paper's are vgg16, resnet18 and vit_base_patch16_224."""
    train_seeds: list[int] = field(default_factory=lambda: [0])
    """Seeds of initial weights, batches and augmentations, each shared by all arms."""
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    """Everything else about the classifiers; its architecture is overruled by architectures."""
    geometric: Augment = "geometric"
    """What +geometric arms do instead of classifier.augment; medmnist is S3's."""
    test_curve: bool = False
    """Score the test images too at every validation, and report the best of these scores beside the selected
    one, as S2 does. Nothing is selected by them."""
    bootstrap_replicates: int = 2000
    """Replicates of the bootstrap over groups and seeds."""

    def validate(self, path: str = "") -> None:
        """Raise :class:`ConfigError` on the first setting that cannot work."""
        unknown = [arm for arm in self.arms if not is_arm(arm)]
        if unknown or not self.arms:
            raise ConfigError(
                f"{path}arms: {unknown[0] if unknown else 'the list'!r} is not one of {ARM_NAMES}"
            )
        for arm in self.arms:
            parse_arm(arm).settings(self.classifier, self.geometric, path)
        for name in ("architectures", "train_seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ConfigError(f"{path}{name}: {values} must name at least one, and each once")
        if self.bootstrap_replicates < 100:
            raise ConfigError(
                f"{path}bootstrap_replicates: {self.bootstrap_replicates} is too few; use 100 or more"
            )
        for architecture in self.architectures:
            replace(self.classifier, architecture=architecture).validate(f"{path}classifier.")


class Experiment:
    """The cells of one split.

    Args:
        run: each cell is a stage of it.
        accelerator: trains; batch norm makes results depend on the number of processes.
        config: arms, architectures, seeds.
        corpus: the whole table that ``split`` indexes.
        split: of that table.
        scenario: name for the report.
        data_key: fingerprint of the corpus.

    Attributes:
        logs: training logs of the first training seed, by architecture and arm.
        best_epochs: where ``test_curve`` is set, a row for each cell: its key, and the test scores of its
            best epoch (see :func:`skindiff.evaluation.downstream.best_epoch.best_epoch`).
    """

    def __init__(
        self,
        run: RunFolder,
        accelerator: Accelerator,
        config: ExperimentConfig,
        corpus: Dataset,
        split: Split,
        *,
        scenario: str,
        data_key: str,
    ) -> None:
        self.run, self.accelerator, self.config, self.scenario = run, accelerator, config, scenario
        self.split, self.data_key = split, data_key
        self.corpus = corpus
        self.train = corpus.select(split.train)
        self.validation = (
            ImageTable.from_dataset(corpus.select(split.validation)) if split.validation else None
        )
        self.logs: dict[str, list[dict[str, float]]] = {}
        self.best_epochs: list[dict[str, Any]] = []
        self.tests = {group: corpus.select(rows) for group, rows in split.test.items()}

    def cells(self, synthetic: Synthetic | None, strategy: str | None) -> list[Cell]:
        """Train and score every arm; arms without synthetic images are trained once for all strategies.

        Without ``synthetic`` these are the arms of real rows alone. With it they are all arms, those of real
        rows as they were found before, with no strategy in their keys.
        """
        found = []
        for arm in self.config.arms:
            needs_synthetic = parse_arm(arm).needs_synthetic
            if needs_synthetic and synthetic is None:
                continue
            own = strategy if needs_synthetic else None
            for architecture in self.config.architectures:
                for train_seed in self.config.train_seeds:
                    found += self._cell(arm, architecture, train_seed, synthetic if own else None, own)
        return found

    def _cell(
        self, arm: str, architecture: str, train_seed: int, synthetic: Synthetic | None, strategy: str | None
    ) -> list[Cell]:
        config = parse_arm(arm).settings(self.config.classifier, self.config.geometric)
        config = replace(config, architecture=architecture)
        # Watching the tests changes a stage's log alone, and stages without it keep the names they had.
        watched = self.tests if self.config.test_curve else {}
        stage = self.run.stage(
            f"cell-{arm.replace('+', '-')}-{architecture}",
            arm=arm,
            classifier=settings_of(config),
            seed=train_seed,
            data=self.data_key,
            train=list(self.train["image_id"]),
            validation=self.split.validation,
            test=self.split.test,
            synthetic=synthetic.folder.parent.name if synthetic else None,
            **({"watched": sorted(watched)} if watched else {}),
        )
        # Only the seeds may tell the keys of splits apart: the rows of `summary` are means over splits.
        keys = {
            group: CellKey(
                scenario=self.scenario,
                test_group=group,
                generator=synthetic.base if synthetic else None,
                strategy=strategy,
                arm=arm,
                ratio=round(synthetic.summary["planned"] / len(self.train), 4) if synthetic else None,
                architecture=architecture,
                preset=config.preset,
                split_seed=self.split.seed,
                train_seed=train_seed,
            )
            for group in self.tests
        }
        if not stage.done:
            names = tuple(self.corpus.features["label"].names)
            table, selection = self._table(arm, synthetic), self._selection(config)
            model = train_classifier(
                self.accelerator, config, table, selection, names, stage.folder, train_seed,
                {group: ImageTable.from_dataset(test) for group, test in watched.items()},
            )  # fmt: skip
            steps = int(_log(stage.folder)[-1]["step"])
            for group, test in self.tests.items():
                cell = self._score(keys[group], predict(self.accelerator, model, test), test, steps)
                if self.accelerator.is_main_process:
                    save_cell(cell, stage.folder / f"{group}.npz")
            stage.finish()
        log = _log(stage.folder)
        if train_seed == self.config.train_seeds[0]:
            self.logs[f"{architecture} {arm}"] = log
        for group in watched:
            row = {**keys[group]._asdict(), **best_epoch(log, group)}
            self.best_epochs += [row] if row not in self.best_epochs else []
        # Another split seed can have drawn the very same rows, and so share the stage of its real arm.
        return [replace(load_cell(stage.folder / f"{group}.npz"), key=key) for group, key in keys.items()]

    def _selection(self, config: ClassifierConfig) -> ImageTable | None:
        """Return what the weights are chosen on: validation, or the test set as in the paper's code."""
        if config.preset == "paper" and self.validation is None:
            # In its split that is the minority group, which stands first.
            return ImageTable.from_dataset(next(iter(self.tests.values())))
        return self.validation

    def _table(self, arm: str, synthetic: Synthetic | None) -> ImageTable:
        drawn = synthetic.dataset if synthetic else None
        colour = colour_copies(self.train, drawn) if arm == "real+colour" and drawn is not None else None
        rows = build_arm(arm, self.train, drawn, colour=colour, seed=self.split.seed)
        return ImageTable.from_dataset(rows)

    def _score(self, key: CellKey, probabilities: np.ndarray, test: Dataset, steps: int) -> Cell:
        return Cell(
            key=key,
            class_names=tuple(test.features["label"].names),
            image_ids=tuple(test["image_id"]),
            group_ids=tuple(test["group_id"]),
            skin_types=tuple(test["skin_type"]),
            labels=np.asarray(test["label"], dtype=np.int64),
            probabilities=probabilities.astype(np.float64),
            optimiser_steps=steps,
        )


def colour_copies(real: Dataset, synthetic: Dataset) -> Dataset:
    """Return, for every synthetic row with a source, that source recoloured to the row's skin type.

    The non-generative control: same sources, same target types, colour statistics of the literature
    (:mod:`skindiff.synthesis.colour_transfer`) in place of a generator.

    Args:
        real: training rows with ``image``, ``skin_type``, ``image_id``.
        synthetic: rows drawn from them; rows without a source are left out.
    """
    place = {image_id: row for row, image_id in enumerate(real["image_id"])}
    pairs = [
        (s, t) for s, t in zip(synthetic["source_id"], synthetic["skin_type"], strict=True) if s in place
    ]
    wanted = sorted(dict.fromkeys(pairs), key=lambda pair: (place[pair[0]], pair[1]))
    features = Features({**corpus_features(real.features["label"].names), "source_id": Value("string")})
    if not wanted:
        return Dataset.from_dict({name: [] for name in features}, features=features)
    rows = [place[source] for source, _ in wanted]
    columns: Mapping[str, list] = (
        real.select_columns(list(set(REAL_COLUMNS) - {"image"})).select(rows).to_dict()
    )
    recoloured = transfer_colour(pixels(real, rows), columns["skin_type"], [target for _, target in wanted])
    table = {
        **columns,
        "image": [PILImage.fromarray(image) for image in recoloured],
        "skin_type": [target for _, target in wanted],
        "image_id": [f"{source}-colour-{target}" for source, target in wanted],
        "source_id": [source for source, _ in wanted],
        "corpus": ["colour"] * len(wanted),
    }
    return Dataset.from_dict(table, features=features).cast_column("image", Image())


def _log(folder: Path) -> list[dict[str, float]]:
    log: list[dict[str, float]] = json.loads((folder / "training_log.json").read_text(encoding="utf-8"))
    return log
