"""Every file of accelerate_configs/: those that can start on any machine are started, the others loaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import ComputeEnvironment, DistributedType

from skindiff.classification.cells import load_cell
from skindiff.config import save_config
from skindiff.generators.adapter import read_adapter
from skindiff.synthesis.writer import load_synthetic
from tests.conftest import REPOSITORY
from tests.recipes.tiny_study import tiny_study
from tests.tiny import save_tiny_pipeline

FOLDER = REPOSITORY / "accelerate_configs"
STARTED = ("cpu", "multi_cpu")
PROCESSES = {"cpu": 1, "multi_cpu": 2, "single_gpu": 1, "multi_gpu": 8, "multi_node": 16}


def launch(name: str, *arguments: str) -> subprocess.CompletedProcess:
    config = str(FOLDER / f"{name}.yaml")
    return subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", "--config_file", config, *arguments],
        cwd=REPOSITORY,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=500,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One study per config that is started, both with the same global batch."""
    root = tmp_path_factory.mktemp("launched")
    config = tiny_study(root / "unused", save_tiny_pipeline(root / "tiny"))
    config.strategies = ["img2img vanilla", "img2img ti+lora"]
    config.synthesis.tone = "none"
    config.experiment.arms = ["real", "syn"]
    config.experiment.architectures = ["test_vit"]  # without batch norm
    save_config(config, root / "study.yaml")
    for name in STARTED:
        arguments = [
            "recipes/fitz_lora.py",
            "--config",
            str(root / "study.yaml"),
            "--output_dir",
            str(root / name),
        ]
        for training in ("generator.textual_inversion", "generator.lora"):
            arguments += [f"--{training}.loop.batch_size", str(4 // PROCESSES[name])]
        # Each process trains classifiers of its own, on whole batches.
        arguments += ["--experiment.classifier.loop.batch_size", "4"]
        finished = launch(name, *arguments)
        assert finished.returncode == 0, finished.stderr[-3000:]
        assert finished.stdout.count(f"report: {root / name / 'report.md'}") == 1
    return {name: root / name for name in STARTED}


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


@pytest.mark.slow
def test_two_processes_draw_what_one_draws(runs: dict[str, Path]) -> None:
    one, two = (only(runs[name], "stages/synthesis-img2img-vanilla-*/data") for name in STARTED)
    assert one.parent.name == two.parent.name
    assert (one / "plan.json").read_bytes() == (two / "plan.json").read_bytes()
    shards = sorted(path.name for path in one.glob("*.parquet"))
    assert len(shards) > 1
    assert shards == sorted(path.name for path in two.glob("*.parquet"))
    for shard in shards:
        assert (one / shard).read_bytes() == (two / shard).read_bytes(), shard


@pytest.mark.slow
def test_two_processes_follow_the_loss_of_one(runs: dict[str, Path]) -> None:
    # The log of the LoRA's adapter goes on from that of textual inversion.
    one, two = (read_adapter(only(runs[name], "stages/lora-*/adapter")).log for name in STARTED)
    assert [(row["stage"], row["step"]) for row in one] == [(row["stage"], row["step"]) for row in two]
    assert {row["stage"] for row in one} == {"textual_inversion", "lora"}
    assert [row["loss"] for row in two] == pytest.approx([row["loss"] for row in one], rel=1e-4)


@pytest.mark.slow
def test_two_processes_plan_the_same_rows_for_what_they_learnt(runs: dict[str, Path]) -> None:
    one, two = (
        load_synthetic(only(runs[name], "stages/synthesis-img2img-ti-lora-*/data")).remove_columns(
            ["image", "generator"]  # the name of the adapter's stage tells the batch per process
        )
        for name in STARTED
    )
    assert one.to_list() == two.to_list()


@pytest.mark.slow
def test_two_processes_score_as_one(runs: dict[str, Path]) -> None:
    one, two = (load_cell(only(runs[name], "stages/cell-real-test_vit-*/dark.npz")) for name in STARTED)
    assert one.image_ids == two.image_ids
    assert (two.probabilities == one.probabilities).all()


@pytest.mark.parametrize("name", sorted(PROCESSES))
def test_accelerate_takes_every_file(name: str) -> None:
    config = load_config_from_file(str(FOLDER / f"{name}.yaml"))
    assert isinstance(config, ClusterConfig)
    assert config.compute_environment == ComputeEnvironment.LOCAL_MACHINE
    several = PROCESSES[name] > 1
    assert config.distributed_type == (DistributedType.MULTI_GPU if several else DistributedType.NO)
    assert config.num_processes == PROCESSES[name]
    assert config.num_machines == (2 if name == "multi_node" else 1)
    assert config.use_cpu == (name == "cpu")
    assert config.mixed_precision == ("no" if "cpu" in name else "bf16")
    given = ["--config_file", str(FOLDER / f"{name}.yaml"), "recipes/fitz_lora.py", "--resume"]
    arguments = _validate_launch_command(launch_command_parser().parse_args(given))[0]
    assert arguments.num_processes == PROCESSES[name]
    assert bool(arguments.multi_gpu) == several
    assert arguments.mixed_precision == config.mixed_precision
    assert (arguments.training_script, arguments.training_script_args) == (given[2], ["--resume"])


def test_no_file_is_left_out() -> None:
    files = [*(f"{name}.yaml" for name in PROCESSES), "slurm.sh"]  # which tests/test_slurm.py runs
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(files)
