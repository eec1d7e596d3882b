"""The search for copies as a stage of a run: done once, resumed as it was, with what a push needs to know."""

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path

from datasets import Dataset

from skindiff.errors import RunFolderError
from skindiff.escaping import spreadsheet
from skindiff.files import write_atomically
from skindiff.measures.copying.memorisation import CopyingConfig, Memorisation, memorisation
from skindiff.measures.copying.near_copies import NearCopies, fingerprint, load_near_copies
from skindiff.measures.copying.rows import CopyingContent, CopyingRow
from skindiff.study import Study
from skindiff.synthesis.strategies import Synthetic

COPYING_FILE, PAIRS_FILE = "copying.json", "closest_pairs.csv"


def find_copies(
    study: Study,
    config: CopyingConfig,
    synthetic: Synthetic,
    *,
    name: str,
    training: Dataset,
    held_out: Dataset,
) -> CopyingRow:
    """Look for copies of training images among generated ones; a stage of the run.

    The stage keeps ``copying.json``, and ``closest_pairs.csv`` and ``near_copies.json`` with ids, which name
    photographs and stay there. A copy of the latter, the report by image, goes beside the shards, where a
    push looks for it, so that the threshold that was set here is the one of the gate.

    Args:
        study: the search is a stage of it, and the main process computes.
        config: see :class:`~skindiff.measures.copying.memorisation.CopyingConfig`.
        synthetic: images of the generator.
        name: of the generator, for the report.
        training: what it was trained on or transferred.
        held_out: real images that it never saw.

    Returns:
        ``images`` (the name), ``seed`` and everything of
        :meth:`~skindiff.measures.copying.memorisation.Memorisation.to_dict`: a row of the report's key
        ``copying``.

    Raises:
        ConfigError: a setting cannot work, or there are no generated images.
        SynthesisError: a generated image's source is not among the training images.
    """
    generated, accelerator = synthetic.dataset, study.accelerator
    stage = study.stage(
        f"copying-{name.replace('_', '-').replace(' ', '-').replace('+', '-')}",
        says=f"near copies among {name}",
        config=asdict(config),
        training=training["image_id"][:],
        held_out=held_out["image_id"][:],
        images=fingerprint(generated),
        generators=sorted(set(generated["generator"][:])),
        seed=study.seed,
    )
    if not stage.done:
        if accelerator.is_main_process:
            found = memorisation(
                generated, training, held_out, config, seed=study.seed, device=accelerator.device
            )
            _write(found, stage.folder)
        stage.finish()
    report = load_near_copies(stage.folder)
    if accelerator.is_main_process and report is not None and report != _saved(synthetic.folder):
        report.save(synthetic.folder)
    content: CopyingContent = json.loads((stage.folder / COPYING_FILE).read_text(encoding="utf-8"))
    return {"images": name, "seed": study.seed, **content}


def _saved(folder: Path) -> NearCopies | None:
    """Return what lies with the images; None where it is damaged, as it is written again."""
    try:
        return load_near_copies(folder)
    except RunFolderError:
        return None


def _write(found: Memorisation, folder: Path) -> None:
    found.report.save(folder)
    write_atomically(folder / COPYING_FILE, json.dumps(found.to_dict(), sort_keys=True) + "\n")
    pairs = found.pairs()
    if pairs:
        table = io.StringIO()
        writer = csv.DictWriter(table, list(pairs[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: spreadsheet(value) for name, value in pair.items()} for pair in pairs)
        write_atomically(folder / PAIRS_FILE, table.getvalue())
