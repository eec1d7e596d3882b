"""How a result is made again outside of the demo: as a command, and as Python."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from skindiff.demo.settings import PageSettings
from skindiff.demo.words import ANY
from skindiff.launch import usual_threads
from skindiff.synthesis.tone import PROTOTYPE_TONES

ORIGINAL, TONES = "photograph/original.png", "tone_prototypes.safetensors"
"""In a transfer's zip: the photograph, and the generator's own tones that it was moved to."""
_TABLE, _CORPUS = "photograph/photograph.jsonl", "corpus.yaml"


@dataclass(frozen=True)
class Source:
    """How a generator is found outside of the demo.

    Attributes:
        word: that finds it.
        options: what it was loaded with beside: ``base_model`` and ``model_config`` of :func:`skindiff.load`,
            by which the command knows them too.
    """

    word: str
    options: Mapping[str, str]

    @property
    def words(self) -> list[str]:
        """Those of the command."""
        return [
            "--generator",
            self.word,
            *(word for name, value in self.options.items() for word in (f"--{name}", value)),
        ]

    @property
    def loaded(self) -> str:
        """The Python that loads it."""
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"skindiff.load({self.word!r}{options})"


@dataclass(frozen=True)
class Again:
    """How a result is made again: words of a shell, and lines of Python.

    Attributes:
        command: of ``skindiff sample``, empty where it has none.
        python: the same by :func:`skindiff.generate`, or from the rows of the zip.
        threads: CPU threads that made it, which the command takes.
        python_takes: those that the Python takes.
    """

    command: str
    python: str
    threads: int
    python_takes: int


def draw_again(
    settings: PageSettings,
    generator: Source,
    conditions: list[str],
    groups: list[str] | None,
    drawn: Mapping[str, Any],
) -> Again:
    """Return how images are generated again outside of the demo.

    Args:
        settings: with the seed that was used.
        generator: where it is found.
        conditions: those generated.
        groups: skin types or other values, None for class-conditional generators.
        drawn: columns of a row that no setting of the page says.
    """
    batch, threads = int(drawn["batch_size"]), int(drawn["threads"])
    own = {"steps": settings["steps"], "guidance_scale": settings["guidance"], "batch_size": batch}
    kind = "class_synthesis" if groups is None else "synthesis"
    words = [
        "skindiff",
        "sample",
        *generator.words,
        "--classes",
        json.dumps(conditions, ensure_ascii=False),
    ]
    words += [] if groups is None else ["--groups", json.dumps(groups, ensure_ascii=False)]
    words += ["--images", str(settings["images"]), "--seed", settings["seed"]]
    words += [] if groups is None else ["--same_noise", "true"]
    for name, value in own.items():
        words += [f"--{kind}.{name}", f"{value:g}"]
    words += ["--threads", str(threads), "--output_dir", "runs/again"]
    asked = f"groups={groups!r}, same_noise=True, " if groups is not None else ""
    python = (
        "import skindiff\n\n"
        "made = skindiff.generate(\n"
        f"    {generator.loaded if generator.options else repr(generator.word)},\n"
        f"    classes={conditions!r},\n"
        f"    {asked}images={settings['images']}, seed={settings['seed']},\n"
        f"    {', '.join(f'{name}={value!r}' for name, value in own.items())},\n"
        ")\n"
        'made.dataset[0]["image"]  # a PIL image\n'
    )
    return Again(shlex.join(words), python, threads, usual_threads())


def as_corpus(settings: PageSettings, image_size: int, crop: str) -> dict[str, bytes]:
    """Return the files by which the photograph of a transfer's zip is a corpus of one image.

    Args:
        settings: of the page; of the photograph they know what it shows and its type.
        image_size: side of the generator's images in pixels.
        crop: by which it sees photographs.
    """
    value = settings["skin_type"]
    row = {"file": Path(ORIGINAL).name, "condition": settings["condition"]}
    row |= {} if value == ANY else {"skin_type": value}
    columns = {"file": "file", "label": "condition", "patient": "none"}
    columns |= {} if value == ANY else {"skin_type": "skin_type"}
    place = {"data_dir": str(Path(_TABLE).parent), "metadata": Path(_TABLE).name, "columns": columns}
    corpus = {"name": "table", "image_size": image_size, "crop": crop, "table": place}
    return {
        _TABLE: (json.dumps(row, ensure_ascii=False) + "\n").encode(),
        _CORPUS: yaml.safe_dump(corpus, sort_keys=False).encode(),
    }


def transfer_again(
    settings: PageSettings,
    generator: Source,
    values: Sequence[str],
    strengths: Sequence[float],
    drawn: Mapping[str, Any],
) -> Again:
    """Return how the images of a transfer are generated again where its zip was unpacked: each by a command,
    and all from their rows in Python.

    Args:
        settings: with the seed that was used.
        generator: where it is found.
        values: skin types that it was transferred to; none where it was something else, which no command
            does with one photograph.
        strengths: of each of them.
        drawn: columns of a row that no setting of the page says.
    """
    command = _transfer_command(settings, generator, values, strengths, drawn) if values else ""
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
        f"generator = {generator.loaded}\n"
        "made = [redraw(row, generator, sources, tones) for row in rows]  # PIL images\n"
    )
    threads = int(drawn["threads"])  # which a row brings with it
    return Again(command, python, threads, threads)


def _transfer_command(
    settings: PageSettings,
    generator: Source,
    values: Sequence[str],
    strengths: Sequence[float],
    drawn: Mapping[str, Any],
) -> str:
    words = ["skindiff", "sample", *generator.words, "--mode", "transfer", "--part", "all"]
    words += [
        "--corpus",
        _CORPUS,
        "--split.protocol",
        "everything",
        "--images",
        "1",
        "--seed",
        settings["seed"],
        "--same_noise",
        "true",
    ]
    words += ["--tones", TONES] if drawn["tone"] in PROTOTYPE_TONES else []
    own = {"guidance_scale": settings["guidance"], "steps": settings["steps"]}
    own |= {name: drawn[name] for name in ("batch_size", "tone", "tone_subject", "detail")}
    for name, value in own.items():
        words += [f"--synthesis.{name}", f"{value:g}" if isinstance(value, int | float) else str(value)]
    words += ["--threads", str(drawn["threads"])]
    line = f'{shlex.join(words)} --groups "[$type]" --synthesis.strength $strength'
    each = (
        f"for type in {' '.join(values)}; do for strength in {' '.join(f'{one:g}' for one in strengths)}; do"
    )
    return f'{each}\n{line} --output_dir "runs/again/$type-$strength"\ndone; done'
