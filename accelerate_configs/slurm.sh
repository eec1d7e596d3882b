#!/bin/bash
# A study on several machines under SLURM. Adapt the lines below to your cluster, then from the clone's folder:
#   sbatch accelerate_configs/slurm.sh recipes/fitz_lora.py --config recipes/fitz_lora/imagefolder.yaml ...
# With paper.yaml on one machine of four GPUs, which can share its smallest batch of 4:
#   sbatch --nodes 1 --gpus-per-node 4 accelerate_configs/slurm.sh recipes/fitz_lora.py --config ...
# The output folder must be on a file system that all machines share. A job that was cut off goes on where it
# was: submit the same line again.
#SBATCH --job-name=skindiff
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --output=slurm-%j.log
set -euo pipefail
cd "$SLURM_SUBMIT_DIR"
. .venv/bin/activate
machines=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
ADDRESS=${machines%%$'\n'*}
PORT=$((20000 + SLURM_JOB_ID % 20000)) # two jobs may share a machine
PROCESSES=$((SLURM_NNODES * ${SLURM_GPUS_ON_NODE:-1}))
export ADDRESS PORT PROCESSES
srun --kill-on-bad-exit=1 bash -c 'exec accelerate launch --config_file accelerate_configs/multi_node.yaml \
    --num_machines "$SLURM_NNODES" --num_processes "$PROCESSES" --machine_rank "$SLURM_NODEID" \
    --main_process_ip "$ADDRESS" --main_process_port "$PORT" "$@" --resume' skindiff "$@"
