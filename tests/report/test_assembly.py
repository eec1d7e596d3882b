import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, Features, Value
from PIL import Image

from skindiff.corpora.schema import corpus_features
from skindiff.evaluation.statistics.summary import summarise
from skindiff.report.assembly import About, write_study
from skindiff.report.class_pictures import (
    DRAWN_COLUMNS,
    REAL_COLUMNS,
    class_lines,
    draw_class_grid,
)
from skindiff.report.class_sections import beside_rows, beside_section, per_class_f1
from skindiff.report.class_study import ClassStudyConfig
from skindiff.report.published.ham import published_few_shot
from skindiff.report.results import Results, player_logs
from skindiff.study import Study
from tests.evaluation.made_up import NAMES, make_cells
from tests.studies import make_study

CONFIG = ClassStudyConfig(include_images=True, output_dir="/somewhere")


def rows(count: int, classes: list[int], side: int = 8, sources: list[str | None] | None = None) -> Dataset:
    features = Features({**corpus_features(NAMES), "source_id": Value("string")})
    rng = np.random.default_rng(count)
    labels = [classes[row % len(classes)] for row in range(count)]
    return Dataset.from_dict(
        {
            "image": [
                Image.fromarray(rng.integers(0, 255, (side, side, 3)).astype(np.uint8)) for _ in range(count)
            ],
            "label": labels,
            "skin_type": [None] * count,
            "image_id": [f"image-{row}" for row in range(count)],
            "group_id": [f"image-{row}" for row in range(count)],
            "corpus": ["made-up"] * count,
            "source_id": sources or [None] * count,
        },
        features=features,
    )


def test_a_grid_has_a_line_per_class_and_pairs_what_was_redrawn(tmp_path: Path) -> None:
    real = rows(40, [0, 1, 2, 3])
    lines = class_lines(real, rows(30, [0, 1, 2]))
    assert [line.name for line in lines] == list(NAMES)
    assert [len(line.drawn) for line in lines] == [DRAWN_COLUMNS] * 3 + [0]
    assert {len(line.real) for line in lines} == {REAL_COLUMNS}
    paired = class_lines(real, rows(2, [0], sources=["image-8", "image-4"]))[0]
    for shown, image_id in zip(paired.real, (8, 4), strict=True):
        assert np.array_equal(shown, np.asarray(real[image_id]["image"]))
    for name in ("first.png", "second.png"):
        draw_class_grid(lines, tmp_path / name)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


def test_f1_by_class_is_averaged_over_runs() -> None:
    (row,) = per_class_f1(make_cells({"real": 1.0}, images=60, split_seeds=(0, 1, 2)))
    assert row["runs"] == 3
    assert list(row["f1"]) == list(NAMES)
    assert 0 < row["f1"]["alpha"]["mean"] < 1
    assert row["f1"]["alpha"]["deviation"] > 0
    (single,) = per_class_f1(make_cells({"real": 1.0}, images=60, split_seeds=(0,)))
    assert single["f1"]["alpha"]["deviation"] is None


def test_every_loss_of_a_log_gets_a_curve() -> None:
    row = {"step": 1, "loss": 2.0, "validation_loss": 1.0}
    assert player_logs([row]) == {"loss": [row]}
    both = player_logs([{"step": 1, "generator_loss": 2.0, "discriminator_loss": 3.0}])
    assert both == {
        "generator": [{"step": 1, "loss": 2.0}],
        "discriminator": [{"step": 1, "loss": 3.0}],
    }


def made_up_study(folder: Path) -> Study:
    return make_study(folder, rows(40, [0, 1, 2, 3]))


def made_up_results(folder: Path) -> Results:
    study, results = made_up_study(folder), Results()
    results.splits = [{"seed": 0, "sizes": {"train": 40}, "dropped": {}, "groups_crossing": 0}]
    results.cells = make_cells({"real": 1.0, "real+syn": 1.5}, images=60, split_seeds=(0, 1))
    synthetic: Any = SimpleNamespace(
        dataset=rows(30, [0, 1, 2]),
        strategy="ddpm",
        label="ddpm",
        named=False,
        generator="made-up@1",
        summary={"planned": 30, "timings": {"seconds": 1.0}},
    )
    (folder / "training_log.json").write_text('[{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]')
    collapse = {"collapse_below": 0.3, "of_real": {"alpha": 0.1}, "collapsed": ["alpha"]}
    (folder / "diversity.json").write_text(json.dumps(collapse))
    results.add_generator(study, synthetic, pipeline=folder / "pipeline")
    return results


def test_the_report_says_what_was_drawn_and_what_was_not(tmp_path: Path) -> None:
    arguments: Any = (CONFIG, About("made_up", "A made-up study"))
    path = write_study(made_up_results(tmp_path), *arguments, replicates=100)
    text = path.read_text()
    assert (tmp_path / "report.html").is_file()
    for words in ("## F1 by class", "## Samples by class", "pictures/samples-ddpm.png"):
        assert words in text
    assert "ddpm generates no image of delta" in text
    assert (tmp_path / "pictures" / "samples-ddpm.png").is_file()
    report = json.loads((tmp_path / "report.json").read_text())
    (row,) = report["synthesis"]
    assert (row["strategy"], row["seed"], row["generator"], row["planned"]) == ("ddpm", 0, "made-up@1", 30)
    assert "ddpm (seed 0) has collapsed on alpha: its images lie less than 30% as far apart" in text
    assert report["per_class_f1"][0]["runs"] == 2
    before = path.read_bytes()
    assert write_study(made_up_results(tmp_path), *arguments, replicates=100).read_bytes() == before


def test_no_picture_of_an_image_leaves_where_that_is_asked(tmp_path: Path) -> None:
    config = replace(CONFIG, include_images=False)
    write_study(made_up_results(tmp_path), config, About("made_up", "A made-up study"), replicates=100)
    assert not list((tmp_path / "pictures").glob("samples*"))
    assert "samples-" not in (tmp_path / "report.md").read_text()


def test_the_papers_numbers_stand_beside_those_of_the_same_arm() -> None:
    cells = make_cells({"real": 1.0, "real+syn": 1.5}, images=60, split_seeds=(0, 1))
    cells = [
        replace(
            cell,
            class_names=("akiec", *NAMES[1:]),
            key=cell.key._replace(test_group="all", strategy="ddpm" if cell.key.strategy else None),
        )
        for cell in cells
    ]
    rows = beside_rows(published_few_shot(), summarise(cells, replicates=100), per_class_f1(cells))
    by_name = {(row["what"], row["score"], row["printed_in"]): row for row in rows}
    ddpm = by_name["real+syn ddpm", "accuracy", "Table 1"]
    assert ddpm["paper"] == 67.14
    assert ddpm["paper_gain"] == pytest.approx(6.57)
    assert ddpm["ours"]["ci_low"] <= ddpm["ours"]["mean"] <= ddpm["ours"]["ci_high"]
    assert by_name["real+syn dcgan", "accuracy", "Table 1"]["ours"] is None
    assert by_name["real dcgan", "f1 akiec", "table in section V-D"]["ours"]["mean"] > 0
    assert by_name["real dcgan", "f1 vasc", "table in section V-D"]["ours"] is None
    text = beside_section(rows, "Paper.").text
    assert "| real+syn dcgan | Table 1 | accuracy | 70.18 | not run | +1.88 |  |" in text
    best = [
        {
            "arm": "real",
            "strategy": None,
            "test_group": "all",
            "best_accuracy": 0.9,
            "auroc_at_best_accuracy": 0.8,
        }
    ]
    assert "90.0" in beside_section(beside_rows(published_few_shot(), [], best_epochs=best), "Paper.").text
