"""Check verdicts on studies in which nothing is to be found: real probes on real features, no generator.

    python scripts/calibrate_verdicts.py                    # 1,000 null studies, 100 with permuted labels
    python scripts/calibrate_verdicts.py --studies 50       # a look
    python scripts/calibrate_verdicts.py --output runs/null # keep the counts, and go on there

A null study has a few splits. In each, both arms are the same real images and one half, by chance, of one
held-out real pool, with its labels: the arms are of equal distribution, so the verdict should be "can't tell"
in about 95 of 100. With permuted labels nothing can be learnt, and there should be no verdict at all. Corpus,
features, probes, cells, summary and verdicts are those of every study; features are computed once.
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skindiff.classification.cells import Cell, CellKey
from skindiff.classification.contrasts import PrimaryContrast
from skindiff.classification.feature_store import FeatureStore
from skindiff.classification.probe import ProbeConfig, ProbeRows, fit_probe
from skindiff.corpora.image_table import ImageTable
from skindiff.corpora.registry import CorpusConfig, prepare_corpus
from skindiff.evaluation.statistics.summary import summarise
from skindiff.evaluation.statistics.verdicts import verdicts
from skindiff.measures.backbones import load_backbone
from skindiff.progress import progress
from skindiff.seeding import numpy_generator

SPLITS, CLASSES, SIZE, REPLICATES = 5, 7, 128, 200
SHARES = (0.15, 0.35, 0.5)
"""Of the groups: training, held-out pool, and test."""
METRIC = "balanced_accuracy"


class Bench:
    """A corpus with its features, cut again and again."""

    def __init__(self, folder: Path) -> None:
        config = CorpusConfig(name="phantom", cache_dir=str(folder))
        config.phantom = replace(config.phantom, images_per_class={"I": 20, "II": 20, "V": 20, "VI": 20})
        dataset = prepare_corpus(config, folder).dataset
        table = ImageTable.from_dataset(dataset)
        self.names, self.labels = table.class_names, table.labels
        self.groups, self.ids = dataset["group_id"][:], dataset["image_id"][:]
        self.features = FeatureStore(folder, load_backbone("lite0", image_size=SIZE))(table)

    def study(self, number: int, *, permuted: bool) -> str:
        """Return the verdict of one study."""
        labels = self.labels
        if permuted:
            labels = labels[numpy_generator("null labels", number).permutation(len(labels))]
        cells = [cell for split in range(SPLITS) for cell in self._cells(labels, number, split)]
        summary = summarise(
            cells, primary=PrimaryContrast(), metrics=[METRIC], replicates=REPLICATES, seed=number
        )
        return str(verdicts(summary, METRIC)[0]["verdict"])

    def _cells(self, labels: NDArray[np.int64], number: int, split: int) -> list[Cell]:
        rng = numpy_generator("null split", number, split)
        names = np.array(sorted(set(self.groups)))
        part = rng.choice(3, size=len(names), p=SHARES)
        of_group = dict(zip(names.tolist(), part.tolist(), strict=True))
        parts = np.array([of_group[group] for group in self.groups])
        train, pool, test = (np.flatnonzero(parts == code) for code in range(3))
        half = rng.permutation(pool)
        halves = {"real": half[: len(pool) // 2], "real+syn": half[len(pool) // 2 : 2 * (len(pool) // 2)]}
        return [self._cell(labels, arm, train, added, test, split) for arm, added in halves.items()]

    def _cell(
        self,
        labels: NDArray[np.int64],
        arm: str,
        train: NDArray[np.int64],
        added: NDArray[np.int64],
        test: NDArray[np.int64],
        split: int,
    ) -> Cell:
        rows = np.concatenate([train, added])
        ones = np.ones(len(rows))
        groups = [self.groups[row] for row in rows]
        problem = ProbeRows(self.features[rows], labels[rows], groups, ones, ones, float(len(train)))
        probe = fit_probe(ProbeConfig(), problem, len(self.names), split)
        return Cell(
            key=CellKey("null", "all", None, None, arm, None, "probe:lite0", "grouped", split, 0),
            class_names=self.names,
            image_ids=tuple(self.ids[row] for row in test),
            group_ids=tuple(self.groups[row] for row in test),
            skin_types=(None,) * len(test),
            labels=labels[test],
            probabilities=probe.predict(self.features[test, 0]),
            optimiser_steps=0,
        )


def count(bench: Bench, studies: Sequence[int], kept: Path | None, *, permuted: bool) -> Counter[str]:
    """Return how many studies have which verdict, from where they are kept."""
    name = "permuted" if permuted else "null"
    file = kept / f"{name}.json" if kept else None
    found: dict[str, str] = json.loads(file.read_text()) if file and file.is_file() else {}
    for number in progress(studies, desc=f"{name} studies", unit="study"):
        if str(number) not in found:
            found[str(number)] = bench.study(number, permuted=permuted)
            if file and number % 10 == 9:
                file.write_text(json.dumps(found))
    if file:
        file.write_text(json.dumps(found))
    return Counter(found[str(number)] for number in studies)


def main() -> None:
    """Count verdicts and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--studies", type=int, default=1000, help="null studies")
    parser.add_argument("--permuted", type=int, default=100, help="studies with permuted labels")
    parser.add_argument("--output", type=Path, help="folder where verdicts are kept")
    arguments = parser.parse_args()
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(arguments.output or Path(folder))
        for permuted, studies in ((False, arguments.studies), (True, arguments.permuted)):
            words = count(bench, range(studies), arguments.output, permuted=permuted)
            said = ", ".join(f"{word} {100 * number / studies:.1f}%" for word, number in words.most_common())
            print(f"{'permuted labels' if permuted else 'null studies'}, {studies}: {said}", flush=True)


if __name__ == "__main__":
    main()
