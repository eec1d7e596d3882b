"""How fast is fitz_lora? Ratios to diffusers' example scripts and to the paper's synthesis loop, in one run.

    git clone https://github.com/huggingface/diffusers DIR
    python scripts/bench_fitz_lora.py --diffusers_repository DIR [--model FOLDER] [--output bench.json]

Training: the two scripts of DIR and our two trainings run as four processes on the same images, resolution,
batch and threads. Start-up is left out: once a pair has warmed up, its processes take turns (one is suspended
while the other works), and steps are timed by the progress bars. Synthesis: the paper's loop, which transfers
one source at a time with plain diffusers, takes turns with ours in this process.

Each figure is the median of the turns, with the lowest and highest. Wall-clock ratios on a machine with other
work on it are noisy; the ratios of CPU seconds beside them are hardly touched by that.
"""

import skindiff  # isort: skip  # noqa: F401  # before torch: it says how threads wait

import json
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import diffusers
import torch
from accelerate import Accelerator
from bench_turns import ENDLESS, Trainee, commit_of, compare, their_words, timed, write_for_both
from datasets import Dataset, disable_progress_bars, load_from_disk
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from jsonargparse import auto_cli, set_parsing_settings

from skindiff.corpora.phantom import PhantomConfig, load_phantom
from skindiff.errors import ConfigError, SkindiffError
from skindiff.generators.adapter import Adapter, load_adapter
from skindiff.generators.learned_embeds import embedding_files
from skindiff.generators.models import model_revision, quiet_loading
from skindiff.generators.prompts import prompt_for
from skindiff.generators.text_to_image.loading import load_pipeline
from skindiff.launch import start_accelerator
from skindiff.synthesis.config import SynthesisConfig, published_settings
from skindiff.synthesis.plan import make_plan
from skindiff.synthesis.tone import estimate_prototypes, prototype_types, subjects_of
from skindiff.synthesis.writer import PLAN_FILE, PROTOTYPES_FILE, write_synthetic
from skindiff.training.loop_config import LoopConfig
from skindiff.training.lora import LoRAConfig, train_lora
from skindiff.training.textual_inversion import TextualInversionConfig, train_textual_inversion

SCRIPTS = {
    "textual_inversion": "examples/textual_inversion/textual_inversion.py",
    "lora": "examples/text_to_image/train_text_to_image_lora.py",
}
PARTS = ("textual_inversion", "lora", "synthesis")
NAMES = {"textual_inversion": "textual inversion, steps/s", "lora": "LoRA, steps/s"}
EQUAL, DEFAULT = "synthesis at equal steps, images/s", "synthesis by default, images/s"
AIMS = {"textual_inversion": 1.5, "lora": 1.5, EQUAL: 1.5, DEFAULT: 8.0}
STUDY_IMAGES = 5 * 1519
"""Images of the paper's scenario (i), over which what is done once for a data set is spread."""
WARM_UP_STEPS = 5


@dataclass
class Bench:
    """Speed of fitz_lora as ratios."""

    diffusers_repository: str
    """A git checkout of diffusers, for its example scripts; its commit goes into the output."""
    model: str = "bundled"
    """The pipeline: bundled, a folder, or a Hub id."""
    output: str = "bench_fitz_lora.json"
    """Where the figures go, as JSON."""
    batch_size: int = 4
    """Images of a training step; the paper's number."""
    steps: int = 15
    """Training steps of each turn."""
    turns: int = 5
    """Turns of each contestant."""
    sources: int = 2
    """Sources that the paper's loop transfers in each turn, five images of each."""
    batches: int = 1
    """Batches that we generate in each turn at the paper's steps; five times as many at ours."""
    threads: int = 1
    """CPU threads of each process."""
    role: Literal["bench", "textual_inversion", "lora"] = "bench"
    """For internal use: the training that a child process runs."""
    folder: str = ""
    """For internal use: where a child process finds model and images."""


def check(config: Bench) -> None:
    """Raise :class:`ConfigError` on the first setting that cannot work."""
    for name in ("batch_size", "steps", "turns", "sources", "batches", "threads"):
        if getattr(config, name) < 1:
            raise ConfigError(f"{name} is {getattr(config, name)}: set it to at least 1")
    if config.sources > 70 or config.batches > 4:
        raise ConfigError(
            f"sources is {config.sources} and batches {config.batches}: set them to at most 70 and 4, which "
            "the images suffice for"
        )
    for script in SCRIPTS.values():
        if not (Path(config.diffusers_repository) / script).is_file():
            raise ConfigError(
                f"diffusers_repository: {config.diffusers_repository!r} has no {script}: give a git checkout "
                "of https://github.com/huggingface/diffusers"
            )


def prepare(config: Bench, folder: Path) -> Dataset:
    """Put what both sides read into ``folder``: the model in float32, and the images with captions."""
    pipeline = load_pipeline(config.model)
    with quiet_loading():
        pipeline.save_pretrained(folder / "model", safe_serialization=True)
    disable_progress_bars()
    size = int(pipeline.unet.config.sample_size * pipeline.vae_scale_factor)
    images = load_phantom(PhantomConfig(image_size=size, images_per_class={"I": 5, "II": 5}, repeat_share=0))
    write_for_both(images, folder)
    return images


def our_command(role: str, config: Bench, folder: Path) -> list[str]:
    """Return the command line of our training: this script in another role."""
    settings = {
        "diffusers_repository": Path(config.diffusers_repository).resolve(),
        "batch_size": config.batch_size,
        "threads": config.threads,
        "role": role,
        "folder": folder,
    }
    words = [f"--{name}={value}" for name, value in settings.items()]
    return [str(Path(__file__).resolve()), *words]


def loop_of(config: Bench, steps: int) -> LoopConfig:
    """Return the loop of our trainings."""
    return LoopConfig(steps=steps, batch_size=config.batch_size, learning_rate=1e-4)


def learn(
    role: str,
    accelerator: Accelerator,
    folder: Path,
    output: Path,
    loop: LoopConfig,
    learnt: tuple[StableDiffusionPipeline, Adapter] | None = None,
) -> tuple[StableDiffusionPipeline, Adapter]:
    """Train ours on the images in ``folder``, on a fresh pipeline or the one that has learnt words."""
    pipeline = learnt[0] if learnt else load_pipeline(str(folder / "model"))
    images = load_from_disk(str(folder / "images"))
    if role == "lora":
        config = LoRAConfig(loop=loop, validation_examples=0)
        words = learnt[1] if learnt else None
        return pipeline, train_lora(accelerator, pipeline, config, images, output, learnt=words)
    words_config = TextualInversionConfig(loop=loop, steps_per_condition=False, validation_examples=0)
    return pipeline, train_textual_inversion(accelerator, pipeline, words_config, images, output)


def bench_training(role: str, config: Bench, folder: Path, size: int) -> dict[str, Any]:
    """Let diffusers' script and our training take turns."""
    script = Path(config.diffusers_repository) / SCRIPTS[role]
    theirs = their_words(script, role, folder, size=size, batch_size=config.batch_size)
    with ExitStack() as stack:
        pair = []
        for name, command in (
            (SCRIPTS[role], theirs),
            (f"our {role}", our_command(role, config, folder)),
        ):
            trainee = Trainee(name, command, config.threads, folder, own=name != SCRIPTS[role])
            stack.callback(trainee.stop)
            trainee.work(WARM_UP_STEPS)
            pair.append(trainee)
        rates = [tuple(trainee.work(config.steps) for trainee in pair) for _ in range(config.turns)]
    return compare(rates) | {"aim": AIMS[role]}


def paper_loop(config: Bench, images: Dataset, adapter: Adapter, folder: Path) -> Callable[[], int]:
    """Return the paper's synthesis: plain diffusers with its adapter loaded, one source after the other."""
    pipeline = load_pipeline(str(folder / "model"))
    with quiet_loading():
        pipeline.load_textual_inversion(embedding_files(adapter.folder))
        pipeline.load_lora_weights(str(adapter.folder))
    drawing = StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False)
    drawing.set_progress_bar_config(disable=True)
    names = images.features["label"].names
    output = folder / "drawn by the paper's loop"
    output.mkdir()

    def draw() -> int:
        drawn = 0
        for number in range(config.sources):
            row = images[number]
            result = drawing(
                prompt=prompt_for(adapter.tokens.tokens[names[row["label"]]], "VI"),
                image=row["image"],
                strength=0.5,
                guidance_scale=2.0,
                num_inference_steps=100,
                num_images_per_prompt=5,
                generator=torch.Generator().manual_seed(number),
            )
            for place, image in enumerate(result.images):
                image.save(output / f"{number}-{place}.png")
            drawn += len(result.images)
        return drawn

    return draw


def our_synthesis(
    settings: SynthesisConfig, batches: int, images: Dataset, adapter: Adapter, folder: Path, name: str
) -> tuple[Callable[[], int], list[float]]:
    """Return our synthesis of so many batches, and the seconds of what is done once for a data set."""
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    pipeline = load_pipeline(str(folder / "model"), device=accelerator.device)
    load_adapter(pipeline, adapter.folder, fuse=True)
    plan = make_plan(images, settings, seed=0, generator="bench", tokens=adapter.tokens.tokens)
    output = folder / name
    output.mkdir()
    once = [0.0, 0.0]
    if types := prototype_types(plan.to_list()):
        # As the first process of a run does, whose others then find the file; the base model is asked.
        once = []
        with timed(once):
            base = load_pipeline(str(folder / "model"), device=accelerator.device)
            prototypes = estimate_prototypes(base, types, subjects_of(plan[0]["tone_subject"]))
        (output / PROTOTYPES_FILE).write_bytes(prototypes.to_bytes())

    def draw() -> int:
        for path in (*output.glob("synthetic-*.parquet"), output / PLAN_FILE):
            path.unlink(missing_ok=True)
        rows = plan.select(range(batches * settings.batch_size))
        return int(write_synthetic(accelerator, rows, pipeline, images, output)["drawn"])

    return draw, once


def bench_synthesis(config: Bench, images: Dataset, folder: Path) -> dict[str, dict[str, Any]]:
    """Let the paper's loop and ours (at its steps, and at our defaults) take turns."""
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    loop = loop_of(config, 1)
    learnt = learn("textual_inversion", accelerator, folder, folder / "words", loop)
    _, adapter = learn("lora", accelerator, folder, folder / "lora", loop, learnt)
    default = SynthesisConfig()
    equal = published_settings(batch_size=default.batch_size, output_size=None)
    draws = {"theirs": paper_loop(config, images, adapter, folder)}
    draws[EQUAL], _ = our_synthesis(equal, config.batches, images, adapter, folder, "equal")
    draws[DEFAULT], once = our_synthesis(default, 5 * config.batches, images, adapter, folder, "default")
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in draws}
    for _ in range(config.turns):
        for name, draw in draws.items():
            seconds: list[float] = []
            with timed(seconds):
                drawn = draw()
            rates[name].append((drawn / seconds[0], drawn / seconds[1]))
    spread = [
        tuple(1 / (1 / rate + extra / STUDY_IMAGES) for rate, extra in zip(turn, once, strict=True))
        for turn in rates[DEFAULT]
    ]
    results = {
        name: compare(list(zip(rates["theirs"], ours, strict=True))) | {"aim": AIMS[name]}
        for name, ours in ((EQUAL, rates[EQUAL]), (DEFAULT, spread))
    }
    results[DEFAULT]["seconds_once_for_a_data_set"] = once[0]
    results[DEFAULT]["settings"] = asdict(default)
    return results


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the figures as text."""
    head = f"{'':<36}{'theirs':>8}{'ours':>9}   {'ratio (low to high)':<22}{'by CPU seconds':<22}aim"
    lines = [head]
    for name, result in results.items():
        ratio, cpu = (
            f"{values['median']:.2f} ({values['low']:.2f} to {values['high']:.2f})"
            for values in (result["ratio"], result["cpu_ratio"])
        )
        reached = "met" if result["ratio"]["median"] >= result["aim"] else "missed"
        rates = f"{result['theirs']['median']:>8.3f}{result['ours']['median']:>9.3f}"
        lines.append(f"{name:<36}{rates}   {ratio:<22}{cpu:<22}{result['aim']:g} {reached}")
    return "\n".join(lines)


def describe(config: Bench) -> dict[str, Any]:
    """Return what the figures are of: versions, machine and settings, with room for results."""
    return {
        "diffusers_commit": commit_of(config.diffusers_repository),
        "model": model_revision(config.model),
        "settings": asdict(config),
        "machine": {
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            "load_average": [os.getloadavg()],
        },
        "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
        "results": {},
    }


def main(config: Bench) -> None:
    """Compare, print a table and write JSON; or, as a child process, train until stopped."""
    check(config)
    if config.role != "bench":
        folder = Path(config.folder)
        output = folder / f"ours-{config.role}"
        accelerator = start_accelerator(config.threads, ["tensorboard"], output)
        accelerator.init_trackers("bench")
        learn(config.role, accelerator, folder, output, loop_of(config, ENDLESS))
        return
    torch.set_num_threads(config.threads)
    with tempfile.TemporaryDirectory() as temporary:
        record = describe(config)
        folder = Path(temporary)
        images = prepare(config, folder)
        for part in PARTS:
            record["results"] |= (
                bench_synthesis(config, images, folder)
                if part == "synthesis"
                else {NAMES[part]: bench_training(part, config, folder, images[0]["image"].width)}
            )
            record["machine"]["load_average"].append(os.getloadavg())
            # Written after each part, so that what was measured is not lost.
            Path(config.output).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    loads = [f"{load[0]:.1f}" for load in record["machine"]["load_average"]]
    print(f"diffusers {record['diffusers_commit']}, model {record['model']}")
    print(f"batch {config.batch_size}, {config.threads} thread(s), {config.turns} turns")
    print(f"load average {', '.join(loads)} (before, and after each part) on {os.cpu_count()} cores\n")
    print(table(record["results"]))


if __name__ == "__main__":
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    # So that a run that is told to stop takes its processes with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("error: stopped"))
    try:
        main(auto_cli(Bench, as_positional=False))
    except SkindiffError as error:
        sys.exit(f"error: {error}")
