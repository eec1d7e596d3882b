"""Is a fast solver as good as 1,000 ancestral steps of a DDPM, at a twentieth of the time?

    python scripts/bench_ddpm_sampling.py     # phantom: about an hour on one core
    python scripts/bench_ddpm_sampling.py --corpus.name ham10000 --corpus.ham10000.data_dir DIR

Trains a small class-conditional DDPM (or loads the one that --pipeline names), draws the same classes from
the same noise by both samplers in turns, and compares speed and KID against real images of the same classes
that the generator never saw (with --pipeline it may have seen some of them). What it aims at is stated before
anything is measured: AIM times as fast, and the upper end of the 95% interval of KID(fast) - KID(ancestral)
below MARGIN times KID(ancestral). Called again, it goes on where it was.

Wall-clock ratios on a machine with other work on it are noisy; the ratio of CPU seconds beside it is hardly
touched by that.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset
from jsonargparse import auto_cli, set_parsing_settings

from skindiff.corpora.image_table import ImageTable
from skindiff.corpora.registry import CorpusConfig, prepare_corpus
from skindiff.errors import ConfigError, SkindiffError
from skindiff.generators.ddpm import ConditionalDDPMPipeline
from skindiff.generators.models import model_revision
from skindiff.launch import start_accelerator
from skindiff.measures.features import FeatureConfig, load_feature_network
from skindiff.measures.fidelity.by_class import same_mix
from skindiff.measures.fidelity.scores import FidelityConfig, feature_scores, kid_difference
from skindiff.seeding import numpy_generator, torch_generator
from skindiff.synthesis.class_synthesis import load_class_pipeline
from skindiff.training.ddpm import LOG_FILE, PIPELINE, DDPMConfig, train_ddpm

AIM = 20.0
"""How many times as fast as the ancestral sampler the fast one must be."""
MARGIN, CHECKPOINT_EVERY = 0.25, 200
"""How much further from real images the fast sampler may be, as a share of the ancestral one's KID."""


@dataclass
class Bench:
    """A fast solver against ancestral sampling."""

    output_dir: str = "runs/bench_ddpm_sampling"
    """Folder of the generator, the images and bench.json; what is there already is not done again."""
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    """Images to train on and compare with."""
    pipeline: str | None = None
    """Folder of a trained DDPM of this corpus, to leave the training out."""
    ddpm: DDPMConfig = field(default_factory=DDPMConfig)
    """The DDPM to be trained."""
    features: FeatureConfig = field(default_factory=FeatureConfig)
    """The network in whose features KID is measured."""
    images: int = 256
    """Images drawn by each sampler."""
    batch_size: int = 32
    """Images per forward pass."""
    ancestral_steps: int = 1000
    """Steps of the ancestral sampler."""
    solver: str = "dpmsolver++"
    """The fast sampler."""
    solver_steps: int = 25
    """Steps of the fast sampler."""
    guidance_scale: float = 1.0
    """Classifier-free guidance of both."""
    held_out_share: float = 0.2
    """Share of the groups (lesions) that the generator does not see and KID is measured against."""
    seed: int = 0
    """Of training, noise and bootstrap."""
    threads: int = 1
    """CPU threads."""


def check(config: Bench) -> None:
    """Raise :class:`ConfigError` on the first setting that cannot work."""
    config.corpus.validate("corpus.")
    config.ddpm.validate("ddpm.")
    config.features.validate("features.")
    for name in ("images", "batch_size", "ancestral_steps", "solver_steps", "threads"):
        if getattr(config, name) < 1:
            raise ConfigError(f"{name} is {getattr(config, name)}: set it to at least 1")
    if config.images % config.batch_size:
        raise ConfigError(
            f"images is {config.images}: set it to a multiple of batch_size={config.batch_size}"
        )
    if not 0 < config.held_out_share < 1:
        raise ConfigError(f"held_out_share is {config.held_out_share}: set it above 0 and below 1")


def split_groups(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """Return training and held-out rows, without a group in both."""
    groups = np.array(dataset["group_id"])
    names = np.unique(groups)
    chosen = numpy_generator("bench", "held out", seed).permutation(names)[: round(share * len(names))]
    held_out = np.isin(groups, chosen)
    return dataset.select(np.flatnonzero(~held_out)), dataset.select(np.flatnonzero(held_out))


def subfolder(folder: Path, name: str, *inputs: Any) -> Path:
    """Return a folder of its own for these inputs, so that other settings never meet what is there."""
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]
    own = folder / f"{name}-{digest}"
    own.mkdir(parents=True, exist_ok=True)
    return own


def trained(config: Bench, accelerator: Accelerator, rows: Dataset, folder: Path) -> Path:
    """Return the folder of the generator, trained now if need be."""
    if config.pipeline:
        return Path(config.pipeline)
    own = subfolder(folder, "ddpm", asdict(config.ddpm), asdict(config.corpus), config.seed, len(rows))
    if not (own / LOG_FILE).is_file():
        loop = config.ddpm.loop
        loop = replace(loop, checkpoint_every=loop.checkpoint_every or CHECKPOINT_EVERY)
        ddpm = replace(config.ddpm, loop=loop)
        train_ddpm(accelerator, ddpm, ImageTable.from_dataset(rows), own, config.seed)
    return own / PIPELINE


def samplers(config: Bench) -> dict[str, dict[str, Any]]:
    """Return what each sampler's draw takes."""
    return {
        "ancestral": {"scheduler": "ddpm", "steps": config.ancestral_steps},
        "fast": {"scheduler": config.solver, "steps": config.solver_steps},
    }


def draw_in_turns(config: Bench, pipeline: ConditionalDDPMPipeline, folder: Path) -> Iterator[str]:
    """Draw what is missing, a batch of each sampler in turn, into one file each; yields what is done."""
    classes = len(pipeline.config.class_names)
    for start in range(0, config.images, config.batch_size):
        rows = range(start, start + config.batch_size)
        for name, options in samplers(config).items():
            path = folder / f"{name}-{start:05d}.npz"
            if not path.is_file():
                began, cpu = time.perf_counter(), time.process_time()
                images = pipeline(
                    [row % classes for row in rows],
                    generator=[torch_generator("bench", config.seed, row) for row in rows],
                    guidance_scale=config.guidance_scale,
                    output_type="np",
                    **options,
                ).images
                seconds = [time.perf_counter() - began, time.process_time() - cpu]
                partial = path.with_name(f".partial-{path.name}")
                np.savez(partial, images=(images * 255).round().astype(np.uint8), seconds=seconds)
                os.replace(partial, path)
            yield f"{name}: {rows.stop} of {config.images}"


def read(name: str, folder: Path, batches: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (n, h, w, 3) images of a sampler, and (batches, 2) wall-clock and CPU seconds."""
    files = [np.load(path) for path in sorted(folder.glob(f"{name}-*.npz"))[:batches]]
    images = np.concatenate([file["images"] for file in files])
    return np.repeat(images, 3 // images.shape[-1], axis=-1), np.stack([file["seconds"] for file in files])


def compare(config: Bench, real: ImageTable, folder: Path, device: torch.device) -> dict[str, Any]:
    """Return speed and KID of both samplers, and whether the aims are met."""
    network = load_feature_network(config.features, device)
    batches = config.images // config.batch_size
    images, seconds = zip(*(read(name, folder, batches) for name in samplers(config)), strict=True)
    reference = network(real.pixels)
    ancestral, fast = (network(own) for own in images)
    ratios = seconds[0] / seconds[1]
    difference, low, high = kid_difference(reference, fast, ancestral, seed=config.seed)
    fidelity = FidelityConfig(features=config.features)
    scores = {
        name: feature_scores(reference, features, fidelity, seed=config.seed)
        for name, features in (("ancestral", ancestral), ("fast", fast))
    }
    margin = MARGIN * scores["ancestral"]["kid"]
    speed = float(np.median(ratios[:, 0]))
    return {
        "features": network.name,
        "real_images": len(real),
        "scores": scores,
        "seconds_per_image": {
            name: float(own[:, 0].sum() / config.images)
            for name, own in zip(samplers(config), seconds, strict=True)
        },
        "speed": {"median": speed, "lowest": float(ratios[:, 0].min()), "highest": float(ratios[:, 0].max())},
        "cpu_speed": float(np.median(ratios[:, 1])),
        "kid_difference": {"value": difference, "low": low, "high": high, "margin": margin},
        "met": {"speed": speed >= AIM, "kid": high < margin},
    }


def describe(result: dict[str, Any]) -> str:
    """Return the result as text."""
    speed, kid = result["speed"], result["kid_difference"]
    met = {True: "met", False: "NOT met"}
    return "\n".join(
        (
            f"features: {result['features']}, against {result['real_images']} real images",
            *(
                f"{name}: {result['seconds_per_image'][name]:.3f} s an image, KID {own['kid']:.5f} "
                f"[{own['kid_low']:.5f}, {own['kid_high']:.5f}], FID {own['fid']:.2f}"
                for name, own in result["scores"].items()
            ),
            f"speed: {speed['median']:.1f} times [{speed['lowest']:.1f}, {speed['highest']:.1f}], in CPU "
            f"seconds {result['cpu_speed']:.1f} times; aim {AIM:g}: {met[result['met']['speed']]}",
            f"KID(fast) - KID(ancestral): {kid['value']:.5f} [{kid['low']:.5f}, {kid['high']:.5f}]; margin "
            f"{kid['margin']:.5f}: {met[result['met']['kid']]}",
        )
    )


def main(config: Bench) -> dict[str, Any]:
    """Run the benchmark, print its result and write it as JSON."""
    check(config)
    folder = Path(config.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    accelerator = start_accelerator(config.threads)
    print(
        f"aims: {AIM:g} times as fast; KID(fast) - KID(ancestral) below {MARGIN:g} x KID(ancestral) at the "
        "upper end of its 95% interval"
    )
    corpus = prepare_corpus(config.corpus, folder)
    rows, held_out = split_groups(corpus.dataset, config.held_out_share, config.seed)
    found = trained(config, accelerator, rows, folder)
    pipeline = load_class_pipeline(found, rows)
    if not isinstance(pipeline, ConditionalDDPMPipeline):
        raise ConfigError(f"pipeline: {found} is a {pipeline.family}: give a ddpm")
    pipeline.to(accelerator.device)
    # How many images there are, and what they are compared in, changes nothing about any of them.
    drawing = (
        model_revision(str(found)),
        samplers(config),
        config.batch_size,
        config.guidance_scale,
        config.seed,
    )
    images = subfolder(folder, "images", *drawing)
    for done in draw_in_turns(config, pipeline, images):
        print(done, flush=True)
    drawn = [row % len(pipeline.config.class_names) for row in range(config.images)]
    alike, _ = same_mix(held_out["label"], drawn, config.seed)
    real = ImageTable.from_dataset(held_out.select(alike)).resized(pipeline.config.image_size)
    result = {
        "pipeline": model_revision(str(found)),
        "real_images_are": "unknown to this script: --pipeline"
        if config.pipeline
        else "never seen by the DDPM",
        "settings": asdict(config),
        "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
        "load_average": os.getloadavg(),
        **compare(config, real, images, accelerator.device),
    }
    (folder / "bench.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(describe(result))
    return result


if __name__ == "__main__":
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    try:
        main(auto_cli(Bench, as_positional=False))
    except SkindiffError as error:
        sys.exit(f"error: {error}")
