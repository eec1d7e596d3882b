import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from skindiff.errors import ConfigError, TrainingError
from skindiff.training.ddpm import DDPMConfig, build_ddpm, paper_ddpm, train_ddpm
from tests.tiny_generators import CLASSES, tiny_ddpm_config, tiny_table
from tests.training.ddpm_run import run

REPOSITORY = Path(__file__).resolve().parents[2]
# Two processes on a CPU: `--cpu --num_processes 2` starts one only, --multi_gpu starts two.
TWO_PROCESSES = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2")
TWO_PROCESSES += ("--num_machines", "1", "--main_process_port", "0", "--mixed_precision", "no")
TWO_PROCESSES += ("--dynamo_backend", "no")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _launch(folder: Path, *options: str, launcher: tuple[str, ...] = ()) -> int:
    command = [sys.executable, *launcher, "-m", "tests.training.ddpm_run", str(folder), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, check=False)
    return done.returncode


def test_every_weight_is_trained_and_the_classes_are_learnt(tmp_path: Path) -> None:
    config = tiny_ddpm_config(steps=100, batch_size=16, learning_rate=3e-3, ema_decay=0.9)
    before = build_ddpm(config, CLASSES).unet.state_dict()

    pipeline = train_ddpm(Accelerator(cpu=True), config, tiny_table(), tmp_path, seed=0)

    log = json.loads((tmp_path / "training_log.json").read_text())
    assert len(log) == 100
    assert log[-1]["validation_loss"] < 0.5
    for name, weight in pipeline.unet.state_dict().items():
        assert not torch.equal(weight, before[name]), name
    generators = [torch.Generator().manual_seed(seed) for seed in range(4)]
    images = pipeline([0, 0, 1, 1], generator=generators, steps=10, output_type="np").images
    redness = (images[..., 0] - images[..., 2]).mean((1, 2))
    assert redness[:2].min() > 0 > redness[2:].max()


@pytest.mark.slow
def test_a_killed_training_ends_in_the_same_bytes(tmp_path: Path) -> None:
    assert _launch(tmp_path / "cut", "--kill_at_step", "3") == -9
    assert (tmp_path / "cut" / "checkpoint-2").is_dir()

    run(tmp_path / "cut")
    run(tmp_path / "whole")

    files = _files(tmp_path / "cut")
    assert files == _files(tmp_path / "whole")
    assert {"training_log.json", "pipeline/model_index.json"} < files.keys()
    assert not list((tmp_path / "cut").glob("checkpoint-*"))


@pytest.mark.slow
def test_two_processes_follow_one(tmp_path: Path) -> None:
    assert _launch(tmp_path / "two", "--batch_size", "2", launcher=TWO_PROCESSES) == 0
    run(tmp_path / "one")

    losses = [
        [row["loss"] for row in json.loads((tmp_path / name / "training_log.json").read_text())]
        for name in ("one", "two")
    ]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_grey_images_need_one_channel(tmp_path: Path) -> None:
    grey, config = tiny_table(grey=True), tiny_ddpm_config(steps=1)
    with pytest.raises(ConfigError, match="channels is 3, but the corpus is grey"):
        train_ddpm(Accelerator(cpu=True), config, grey, tmp_path, seed=0)
    with pytest.raises(ConfigError, match="channels is 1, but the corpus is in colour"):
        train_ddpm(Accelerator(cpu=True), replace(config, channels=1), tiny_table(), tmp_path, seed=0)

    pipeline = train_ddpm(Accelerator(cpu=True), replace(config, channels=1), grey, tmp_path, seed=0)

    assert pipeline("one", steps=1).images[0].mode == "L"


def test_a_class_without_an_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no training image of two"):
        train_ddpm(Accelerator(cpu=True), tiny_ddpm_config(), tiny_table().select([0, 2]), tmp_path, seed=0)


@pytest.mark.parametrize(("settings", "message"), [
    ({"channels": 2}, "g.channels is 2"),
    ({"patch": 3}, "g.patch: 3 does not divide g.image_size=32"),
    ({"class_dropout": 1.0}, "g.class_dropout is 1.0"),
    ({"min_snr_gamma": -1.0}, "g.min_snr_gamma is -1.0"),
    ({"timesteps": 1}, "g.timesteps is 1"),
])  # fmt: skip
def test_settings_that_cannot_work_are_named_with_their_path(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DDPMConfig(**settings).validate("g.")


def test_the_paper_predicts_noise_without_weighting() -> None:
    config = paper_ddpm(image_size=32)
    config.validate()
    assert (config.prediction, config.min_snr_gamma, config.image_size) == ("epsilon", 0.0, 32)
