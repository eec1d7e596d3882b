"""How fast is a training step at the real size? Ratios to diffusers' own script and to the bare network.

    git clone https://github.com/huggingface/diffusers DIR
    python scripts/bench_full_size.py --diffusers_repository DIR                       # SD 2.1, LoRA, the CPU
    python scripts/bench_full_size.py --diffusers_repository DIR --training textual_inversion
    python scripts/bench_full_size.py --diffusers_repository DIR --architecture sdxl --image_size 1024 \\
        --batch_size 4 --steps 2 --precision bf16 --transfer_steps 20                      # a GPU

The networks have the published shapes (``skindiff/assets/single_file``) and random weights, so nothing is
fetched. Diffusers' script and our training run as two processes that take turns; with ``--compiled true``
ours and ours with its blocks compiled do so afterwards. The floor takes its turns in this process: the bare
network, forward and backward to the prompt's states. No training that goes through the network can be
faster, so theirs divided by the floor is the ratio that it allows.

Encoding is apart: their script encodes a batch in each step, ours each image once. Peak memory is of the
whole process on a CPU, of torch's allocator on a GPU. FLOPs are counted by torch on the floor's pass.
"""

import skindiff  # isort: skip  # noqa: F401  # before torch: it says how threads wait

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import diffusers
import torch
from accelerate import Accelerator
from bench_floor import device, floor_step, losses, random_pipeline
from bench_turns import ENDLESS, Trainee, commit_of, compare, their_words, timed, write_for_both
from datasets import ClassLabel, Dataset, disable_progress_bars, load_from_disk
from jsonargparse import auto_cli, set_parsing_settings
from torch.utils.flop_counter import FlopCounterMode

from skindiff.corpora.phantom import PhantomConfig, load_phantom
from skindiff.errors import ConfigError, SkindiffError
from skindiff.generators.prompts import prompt_for
from skindiff.generators.text_to_image.loading import architecture_of, load_pipeline
from skindiff.launch import start_accelerator
from skindiff.synthesis.config import published_settings
from skindiff.synthesis.draw import Drawer
from skindiff.synthesis.plan import make_plan
from skindiff.training.encoding import encode_tables, image_array
from skindiff.training.loop_config import LoopConfig
from skindiff.training.lora import LoRAConfig, train_lora
from skindiff.training.textual_inversion import TextualInversionConfig, train_textual_inversion

SCRIPTS = {
    ("sd21-base", "textual_inversion"): "examples/textual_inversion/textual_inversion.py",
    ("sd21-base", "lora"): "examples/text_to_image/train_text_to_image_lora.py",
    ("sdxl", "lora"): "examples/text_to_image/train_text_to_image_lora_sdxl.py",
}
PRECISIONS = {"no": torch.float32, "bf16": torch.bfloat16}
DATASHEET = {"H100": 989e12, "H200": 989e12}
"""Dense bf16 FLOP/s of NVIDIA's data sheets (SXM)."""
WARM_UP_STEPS = 2


@dataclass
class Bench:
    """Speed of one training at its real size."""

    diffusers_repository: str
    """A git checkout of diffusers, for its example scripts; its commit goes into the output."""
    architecture: Literal["sd21-base", "sdxl"] = "sd21-base"
    """Whose shapes the networks have."""
    training: Literal["lora", "textual_inversion"] = "lora"
    """Diffusers has both for Stable Diffusion 2.1, and LoRA for SDXL."""
    precision: Literal["no", "bf16"] = "no"
    """Mixed precision of both sides, which then keep the frozen networks in it too."""
    compiled: bool = False
    """Let ours take turns with itself, its blocks compiled, at the end."""
    transfer_steps: int = 0
    """Time the transfer of images with so many steps too, a batch a turn, against plain diffusers' pipeline
    source by source; 0 leaves it out."""
    image_size: int = 512
    """Height and width in pixels."""
    batch_size: int = 1
    """Images of a training step."""
    images: int = 4
    """Training images; ours are encoded before the steps are timed."""
    steps: int = 1
    """Training steps of each turn."""
    turns: int = 10
    """Turns of each contestant."""
    threads: int = 2
    """CPU threads of each process."""
    output: str = "bench_full_size.json"
    """Where the figures go, as JSON."""
    role: Literal["bench", "ours", "compiled"] = "bench"
    """For internal use: what a child process runs."""
    folder: str = ""
    """For internal use: where a child process finds model and images."""


def check(config: Bench) -> str:
    """Return diffusers' script, or raise :class:`ConfigError` on the first setting that cannot work."""
    for name in ("batch_size", "images", "steps", "turns", "threads"):
        if getattr(config, name) < 1:
            raise ConfigError(f"{name} is {getattr(config, name)}: set it to at least 1")
    if config.images < config.batch_size:
        raise ConfigError(f"images is {config.images}: set it to batch_size={config.batch_size} or more")
    if config.image_size < 64 or config.image_size % 64:
        raise ConfigError(f"image_size is {config.image_size}: set it to a multiple of 64 pixels")
    script = SCRIPTS.get((config.architecture, config.training))
    if script is None:
        raise ConfigError(
            f"training is {config.training}, of which diffusers has no script for {config.architecture}: "
            "set it to lora"
        )
    if not (Path(config.diffusers_repository) / script).is_file():
        raise ConfigError(
            f"diffusers_repository: {config.diffusers_repository!r} has no {script}: give a git checkout of "
            "https://github.com/huggingface/diffusers"
        )
    return script


def prepare(config: Bench, folder: Path) -> Any:
    """Put what both sides read into ``folder``, the model and the images with captions; return the model."""
    pipeline = random_pipeline(config.architecture)
    pipeline.to(PRECISIONS[config.precision])
    pipeline.save_pretrained(folder / "model", safe_serialization=True)
    disable_progress_bars()
    per_type = {"I": -(-config.images // 2), "II": config.images // 2}
    counts = {skin_type: count for skin_type, count in per_type.items() if count}
    phantom = load_phantom(PhantomConfig(image_size=64, images_per_class=counts, repeat_share=0))
    side = (config.image_size, config.image_size)
    images = phantom.map(lambda row: {"image": row["image"].resize(side)})  # drawn so large it takes minutes
    images = with_present_classes(images.select(range(config.images)))
    write_for_both(images, folder)
    return pipeline


def with_present_classes(images: Dataset) -> Dataset:
    """Leave conditions out that none of few images has: each has a word to learn."""
    names, present = images.features["label"].names, sorted(set(images["label"][:]))
    numbers = [present.index(label) for label in images["label"][:]]
    kept = ClassLabel(names=[names[label] for label in present])
    return images.remove_columns("label").add_column("label", numbers).cast_column("label", kept)


def learn(config: Bench, folder: Path) -> None:
    """Train ours on the images in ``folder``."""
    os.environ["ACCELERATE_MIXED_PRECISION"] = config.precision
    output = folder / config.role
    accelerator = start_accelerator(config.threads, ["tensorboard"], output)
    accelerator.init_trackers("bench")
    dtype = PRECISIONS[config.precision]
    pipeline = load_pipeline(str(folder / "model"), dtype=dtype)
    images = load_from_disk(str(folder / "images"))
    loop = LoopConfig(steps=ENDLESS, batch_size=config.batch_size, learning_rate=1e-4)
    settings: dict[str, Any] = {
        "loop": loop, "validation_examples": 0, "image_size": config.image_size,
        "compile_blocks": config.role == "compiled",
    }  # fmt: skip
    if config.training == "lora":
        train_lora(accelerator, pipeline, LoRAConfig(**settings), images, output, unload=True)
    else:
        words = TextualInversionConfig(**settings, steps_per_condition=False)
        train_textual_inversion(accelerator, pipeline, words, images, output, unload=True)


def synchronise() -> None:
    """Wait for what a GPU still does."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds_of(step: Callable[[], None], times: int) -> tuple[float, float]:
    """Return wall and CPU rates of a step."""
    spent: list[float] = []
    synchronise()
    with timed(spent):
        for _ in range(times):
            step()
        synchronise()
    return times / spent[0], times / max(spent[1], 1e-9)


def bench_training(config: Bench, folder: Path, roles: tuple[str, str], step: Callable[[], None]) -> Any:
    """Let two trainings and the floor take turns."""
    settings = {name: value for name, value in asdict(config).items() if name not in ("role", "folder")}
    settings["diffusers_repository"] = Path(config.diffusers_repository).resolve()
    rates: list[list[tuple[float, float]]] = []
    with ExitStack() as stack:
        pair = []
        for role in roles:
            words = [str(Path(__file__).resolve()), f"--role={role}", f"--folder={folder}"]
            words += [f"--{name}={value}" for name, value in settings.items()]
            if role == "theirs":
                words = their_words(
                    Path(config.diffusers_repository) / check(config), config.training, folder,
                    size=config.image_size, batch_size=config.batch_size, precision=config.precision,
                )  # fmt: skip
            trainee = Trainee(role, words, config.threads, folder, own=role != "theirs")
            stack.callback(trainee.stop)
            trainee.work(WARM_UP_STEPS)
            pair.append(trainee)
        for _ in range(config.turns):
            turn = [trainee.work(config.steps) for trainee in pair]
            rates.append([*turn, seconds_of(step, config.steps)])
        peaks = {trainee.name: trainee.end() for trainee in pair}
    first, second, floor = zip(*rates, strict=True)
    found = {roles[1]: second, "floor": floor}
    return {
        "rates": {name: compare(list(zip(first, one, strict=True))) for name, one in found.items()},
        "peak_gib": peaks,
    }


def bench_encoding(config: Bench, pipeline: Any, images: Dataset, folder: Path) -> dict[str, float]:
    """Return images per second of encoding, of a view: in batches of the step as theirs, and ours."""
    pixels = torch.stack([torch.from_numpy(image_array(row["image"], config.image_size)) for row in images])
    vae, batch, accelerator = pipeline.vae, config.batch_size, Accelerator(cpu=device().type == "cpu")

    def theirs() -> None:
        with torch.no_grad():
            for start in range(0, len(pixels), batch):
                some = pixels[start : start + batch].to(device(), vae.dtype)
                vae.encode(some).latent_dist.sample()

    def ours(turn: int) -> Callable[[], Any]:
        cache = folder / f"cache-{turn}"
        return lambda: encode_tables(accelerator, pipeline, [images], cache, size=config.image_size)

    # In float32, as skindiff and the script of Stable Diffusion XL have it; that of 2.1 has it in half.
    kind = torch.float32 if config.architecture == "sdxl" else PRECISIONS[config.precision]
    rates = []
    for turn in range(4):
        vae.to(kind)
        one = seconds_of(theirs, 1)[0]
        vae.to(torch.float32)
        rates.append((one, seconds_of(ours(turn), 1)[0]))
    vae.to(PRECISIONS[config.precision])
    median = [statistics.median(side) * len(images) for side in zip(*rates[1:], strict=True)]
    return {"theirs": median[0], "ours": median[1], "ratio": median[1] / median[0]}


def bench_transfer(config: Bench, pipeline: Any, images: Dataset) -> dict[str, Any]:
    """Return images per second of transfer: plain diffusers by source, and ours in batches."""
    settings = published_settings(
        batch_size=16, output_size=None, strategy="vanilla", steps=config.transfer_steps,
        dtype=str(PRECISIONS[config.precision]).removeprefix("torch."),
    )  # fmt: skip
    plan = make_plan(images, settings, seed=0, generator="bench").to_list()[: settings.batch_size]
    kind = architecture_of(pipeline).transfers
    parts = {
        **pipeline.components,
        **({} if config.architecture == "sdxl" else {"requires_safety_checker": False}),
    }
    plain = kind(**parts)
    plain.set_progress_bar_config(disable=True)
    drawer = Drawer(pipeline, images, None)
    names = images.features["label"].names
    count = settings.images_per_source

    def theirs() -> None:
        row = images[0]
        plain(
            prompt=prompt_for(names[row["label"]], "VI"), image=row["image"], strength=settings.strength,
            guidance_scale=settings.guidance_scale, num_inference_steps=settings.steps,
            num_images_per_prompt=count, generator=torch.Generator(device()).manual_seed(0),
        )  # fmt: skip

    theirs()
    pipeline.vae.to(torch.float32)
    drawer.draw(plan)
    rates = []
    for _ in range(3):
        pipeline.vae.to(PRECISIONS[config.precision])
        one = seconds_of(theirs, 1)
        pipeline.vae.to(torch.float32)  # as skindiff loads it
        many = seconds_of(lambda: drawer.draw(plan), 1)
        rates.append(([rate * count for rate in one], [rate * len(plan) for rate in many]))
    return compare(rates) | {"settings": asdict(settings)}


def matmul_rate() -> float:
    """Return FLOP/s of a large bf16 product on this GPU, random operands."""
    side = 8192
    left, right = (torch.randn(side, side, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    left @ right
    return 2 * side**3 * seconds_of(lambda: left @ right, 20)[0]


def table(results: dict[str, Any]) -> str:
    """Return the figures as text."""

    def spread(ratio: dict[str, float]) -> str:
        return f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"

    lines = []
    for part, first in (("training", "theirs"), ("compiled", "ours")):
        if part not in results:
            continue
        rates, peaks = results[part]["rates"], results[part]["peak_gib"]
        lines.append(
            f"{first:<10}{rates['floor']['theirs']['median']:>9.3f} steps/s, peak {peaks[first]:.2f} GiB"
        )
        for name, rate in rates.items():
            said = f"{rate['ours']['median']:>9.3f} steps/s, ratio to {first} {spread(rate['ratio'])}"
            if name in peaks:
                share = rate["ratio"]["median"] / rates["floor"]["ratio"]["median"]
                said += f", {share:.0%} of what the floor allows, peak {peaks[name]:.2f} GiB"
                said += f" ({peaks[name] / peaks[first]:.2f} of {first})"
            if top := results.get("matmul_flops"):
                done = results["flop_of_a_step"] * rate["ours"]["median"]
                known = [rate for chip, rate in DATASHEET.items() if chip in torch.cuda.get_device_name()]
                of_sheet = f", {done / known[0]:.1%} of the data sheet's" if known else ""
                said += f", {done / 1e12:.0f} TFLOP/s: {done / top:.1%} of a matrix product's{of_sheet}"
            lines.append(f"{name:<10}{said}")
    lines.append("loss of one batch: theirs {theirs:.7f}, ours {ours:.7f}".format(**results["loss"]))
    encoding = results["encoding"]
    theirs, ours = encoding["theirs"], encoding["ours"]
    lines.append(f"encoding, images/s of a view: theirs {theirs:.2f}, ours {ours:.2f}, once in all")
    if transfer := results.get("transfer"):
        theirs, ours = transfer["theirs"]["median"], transfer["ours"]["median"]
        lines.append(f"transfer, images/s: theirs {theirs:.2f}, ours {ours:.2f}, {spread(transfer['ratio'])}")
    return "\n".join(lines)


def main(config: Bench) -> None:
    """Compare, print a table and write JSON; or, as a child process, train until stopped."""
    check(config)
    torch.set_num_threads(config.threads)
    if config.role != "bench":
        learn(config, Path(config.folder))
        return
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pipeline = prepare(config, folder)
        pipeline.set_progress_bar_config(disable=True)
        images = load_from_disk(str(folder / "images"))
        record: dict[str, Any] = {
            "diffusers_commit": commit_of(config.diffusers_repository),
            "settings": asdict(config),
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            "cores": os.cpu_count(),
            "load_average": os.getloadavg(),
            "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
        }
        step = floor_step(pipeline, config.image_size, config.batch_size)
        step()
        with FlopCounterMode(display=False) as counter:
            step()
        record["flop_of_a_step"] = counter.get_total_flops()
        record["loss"] = losses(pipeline, config.image_size, config.batch_size)
        trained = partial(bench_training, config, folder, step=step)
        transfer = partial(bench_transfer, config, pipeline, images)
        for name, part in (
            ("training", partial(trained, ("theirs", "ours"))),
            ("encoding", partial(bench_encoding, config, pipeline, images, folder)),
            ("matmul_flops", matmul_rate if torch.cuda.is_available() else None),
            ("transfer", transfer if config.transfer_steps else None),
            ("compiled", partial(trained, ("ours", "compiled")) if config.compiled else None),
        ):
            if part:
                record[name] = part()
                record["seconds"] = time.perf_counter() - began
                # Written after each part, so that what was measured is not lost.
                Path(config.output).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"{config.architecture}, {config.training}, {config.image_size} px, batch {config.batch_size}, "
          f"mixed precision {config.precision}, {record['device']}, "
          f"diffusers {record['diffusers_commit'][:8]}, "
          f"load average {record['load_average'][0]:.1f} before")  # fmt: skip
    print(table(record))


if __name__ == "__main__":
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    try:
        main(auto_cli(Bench, as_positional=False))
    except SkindiffError as error:
        sys.exit(f"error: {error}")
