"""The example of a SLURM job, with stand-ins for SLURM's two commands, which start its tasks right here."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from skindiff.config import save_config
from tests.conftest import REPOSITORY
from tests.recipes.tiny_study import tiny_study
from tests.tiny import save_tiny_pipeline

SCRIPT = REPOSITORY / "accelerate_configs" / "slurm.sh"
SCONTROL = "#!/bin/bash\nprintf '127.0.0.1\\nsecond-machine\\n'\n"
SRUN = """#!/bin/bash
shift
for node in $(seq 0 $((SLURM_NNODES - 1))); do
    SLURM_NODEID=$node "$@" >"$SEEN/$node.out" 2>"$SEEN/$node.err" &
done
status=0
for task in $(jobs -p); do wait "$task" || status=$?; done
exit $status
"""
SAY = '#!/bin/bash\nprintf "%s\\n" "$@"\n'


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """A folder that jobs are submitted from: a clone, its environment, and SLURM's commands in ``bin``."""
    for name in ("recipes", "accelerate_configs"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").touch()
    (tmp_path / "bin").mkdir()
    for name, text in {"scontrol": SCONTROL, "srun": SRUN}.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def submit(cluster: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    job = {
        "SLURM_SUBMIT_DIR": str(cluster),
        "SLURM_JOB_NODELIST": "machine[1-2]",
        "SLURM_JOB_ID": str(random.SystemRandom().randrange(10**6)),
        "SLURM_NNODES": "2",
        "SEEN": str(cluster),
        "CUDA_VISIBLE_DEVICES": "",
        "PATH": f"{cluster / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
    }
    return subprocess.run(
        ["bash", str(SCRIPT), *words],
        cwd="/",
        env={**os.environ, **job, **variables},
        capture_output=True,
        text=True,
        timeout=500,
    )


def test_each_machine_is_told_its_place(cluster: Path) -> None:
    (cluster / "bin" / "accelerate").write_text(SAY)
    (cluster / "bin" / "accelerate").chmod(0o755)
    done = submit(cluster, "recipes/x.py", "--seed", "a b", SLURM_GPUS_ON_NODE="8", SLURM_JOB_ID="40007")
    assert done.returncode == 0, done.stderr
    for node in ("0", "1"):
        assert (cluster / f"{node}.out").read_text().splitlines() == [
            *("launch", "--config_file", "accelerate_configs/multi_node.yaml"),
            *("--num_machines", "2", "--num_processes", "16", "--machine_rank", node),
            *("--main_process_ip", "127.0.0.1", "--main_process_port", "20007"),
            *("recipes/x.py", "--seed", "a b", "--resume"),
        ]


def test_a_failed_task_fails_the_job(cluster: Path) -> None:
    done = submit(cluster, "recipes/fitz_lora.py", PATH=f"{cluster / 'bin'}:/usr/bin:/bin")  # no accelerate
    assert done.returncode != 0


@pytest.mark.slow
def test_two_machines_end_in_one_report(cluster: Path) -> None:
    study = tiny_study(cluster / "run", save_tiny_pipeline(cluster / "tiny"))
    study.experiment.arms = ["real", "real+syn"]
    save_config(study, cluster / "study.yaml")
    words = ["recipes/fitz_lora.py", "--config", "study.yaml"]
    done = submit(cluster, *words)
    assert done.returncode == 0, (cluster / "0.err").read_text()[-3000:]
    assert (cluster / "0.out").read_text().count("report: ") == 1
    assert (cluster / "1.out").read_text().count("report: ") == 0
    assert '"processes": 2' in (cluster / "run" / "report.json").read_text()
    assert submit(cluster, *words).returncode == 0  # the job that was cut off, submitted again
