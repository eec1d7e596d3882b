"""The search for copies as a stage of a run: done once, resumed as it was, with what a push needs to know."""

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from datasets import Dataset

from skindiff.measures.copying.memorisation import CopyingConfig, Memorisation, memorisation
from skindiff.measures.copying.near_copies import load_near_copies
from skindiff.runs import RunFolder, write_atomically

COPYING_FILE, PAIRS_FILE = "copying.json", "closest_pairs.csv"


def find_copies(
    run: RunFolder,
    accelerator: Accelerator,
    config: CopyingConfig,
    training: Dataset,
    held_out: Dataset,
    generated: Dataset,
    *,
    folder: Path,
    name: str,
    seed: int,
    corpus_fingerprint: str,
) -> dict[str, Any]:
    """Look for copies of training images among generated ones; a stage of the run.

    The stage keeps ``copying.json``, and ``closest_pairs.csv`` and ``near_copies.json`` with ids, which name
    photographs and stay there. A copy of the latter, the report by image, goes beside the shards, where a
    push looks for it, so that the threshold that was set here is the one of the gate.

    Args:
        run: the stage is kept there.
        accelerator: its device; the main process computes.
        config: see :class:`~skindiff.measures.copying.memorisation.CopyingConfig`.
        training: what the generator learnt from or re-drew.
        held_out: real images that it never saw.
        generated: what it drew.
        folder: of the shards of ``generated``.
        name: of the generator, for the report.
        seed: of the split.
        corpus_fingerprint: fingerprint of the corpus.

    Returns:
        ``images`` (the name), ``seed`` and everything of
        :meth:`~skindiff.measures.copying.memorisation.Memorisation.to_dict`: a row of the report's key
        ``copying``.

    Raises:
        ConfigError: a setting cannot work, or there are no generated images.
        SynthesisError: a generated image's source is not among the training images.
    """
    stage = run.stage(
        f"copying-{name.replace('_', '-').replace(' ', '-').replace('+', '-')}",
        config=asdict(config),
        data=corpus_fingerprint,
        training=list(training["image_id"]),
        held_out=list(held_out["image_id"]),
        images=list(generated["image_id"]),
        generators=sorted(set(generated["generator"])),
        seed=seed,
    )
    if not stage.done:
        if accelerator.is_main_process:
            found = memorisation(generated, training, held_out, config, seed=seed, device=accelerator.device)
            _write(found, stage.folder)
        stage.finish()
    report = load_near_copies(stage.folder)
    if accelerator.is_main_process and report is not None and report != load_near_copies(folder):
        report.save(folder)
    content: dict[str, Any] = json.loads((stage.folder / COPYING_FILE).read_text(encoding="utf-8"))
    return {"images": name, "seed": seed, **content}


def _write(found: Memorisation, folder: Path) -> None:
    found.report.save(folder)
    write_atomically(folder / COPYING_FILE, json.dumps(found.to_dict(), sort_keys=True) + "\n")
    pairs = found.pairs()
    if pairs:
        table = io.StringIO()
        writer = csv.DictWriter(table, list(pairs[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(pairs)
        write_atomically(folder / PAIRS_FILE, table.getvalue())
