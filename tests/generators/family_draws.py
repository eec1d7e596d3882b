"""Draws with a saved pipeline of every family, in a process of its own or in several.

``python -m tests.generators.family_draws TRAINED DRAWN``, alone or under ``accelerate launch``: for each
folder TRAINED/<family>/pipeline a data set comes to DRAWN/<family>.
"""

import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from datasets import Dataset

import skindiff
from skindiff.generators.class_conditional import ClassConditionalPipeline
from skindiff.generators.families import FAMILIES
from skindiff.synthesis.class_draw import ClassDrawer
from skindiff.synthesis.class_plan import ClassSynthesisConfig, drawn_features, make_class_plan
from skindiff.synthesis.writer import write_rows
from tests.tiny_generators import CLASSES, tiny_corpus_of_classes

SETTINGS = ClassSynthesisConfig(budget="table", table={"one": 3, "two": 4}, steps=2, batch_size=2)


def sources(pipeline: ClassConditionalPipeline) -> Dataset:
    """Images that a family may re-draw, of its own size."""
    return tiny_corpus_of_classes(6, pipeline.config.image_size, grey=pipeline.config.channels == 1)


def plan(pipeline: ClassConditionalPipeline, settings: ClassSynthesisConfig = SETTINGS) -> Dataset:
    return make_class_plan(
        sources(pipeline),
        settings,
        seed=1,
        family=pipeline.family,
        generator=f"{pipeline.family}@0",
        redraws=pipeline.needs_images,
        threads=1,
    )


def draw_plan(accelerator: Accelerator, pipeline: ClassConditionalPipeline, folder: Path) -> None:
    """Write the shards of the plan, two rows each."""
    shown = sources(pipeline) if pipeline.needs_images else None
    drawer = ClassDrawer(pipeline, shown)
    write_rows(accelerator, plan(pipeline), drawn_features(CLASSES), folder, lambda: drawer, rows_per_shard=2)


def main() -> None:
    import tests.toy_plugin  # noqa: F401

    torch.set_num_threads(1)
    trained, drawn = map(Path, sys.argv[1:])
    accelerator = Accelerator(cpu=True)
    for name in FAMILIES:
        pipeline = skindiff.load(trained / name / "pipeline")
        draw_plan(accelerator, pipeline, drawn / name)


if __name__ == "__main__":
    main()
