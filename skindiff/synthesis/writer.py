"""Writing a plan's images into Parquet shards: each one whole or absent, so that a killed run continues."""

import copy
import hashlib
import io
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from datasets import ClassLabel, Dataset, Features, Image, concatenate_datasets
from numpy.typing import NDArray
from PIL import Image as PILImage

from skindiff.errors import SynthesisError
from skindiff.files import disk_is_full, write_atomically
from skindiff.foreign import Malformed, read_json, refuse_unlike
from skindiff.foreign_tables import read_parquet
from skindiff.manifest import refuse_damaged
from skindiff.peers import Peers
from skindiff.progress import progress
from skindiff.synthesis.batches import Drawn
from skindiff.synthesis.draw import Drawer, offloaded
from skindiff.synthesis.plan import with_images
from skindiff.synthesis.rows import PlannedRow, PlanRow, RowT, RowT_contra, SynthesisSummary
from skindiff.synthesis.tone import TonePrototypes, estimate_prototypes, prototype_types, subjects_of

logger = logging.getLogger(__name__)

PLAN_FILE, SUMMARY_FILE, PROTOTYPES_FILE = "plan.json", "summary.json", "tone_prototypes.safetensors"
_METADATA_KEY = b"skindiff"


class RowDrawer(Protocol[RowT_contra]):
    """Generates rows of a plan, each of them the same whatever else is in its batch."""

    def draw(self, rows: Sequence[RowT_contra], on_images: Callable[[int], object]) -> Drawn:
        """Generate ``rows``; ``on_images`` is called with the number of rows that each batch has finished."""


@dataclass(frozen=True)
class _Shards(Generic[RowT]):
    """The plan of a folder, cut into shards of whole batches."""

    folder: Path
    rows: list[RowT]
    features: Features
    rows_per_shard: int

    @property
    def count(self) -> int:
        return -(-len(self.rows) // self.rows_per_shard)

    def path(self, shard: int) -> Path:
        return self.folder / f"synthetic-{shard:05d}-of-{self.count:05d}.parquet"

    def of(self, shard: int) -> list[RowT]:
        return self.rows[shard * self.rows_per_shard : (shard + 1) * self.rows_per_shard]


def write_synthetic(
    accelerator: Accelerator,
    plan: Dataset,
    pipeline: Any,
    sources: Dataset | None,
    folder: Path,
    *,
    rows_per_shard: int = 256,
    load_base: Callable[[], Any] | None = None,
    prototypes: TonePrototypes | None = None,
    offload: bool = False,
) -> SynthesisSummary:
    """Generate a plan of Stable Diffusion into Parquet shards; see :func:`write_rows`.

    Args:
        accelerator: knows the processes; each must have its own ``pipeline`` on its own device.
        plan: from :func:`skindiff.synthesis.plan.make_plan`.
        pipeline: the generator, with the adapter that the plan's strategy means.
        sources: the corpus that the plan was made from; none for text-to-image.
        folder: of this plan alone; made if need be.
        rows_per_shard: rounded up to whole batches.
        load_base: gives the generator as it was before it learnt the conditions, which the tone prototypes
            are asked of (called at most once, on the main process): an adapter learnt from light skin alone
            generates dark skin too light. ``pipeline`` itself is asked when left out.
        prototypes: those to generate with, so that nothing is asked.
        offload: keep each network on the accelerator's device only while it runs; ``pipeline`` then waits
            elsewhere.

    Returns:
        The summary.

    Raises:
        SynthesisError: the folder holds another plan's shards, the disk is full, or no image was fit to keep.
    """

    def asked() -> Any:
        base = load_base() if load_base else pipeline
        if offload and base is not pipeline:
            base.enable_model_cpu_offload(device=accelerator.device)
        return base

    with offloaded(pipeline, accelerator.device) if offload else nullcontext():
        return write_rows(
            accelerator,
            plan,
            with_images(plan.features),
            folder,
            lambda: Drawer(pipeline, sources, load_prototypes(folder)),
            rows_per_shard=rows_per_shard,
            prepare=lambda rows: _prepare_prototypes(folder, rows, asked, prototypes),
        )


def write_rows(
    accelerator: Accelerator,
    plan: Dataset,
    features: Features,
    folder: Path,
    make_drawer: Callable[[], RowDrawer[RowT]],
    *,
    rows_per_shard: int = 256,
    prepare: Callable[[Sequence[RowT]], None] = lambda rows: None,
) -> SynthesisSummary:
    """Generate a plan into Parquet shards and return the summary that lies beside them.

    Shard ``i`` is generated by process ``i % processes``; its bytes are the same whichever process writes it.
    Shards that are there already are kept, so a call after a crash continues. Images that are not
    finite or show nothing are left out and counted.

    Args:
        accelerator: knows the processes.
        plan: rows with ``image_id``, ``batch_size`` and ``threads`` among their columns.
        features: of the generated rows: ``image`` and the plan's.
        folder: of this plan alone; made if need be.
        make_drawer: gives each process its drawer, after ``prepare``.
        rows_per_shard: rounded up to whole batches.
        prepare: called with the plan's rows before the first shard, on the main process alone.

    Returns:
        What ``summary.json`` holds: ``planned``, ``drawn``, ``refused`` (reason by ``image_id``),
        ``refused_counts``, ``denoising_steps`` (steps really run, by settings), ``shards``, and
        ``timings`` of this call (``images``, ``seconds``, ``images_per_second``).

    Raises:
        SynthesisError: the folder holds another plan's shards, the disk is full, or no image was fit to keep.
    """
    shards: _Shards[RowT] = _shards(plan, features, folder, rows_per_shard)
    peers = Peers.of(accelerator, folder)  # before the work: they meet in a collective
    if accelerator.is_main_process:
        _claim(shards)
        prepare(shards.rows)
    peers.meet("preparing to generate")
    own = range(accelerator.process_index, shards.count, accelerator.num_processes)
    began = time.perf_counter()
    drawn = _draw_shards(shards, own, make_drawer(), accelerator.is_main_process)
    peers.meet("generating")
    timings = gather_object([(drawn, time.perf_counter() - began)])
    if accelerator.is_main_process:
        _write_json(folder / SUMMARY_FILE, _summarise(shards, timings))
    peers.meet("summing up what was generated")
    summary = load_summary(folder)
    if summary["drawn"] == 0:
        raise SynthesisError(
            f"all {summary['planned']} images were refused ({dict(summary['refused_counts'])}): load the "
            "generator in float32 or bfloat16 and look at its samples"
        )
    return summary


def load_summary(folder: Path) -> SynthesisSummary:
    """Return what :func:`write_rows` left beside the shards."""
    try:
        summary: SynthesisSummary = read_json(folder / SUMMARY_FILE)
        refuse_unlike(summary, SynthesisSummary, SUMMARY_FILE)
    except Malformed as error:
        raise SynthesisError(
            f"{folder / SUMMARY_FILE} cannot be read ({error}): run the synthesis again with --resume"
        ) from error
    return summary


_READ = ("image", "label", "image_id", "generator")
"""Columns without which a synthetic data set is none."""


def load_synthetic(folder: Path) -> Dataset:
    """Read a synthetic data set into memory, images still encoded (they are decoded on access).

    ``datasets.load_dataset("parquet", data_files=...)`` reads the same shards.

    Returns:
        Columns of :func:`skindiff.synthesis.plan.synthetic_features`, in the order of the plan.

    Raises:
        SynthesisError: the folder holds no data set, or an unfinished one.
    """
    refuse_damaged(folder)
    paths = sorted(folder.glob("synthetic-*-of-*.parquet"))
    if not paths:
        raise SynthesisError(f"{folder} holds no synthetic images: run the synthesis first")
    digits = paths[0].stem.rsplit("-", 1)[1]
    expected = int(digits) if digits.isdecimal() and len(digits) < 10 else -1
    if len(paths) != expected:
        raise SynthesisError(
            f"{folder} holds {len(paths)} of {expected} shards: run the synthesis again with "
            "--resume to finish it"
        )
    try:
        tables = [read_parquet(path) for path in paths]
        features = Features.from_arrow_schema(tables[0].schema)
        if missing := [name for name in _READ if name not in features]:
            raise Malformed(f"no column {missing[0]}")
        if not isinstance(features["label"], ClassLabel) or not isinstance(features["image"], Image):
            raise Malformed("its labels are no classes, or its images none")
        return concatenate_datasets(
            [Dataset(table.replace_schema_metadata(features.arrow_schema.metadata)) for table in tables]
        )
    # What datasets makes of a strange schema can fail in any way.
    except Exception as error:
        reason = error if isinstance(error, Malformed) else type(error).__name__
        raise SynthesisError(
            f"{folder} holds no readable synthetic images ({reason}): get them again, or run the synthesis "
            "again"
        ) from error


def load_prototypes(folder: Path) -> TonePrototypes | None:
    """Return the tone prototypes that a data set was generated with (none if it needed none), to generate
    rows again."""
    path = folder / PROTOTYPES_FILE
    return TonePrototypes.load(path) if path.is_file() else None


def _shards(plan: Dataset, features: Features, folder: Path, rows_per_shard: int) -> _Shards[Any]:
    if len(plan) == 0:
        raise SynthesisError("the plan has no rows: plan from at least one source")
    batch = int(plan[0]["batch_size"])
    return _Shards(folder, plan.to_list(), features, -(-rows_per_shard // batch) * batch)


def _claim(shards: _Shards[RowT]) -> None:
    """Make the folder this plan's own, or see that it is."""
    mine = {
        "fingerprint": _fingerprint(shards.rows),
        "rows": len(shards.rows),
        "rows_per_shard": shards.rows_per_shard,
    }
    path = shards.folder / PLAN_FILE
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")) != mine:
            raise SynthesisError(
                f"folder {shards.folder} holds images of another plan: choose an empty folder, or run with "
                "--overwrite"
            )
        return
    _write_json(path, mine)


def _fingerprint(rows: Sequence[PlannedRow]) -> str:
    """Return the SHA-256 of a plan; the number of threads may change between calls."""
    fixed = [{name: value for name, value in row.items() if name != "threads"} for row in rows]
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()


def _prepare_prototypes(
    folder: Path, rows: Sequence[PlanRow], load: Callable[[], Any], given: TonePrototypes | None
) -> None:
    """Estimate the tone prototypes of the whole plan once, or take those given, before the first shard."""
    types = prototype_types(rows)
    path = folder / PROTOTYPES_FILE
    if not types or path.is_file():
        return
    named = sorted({row["tone_subject"] for row in rows})
    subjects = [subject for several in named for subject in subjects_of(several)]
    prototypes = given or estimate_prototypes(load(), types, subjects, size=rows[0]["image_size"])
    _write_file(path, prototypes.to_bytes())


def _draw_shards(
    shards: _Shards[RowT], own: Sequence[int], drawer: RowDrawer[RowT], show_progress: bool
) -> int:
    """Generate the shards that are missing; returns how many rows that was."""
    missing = [shard for shard in own if not shards.path(shard).is_file()]
    total = sum(len(shards.of(shard)) for shard in missing)
    with progress(desc="generating", unit="image", total=total, disable=not show_progress) as bar:
        for done, shard in enumerate(missing):
            rows = [copy.copy(row) for row in shards.of(shard)]
            for row in rows:
                row["threads"] = torch.get_num_threads()
            drawn = drawer.draw(rows, bar.update)
            _write_file(shards.path(shard), _encode(rows, drawn, shards.features), len(missing) - done)
    return total


def _encode(rows: Sequence[Mapping[str, Any]], drawn: Drawn, features: Features) -> bytes:
    """Return a shard as the bytes of a Parquet file; its metadata say which rows were refused and why."""
    kept = [(row, drawn.images[number]) for number, row in enumerate(rows) if number in drawn.images]
    columns: dict[str, Any] = {name: [row[name] for row, _ in kept] for name in features if name != "image"}
    columns["image"] = [{"bytes": _png(image), "path": f"{row['image_id']}.png"} for row, image in kept]
    record = {
        "refused": {rows[number]["image_id"]: reason for number, reason in sorted(drawn.refused.items())},
        "denoising_steps": drawn.denoising_steps,
    }
    schema = features.arrow_schema
    schema = schema.with_metadata({**schema.metadata, _METADATA_KEY: json.dumps(record, sort_keys=True)})
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({name: columns[name] for name in features}, schema=schema), sink)
    return sink.getvalue().to_pybytes()


def _png(image: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    PILImage.fromarray(image).save(file, "PNG")
    return file.getvalue()


def _write_file(path: Path, content: bytes, shards_left: int = 1) -> None:
    """Write a file whole or not at all.

    Raises:
        SynthesisError: the disk is full, or the folder cannot be written to; what was there stays as it was.
    """
    try:
        write_atomically(path, content, durable=True)
    except OSError as error:
        if disk_is_full(error):
            need = len(content) / 2**20
            raise SynthesisError(
                f"output folder {path.parent} is full: {path.name} needs {need:.2f} MiB (about "
                f"{need * shards_left:.0f} MiB for all that is left): free some space and run again with "
                "--resume (finished shards are kept), or choose another output folder"
            ) from error
        raise SynthesisError(
            f"output folder {path.parent} cannot be written to ({error.strerror or error}): choose another "
            "output folder"
        ) from error


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    _write_file(path, (json.dumps(content, indent=1) + "\n").encode())


def _summarise(shards: _Shards[RowT], timings: Sequence[tuple[int, float]]) -> SynthesisSummary:
    refused: dict[str, str] = {}
    steps: dict[str, int] = {}
    drawn = 0
    for shard in range(shards.count):
        metadata = pq.read_metadata(shards.path(shard))
        record = json.loads(metadata.metadata[_METADATA_KEY])
        refused |= record["refused"]
        steps |= record["denoising_steps"]
        drawn += metadata.num_rows
    counts = dict(sorted(Counter(refused.values()).items()))
    if refused:
        logger.warning(
            "%d of %d images were refused and left out: %s", len(refused), len(shards.rows), counts
        )
    images, seconds = sum(count for count, _ in timings), max(time for _, time in timings)
    return {
        "planned": len(shards.rows),
        "drawn": drawn,
        "refused_counts": counts,
        "refused": refused,
        "denoising_steps": steps,
        "shards": shards.count,
        "timings": {
            "images": images,
            "seconds": round(seconds, 3),
            "images_per_second": round(images / seconds, 3) if images else None,
        },
    }
