"""How much faster do several processes encode images, with one thread each?

    python scripts/bench_encoding.py [--processes "[1, 2]"] [--images 512] [--turns 3] [--output bench.json]

Each turn starts the processes anew, and times what a training does before its first step, once weights are
loaded and warm: every process encodes its share of the shards, and all wait for the last. Turns of one and of
several processes alternate. Where other work runs on the machine the clock tells little; the processor's
seconds of the busiest process are then what its share costs, and the figure to look at.
"""

import skindiff  # isort: skip  # noqa: F401  # before torch: it says how threads wait

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import torch
from datasets import Dataset, Features
from datasets import Image as ImageFeature
from jsonargparse import auto_cli
from PIL import Image

from skindiff.errors import ConfigError
from skindiff.generators.text_to_image.loading import architecture_of, load_pipeline
from skindiff.launch import start_accelerator
from skindiff.training.encoding import encode_tables

CONFIG = Path(__file__).parents[1] / "accelerate_configs" / "multi_cpu.yaml"


@dataclass
class Bench:
    """What is encoded, by how many."""

    processes: list[int] = field(default_factory=lambda: [1, 2])
    """Numbers of processes; the first is what the others are compared with."""
    images: int = 512
    """How many images are encoded, each with its mirror image."""
    model: str = "bundled"
    """The pipeline whose autoencoder encodes: bundled, or a folder."""
    size: int | None = None
    """Height and width of the images in pixels; null is what the model was made for."""
    batch_size: int = 16
    """Images of a batch; processes share batches, or several of them together."""
    turns: int = 3
    """Turns of each number of processes."""
    output: str | None = None
    """File of the figures as JSON; none when left out."""
    place: str | None = None
    """Folder of a turn, for the processes that this script starts."""


def encode(config: Bench, folder: Path) -> None:
    """Encode a share in one of the processes, and leave in the folder what it took."""
    accelerator = start_accelerator(1, output_dir=folder)
    pipeline = load_pipeline(config.model, device=accelerator.device)
    architecture = architecture_of(pipeline)
    size = config.size or architecture.image_size(pipeline)
    images = random_images(config.images, size)
    architecture.encode_moments(pipeline, torch.zeros(config.batch_size, 3, size, size))  # warm
    accelerator.wait_for_everyone()
    clock, processor = time.perf_counter(), time.process_time()
    encode_tables(accelerator, pipeline, [images], folder, size=size, flip=True, batch_size=config.batch_size)
    took = {"seconds": time.perf_counter() - clock, "processor_seconds": time.process_time() - processor}
    (folder / f"process-{accelerator.process_index}.json").write_text(json.dumps(took), encoding="utf-8")
    accelerator.end_training()


def random_images(count: int, size: int) -> Dataset:
    """Return images of noise; what is on them makes no difference to an autoencoder's speed."""
    generator = np.random.default_rng(0)
    pictures = [
        Image.fromarray(generator.integers(0, 256, (size, size, 3), dtype=np.uint8)) for _ in range(count)
    ]
    return Dataset.from_dict({"image": pictures}, features=Features({"image": ImageFeature()}))


def measure(config: Bench, processes: int) -> dict[str, float]:
    """Return the seconds of one turn: by the clock, and of the processor in the busiest process."""
    launcher = ["-m", "accelerate.commands.launch", "--config_file", str(CONFIG)]
    launcher += ["--num_processes", str(processes), "--main_process_port", "0"]
    settings = {**asdict(config), "processes": [processes], "output": None}
    with tempfile.TemporaryDirectory() as place:
        words = [
            f"--{name}={value if isinstance(value, str) else json.dumps(value)}"
            for name, value in {**settings, "place": place}.items()
        ]
        command = [sys.executable, *(launcher if processes > 1 else []), __file__, *words]
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        files = sorted(Path(place).glob("process-*.json"))
        took = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    assert len(took) == processes
    return {name: max(one[name] for one in took) for name in took[0]}


def main(config: Bench) -> dict[int, list[dict[str, float]]]:
    """Measure, and print a line for each turn and each number of processes.

    Raises:
        ConfigError: nothing would be measured.
    """
    if config.place is not None:
        encode(config, Path(config.place))
        return {}
    if config.turns < 1 or config.images < 1 or not config.processes or min(config.processes) < 1:
        raise ConfigError(
            f"turns, images and processes are {config.turns}, {config.images} and {config.processes}; give "
            "at least 1"
        )
    found: dict[int, list[dict[str, float]]] = {count: [] for count in config.processes}
    for _ in range(config.turns):
        for count, turns in found.items():
            turns.append(measure(config, count))
            said = ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in turns[-1].items())
            print(f"{time.strftime('%H:%M:%S')} {count} process(es): {said}", flush=True)
    for count, turns in found.items():
        by_clock, by_processor = (
            median(one[name] for one in found[config.processes[0]]) / median(one[name] for one in turns)
            for name in ("seconds", "processor_seconds")
        )
        print(
            f"{count} process(es): {by_clock:.2f} times as fast as {config.processes[0]} by the clock, "
            f"{by_processor:.2f} times by the processor (medians of {len(turns)} turns)"
        )
    if config.output:
        Path(config.output).write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


if __name__ == "__main__":
    main(auto_cli(Bench, as_positional=False))
