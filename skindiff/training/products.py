"""Results of a training: the folder for users, and a record of the training images."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from accelerate import Accelerator

from skindiff.files import replacing_folder, write_atomically
from skindiff.manifest import record
from skindiff.peers import Peers
from skindiff.study import Study

RECORD = "trained_on.json"
"""File beside an artefact: the ids of the images it has learnt from, and the fingerprint of their corpus."""


def publish(source: Path, target: Path, accelerator: Accelerator, names: Sequence[str] = ()) -> Path:
    """Show a stage's folder at ``target``, replacing what was there; files are linked where that works.

    Args:
        source: folder that is done.
        target: folder that users look at.
        accelerator: the main process works, the others wait.
        names: files of ``source`` to show; all that is in it when left out.
    """
    peers = Peers.of(accelerator, source)
    peers.meet(f"making {target.name}")
    if accelerator.is_main_process:
        hidden = {path.name for path in source.iterdir()} - set(names) if names else set()
        with replacing_folder(target) as partial:
            shutil.copytree(
                source, partial, ignore=lambda *_: hidden, copy_function=_link_or_copy, dirs_exist_ok=True
            )
        record(target.parent, target.name)
    peers.meet(f"copying {target.name}")
    return target


def record_rows(study: Study, artefact: Path, earlier: Path | None = None) -> None:
    """Leave beside an artefact that it has learnt from the training rows, so that no test is made of them.

    Args:
        study: whose training rows it has learnt from.
        artefact: folder of a pipeline or an adapter; the record goes into the folder around it.
        earlier: an artefact that this one builds on; its record is added.
    """
    if not study.accelerator.is_main_process:
        return
    ids = set(study.train["image_id"][:])
    before = trained_on(str(earlier)) if earlier else None
    if before:
        ids |= set(json.loads(before.read_text(encoding="utf-8"))["image_ids"])
    record = {"corpus": study.corpus.fingerprint, "image_ids": sorted(ids)}
    path, text = artefact.parent / RECORD, json.dumps(record) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_atomically(path, text)


def trained_on(generator: str) -> Path | None:
    """Return the record of the images that ``skindiff train`` showed to a generator, if there is one."""
    folder = Path(generator)
    return next((path for path in (folder / RECORD, folder.parent / RECORD) if path.is_file()), None)


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
    return target
