"""How a result is made again outside of the demo: as a command, and as Python."""

import json
import shlex
from dataclasses import dataclass

from skindiff.demo.settings import PageSettings

ORIGINAL, TONES = "original.png", "tone_prototypes.safetensors"
"""In a transfer's zip: the photograph, and the generator's own tones that it was moved to."""


@dataclass(frozen=True)
class Again:
    """How a result is made again: words of a shell, and lines of Python.

    Attributes:
        command: of ``skindiff sample``, empty where it has none.
        python: the same by :func:`skindiff.generate`.
    """

    command: str
    python: str


def draw_again(
    settings: PageSettings, generator: str, conditions: list[str], groups: list[str] | None, batch: int
) -> Again:
    """Return how images are generated again outside of the demo.

    Args:
        settings: with the seed that was used.
        generator: word that finds it.
        conditions: those generated.
        groups: skin types or other values, None for class-conditional generators.
        batch: images per forward pass.
    """
    own = {"steps": settings["steps"], "guidance_scale": settings["guidance"], "batch_size": batch}
    kind = "class_synthesis" if groups is None else "synthesis"
    words = [
        "skindiff",
        "sample",
        "--generator",
        generator,
        "--classes",
        json.dumps(conditions, ensure_ascii=False),
    ]
    words += [] if groups is None else ["--groups", json.dumps(groups, ensure_ascii=False)]
    words += ["--images", str(settings["images"]), "--seed", settings["seed"]]
    words += [] if groups is None else ["--same_noise", "true"]
    for name, value in own.items():
        words += [f"--{kind}.{name}", f"{value:g}"]
    words += ["--output_dir", "runs/again"]
    asked = f"groups={groups!r}, same_noise=True, " if groups is not None else ""
    python = (
        "import skindiff\n\n"
        "made = skindiff.generate(\n"
        f"    {generator!r},\n"
        f"    classes={conditions!r},\n"
        f"    {asked}images={settings['images']}, seed={settings['seed']},\n"
        f"    {', '.join(f'{name}={value!r}' for name, value in own.items())},\n"
        ")\n"
        'made.dataset[0]["image"]  # a PIL image\n'
    )
    return Again(shlex.join(words), python)


def transfer_again(generator: str) -> Again:
    """Return how the images of a transfer are generated again, each from its row, where its zip was unpacked.

    It is Python alone: the commands transfer parts of a corpus, and one photograph has none.
    """
    python = (
        "from pathlib import Path\n\n"
        "import pyarrow.parquet as pq\n"
        "import skindiff\n"
        "from datasets import Dataset, Features, Image, Value\n"
        "from skindiff.synthesis.draw import redraw\n"
        "from skindiff.synthesis.tone import TonePrototypes\n\n"
        'rows = pq.read_table("provenance.parquet").to_pylist()\n'
        "sources = Dataset.from_dict(\n"
        f'    {{"image_id": [rows[0]["source_id"]], "image": ["{ORIGINAL}"]}},\n'
        '    features=Features({"image_id": Value("string"), "image": Image()}),\n'
        ")\n"
        f'tones = TonePrototypes.load(Path("{TONES}"))\n'
        f"generator = skindiff.load({generator!r})\n"
        "made = [redraw(row, generator, sources, tones) for row in rows]  # PIL images\n"
    )
    return Again("", python)
