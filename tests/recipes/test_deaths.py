"""A hundred deaths of tiny studies and of ``skindiff evaluate``: what is resumed ends in the same bytes."""

import logging
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from recipes import fitz_lora, ham_cdcgan, ham_fewshot
from skindiff.cli import main as skindiff
from skindiff.commands.studies import same_data
from skindiff.config import parse_config
from tests.conftest import REPOSITORY
from tests.recipes.deaths import dies, operations
from tests.recipes.test_fitz_lora_killed import assert_equal_runs
from tests.recipes.tiny_class_study import tiny_fewshot
from tests.recipes.tiny_study import tiny_study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

logger = logging.getLogger(__name__)
Run = Callable[[Path], object]
"""Runs in a folder, or goes on there."""


def _study(model: Path) -> Run:
    return lambda folder: fitz_lora.main(tiny_study(folder, model, resume=True))


def _fewshot() -> Run:
    return lambda folder: ham_fewshot.main(replace(tiny_fewshot(folder), resume=True))


def _evaluate(place: Path, model: Path) -> Run:
    words = [
        "sample", "--generator", str(model), "--mode", "transfer", "--images", "1", "--threads", "1",
        "--corpus.image_size", "32", "--corpus.phantom.images_per_class", "{I: 4, II: 4, V: 3, VI: 3}",
        "--corpus.phantom.classes", "[nodule, ring]", "--synthesis.steps", "4", "--synthesis.tone", "none",
        "--synthesis.detail", "0", "--output_dir", str(place / "transfer"),
    ]  # fmt: skip
    assert skindiff(words) == 0

    def evaluate(folder: Path) -> None:
        status = skindiff([
            "evaluate", "--threads", "1", "--synthetic", str(place / "transfer"),
            *same_data(place / "transfer"), "--experiment.arms", "[real, real+syn, real+duplicates]",
            "--experiment.architectures", "[test_resnet]",
            "--experiment.bootstrap_replicates", "100", "--experiment.classifier.image_size", "32",
            "--experiment.classifier.loop.steps", "2", "--experiment.classifier.loop.batch_size", "4",
            "--experiment.classifier.loop.warmup_steps", "0",
            "--experiment.classifier.loop.validate_every", "1",
            "--output_dir", str(folder), "--resume", "true",
        ])  # fmt: skip
        assert status == 0

    return evaluate


def _smoke(folder: Path) -> object:
    words = ["--output_dir", str(folder), "--resume", "true", "--threads", "1"]
    default = REPOSITORY / "recipes" / "ham_cdcgan" / "smoke.yaml"
    return ham_cdcgan.main(parse_config(ham_cdcgan.HamCdcganConfig, words, default=default))


@pytest.mark.parametrize(
    ("what", "deaths"), [("fitz_lora", 40), ("ham_fewshot", 40), ("evaluate", 20), ("smoke", 5)]
)
def test_deaths_at_any_operation_or_moment_change_nothing(
    what: str, deaths: int, model: Path, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    runs = {
        "fitz_lora": partial(_study, model),
        "ham_fewshot": _fewshot,
        "evaluate": partial(_evaluate, tmp_path, model),
        "smoke": lambda: _smoke,
    }
    run = runs[what]()
    whole = tmp_path / "whole"
    count, seconds = operations(lambda: run(whole))
    chance, died, folders = random.Random(17), 0, 0
    while died < deaths:
        folder, lives = tmp_path / f"run{folders}", 0
        work = partial(run, folder)
        # Each life of a run has less left to do than the one before.
        while lives < 4 and dies(work, chance, max(1, count // 2**lives), seconds / 2**lives):
            lives += 1
        operations(work)
        assert_equal_runs(str(whole), str(folder), (".parquet",))
        died, folders = died + lives, folders + 1
        logger.info("%s: %d deaths, %d runs; %d operations, %.0f s each", what, died, folders, count, seconds)
